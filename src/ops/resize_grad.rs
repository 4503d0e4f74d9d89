//! The gradient of resizing: its transpose.
//!
//! **Definition.** x_grad[n, c, h, w] = Σ over i of v(i, h) · Σ over j of u(j, w) · output_grad[n, c, i, j], where v and u are
//! the weights with which `resize` takes row h into row i, and column w into column j.
//!
//! **Shape.** output_grad [N, C, H', W']; x_grad [N, C, H, W], where the attribute `input_size` is [H, W].
//!
//! **Gradient.** With respect to output_grad: `resize`, whose transpose this operation is.
//!
//! **Numerics.** Each element gathers from the positions that take it, which follow from whole numbers, in their order: no
//! two write the same place.
//!
//! **Cost.** Six operations for every element of output_grad; bound by memory.
//!
//! **Reference.** `torch.ops.aten.upsample_bilinear2d_backward`, `upsample_nearest2d_backward`.

use super::Interpolation;
use super::support::resizing::{EXAMPLES, Example, Resizing, Tap, image_size};
use super::support::{Windows, normal};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "resize_grad",
    text: include_str!("../../shaders/resize_grad.wgsl"),
    uses: &[library::STORE, library::INDEX, library::RESIZING],
};

/// The gradient of [`Resize`](super::Resize), see the room's documentation.
#[derive(Clone, Debug)]
pub struct ResizeGrad {
    /// Height and width of x.
    pub input_size: [usize; 2],
    /// What y takes from x.
    pub interpolation: Interpolation,
}

/// `output_grad` sent back to the images of `input_size` (height, width) that were resized.
///
/// ```
/// # use axenic::{eval, ops::{self, AlignCorners, Interpolation}};
/// let [x_grad] = eval(|r| {
///     let output_grad = r.constant([[[[1.0, 4.0, 4.0, 1.0]]]]);
///     Ok([ops::resize_grad(output_grad, [1, 2], Interpolation::Bilinear(AlignCorners::No))?])
/// })?;
/// assert_eq!(x_grad, [[[[5.0, 5.0]]]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// `output_grad` is not [N, C, H', W'], or one of the sizes has no element or is too large.
#[track_caller]
pub fn resize_grad<'g>(
    output_grad: Tensor<'g>,
    input_size: [usize; 2],
    interpolation: Interpolation,
) -> Result<Tensor<'g>> {
    let op = ResizeGrad {
        input_size,
        interpolation,
    };
    output_grad.recorder().apply_one(op, &[output_grad])
}

impl ResizeGrad {
    fn resizing(&self, output_grad: Shape) -> Result<Resizing> {
        let to = image_size(Self::NAME, "output_grad", output_grad)?;
        Resizing::new(Self::NAME, self.interpolation, self.input_size, to)
    }

    /// The geometry, where the shape rule has accepted it.
    fn known(&self, inputs: &[View<impl Real>]) -> Resizing {
        self.resizing(inputs[0].shape)
            .unwrap_or_else(|e| unreachable!("{e}"))
    }
}

impl Op for ResizeGrad {
    const NAME: &'static str = "resize_grad";
    const INPUTS: &'static [&'static str] = &["output_grad"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        self.interpolation
            .with(Attributes::none().with("input_size", &self.input_size[..]))
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            input_size: attributes.pair("input_size", [1, 1])?,
            interpolation: Interpolation::from_attributes(attributes)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [grad] = expect_reals(Self::NAME, inputs)?;
        self.resizing(grad)?;
        let x = Shape::new(&[grad[0], grad[1], self.input_size[0], self.input_size[1]]);
        Ok(vec![Spec::real(x.map_err(|e| e.within(Self::NAME))?)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let grad = call.inputs[0].shape();
        let back = |x| super::resize(x, [grad[2], grad[3]], self.interpolation);
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let axes = self.known(inputs).axes;
        let (output_grad, result) = (inputs[0].real(), inputs[0].shape);
        let [height, width] = self.input_size;
        for (x_grad, i) in outputs[0].real().iter_mut().zip(range) {
            let (plane, h, w) = (i / width / height, i / width % height, i % width);
            let [rows, columns] = [axes[0].readers(h), axes[1].readers(w)];
            let mut sum = R::sum(rows.len());
            for row in rows {
                let start = (plane * result[2] + row) * result[3];
                let mut along = R::sum(columns.len());
                for column in columns.clone() {
                    let weight: R = axes[1].weight(column, w);
                    along.add(weight * output_grad[start + column]);
                }
                let weight: R = axes[0].weight(row, h);
                sum.add(weight * along.total());
            }
            *x_grad = sum.total();
        }
    }

    /// Plane by plane: every row is spread along the width, then added to the rows that it was taken from.
    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let [rows, columns] = self.known(inputs).axes.map(|axis| axis.taps());
        let output_grad = inputs[0].real();
        let [height, width] = self.input_size;
        let run = Windows::planes_per_task(height * width);
        workers.each_chunk(
            outputs[0].real(),
            run * height * width,
            #[inline(always)]
            |task, x_grad| {
                let mut spread = vec![0.0; width];
                x_grad.fill(0.0);
                for (plane, x_grad) in x_grad.chunks_mut(height * width).enumerate() {
                    let start = (task * run + plane) * rows.len() * columns.len();
                    let grads = output_grad[start..].chunks(columns.len());
                    for (&(tap, share), grads) in rows.iter().zip(grads) {
                        spread.fill(0.0);
                        for (&(tap, share), grad) in columns.iter().zip(grads) {
                            give(tap, share, |at, weight| spread[at] += weight * grad);
                        }
                        give(tap, share, |at, weight| {
                            let x_grad = &mut x_grad[at * width..(at + 1) * width];
                            let pairs = x_grad.iter_mut().zip(&spread);
                            pairs.for_each(|(sum, spread)| *sum += weight * spread);
                        });
                    }
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let x = self.outputs(inputs)?[0].shape;
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)]);
        let resizing = self.resizing(inputs[0].shape)?;
        Ok(vec![resizing.launch(launch, x.elements())])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(6 * inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |example: &Example| {
            let [n, c, height, width] = example.image;
            let op = Self {
                input_size: [height, width],
                interpolation: example.interpolation,
            };
            let grad = [n, c, example.size[0], example.size[1]];
            Case::new(example.about, op, vec![normal(grad, 1)])
        };
        EXAMPLES.iter().map(of).collect()
    }
}

/// The elements that a tap takes, with their weights.
fn give(tap: Tap, share: f32, mut to: impl FnMut(usize, f32)) {
    to(tap.first, 1.0 - share);
    if tap.part > 0 {
        to(tap.first + 1, share);
    }
}
