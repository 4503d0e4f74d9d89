//! The gradient of max pooling.
//!
//! **Definition.** x_grad[n, c, h, w] = Σ output_grad[n, c, i, j] over the windows (i, j) that see (h, w) and whose index is
//! h·W + w, in row-major order.
//!
//! **Shape.** output_grad and index (u32) [N, C, H', W']; x_grad [N, C, H, W], where the attribute `input_size` is
//! [H, W].
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** As many additions as windows overlap. An index that points outside its window belongs to no pooling: its
//! gradient goes nowhere.
//!
//! **Cost.** A comparison and an addition for every window and element that it sees; bound by memory.
//!
//! **Reference.** `torch.ops.aten.max_pool2d_with_indices_backward`.

use super::support::{Windows, array, expect_same, indices, normal, shapes};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_index, expect_inputs, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::rng::Stream;
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "max_pool2d_grad",
    text: include_str!("../../shaders/max_pool2d_grad.wgsl"),
    uses: &[library::STORE, library::INDEX, library::WINDOWS],
};

/// The gradient of [`MaxPool2d`](super::MaxPool2d), see the room's documentation.
#[derive(Clone, Debug)]
pub struct MaxPool2dGrad {
    windows: Windows,
    input_size: [usize; 2],
}

/// `output_grad` sent back to the chosen positions of an image of `input_size` (height, width).
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| {
///     let output_grad = ops::reshape(r.constant([5.0]), [1, 1, 1, 1])?;
///     let index = ops::reshape(r.constant([2u32]), [1, 1, 1, 1])?;
///     let x_grad = ops::max_pool2d_grad(output_grad, index, [2, 2], [2, 2], [0, 0], [2, 2])?;
///     Ok([ops::reshape(x_grad, [4])?])
/// })?;
/// assert_eq!(x_grad, [0.0, 0.0, 5.0, 0.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit the windows.
#[track_caller]
pub fn max_pool2d_grad<'g>(
    output_grad: Tensor<'g>,
    index: Tensor<'g>,
    kernel_size: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    input_size: [usize; 2],
) -> Result<Tensor<'g>> {
    let windows = Windows {
        kernel_size,
        stride,
        padding,
    };
    let op = MaxPool2dGrad {
        windows,
        input_size,
    };
    output_grad.recorder().apply_one(op, &[output_grad, index])
}

impl Op for MaxPool2dGrad {
    const NAME: &'static str = "max_pool2d_grad";
    const INPUTS: &'static [&'static str] = &["output_grad", "index"];

    fn attributes(&self) -> Attributes {
        self.windows
            .attributes()
            .with("input_size", &self.input_size[..])
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            windows: Windows::from_attributes(attributes)?,
            input_size: attributes.pair("input_size", [2, 2])?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [output_grad, index] = expect_inputs(Self::NAME, inputs)?;
        let [output_grad] = expect_reals(Self::NAME, &[output_grad])?;
        let index = expect_index(Self::NAME, "index", index)?;
        expect_same(Self::NAME, [output_grad, index], ["output_grad", "index"])?;
        let image = self
            .windows
            .image(Self::NAME, output_grad, self.input_size)?;
        Ok(vec![Spec::real(image)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("max_pool2d_grad: no second derivative"))
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (output_grad, index, result) = (inputs[0].real(), inputs[1].index(), inputs[0].shape);
        let [height, width] = self.input_size;
        for (x_grad, i) in outputs[0].real().iter_mut().zip(range) {
            let (plane, h, w) = (i / width / height, i / width % height, i % width);
            let mut sum = R::sum(self.windows.overlap());
            for row in self.windows.covering(0, h, result[2]) {
                for column in self.windows.covering(1, w, result[3]) {
                    let window = (plane * result[2] + row) * result[3] + column;
                    if index[window] as usize == h * width + w {
                        sum.add(output_grad[window]);
                    }
                }
            }
            *x_grad = sum.total();
        }
    }

    /// Scatters plane by plane: the windows in row-major order, so that every element adds up in the definition's order.
    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let (output_grad, index, result) = (inputs[0].real(), inputs[1].index(), inputs[0].shape);
        let [height, width] = self.input_size;
        let (plane, result) = (height * width, [result[2], result[3]]);
        let run = Windows::planes_per_task(plane);
        workers.each_chunk(outputs[0].real(), run * plane, |task, x_grad| {
            x_grad.fill(0.0);
            for (i, x_grad) in x_grad.chunks_mut(plane).enumerate() {
                let first = (task * run + i) * result[0] * result[1];
                for row in 0..result[0] {
                    let rows = self.windows.inside(0, row, height);
                    for column in 0..result[1] {
                        let window = first + row * result[1] + column;
                        let at = index[window];
                        let (h, w) = (at / width as u32, at % width as u32);
                        let columns = self.windows.inside(1, column, width);
                        if rows.contains(&(h as usize)) && columns.contains(&(w as usize)) {
                            x_grad[at as usize] += output_grad[window];
                        }
                    }
                }
            }
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let image = self.outputs(inputs)?[0].shape;
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings);
        Ok(vec![self.windows.words(
            launch,
            image,
            inputs[0].shape,
            image.elements(),
        )])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |(about, ([kernel_size, stride, padding], image)): (_, shapes::Sliding)| {
            let windows = Windows {
                kernel_size,
                stride,
                padding,
            };
            let input_size = [image[2], image[3]];
            let index = some_choice(&windows, image.into());
            let inputs = vec![normal(index.shape(), 2), index];
            let op = Self {
                windows,
                input_size,
            };
            Case::new(about, op, inputs)
        };
        let mut strangers = of(("indices outside their windows", STRANGERS));
        let grads = strangers.inputs[0].shape();
        strangers.inputs[1] = indices(grads, 12 * 13 + 5, 3);
        shapes::windows()
            .map(of)
            .chain(std::iter::once(strangers))
            .collect()
    }
}

/// Kernel, stride and padding, and the images.
const STRANGERS: shapes::Sliding = ([[3, 3], [2, 1], [1, 1]], [2, 3, 12, 13]);

/// Test input: for every window some position that it sees.
fn some_choice(windows: &Windows, image: Shape) -> Array {
    let result = windows
        .outputs("max_pool2d_grad", image)
        .unwrap_or_else(|e| unreachable!("{e}"));
    let choose = |i: usize| {
        let rows = windows.inside(0, i / result[3] % result[2], image[2]);
        let columns = windows.inside(1, i % result[3], image[3]);
        let mut stream = Stream::new(1, "case", 3, i as u64);
        let (h, w) = (stream.below(rows.len()), stream.below(columns.len()));
        ((rows.start + h) * image[3] + columns.start + w) as u32
    };
    let index: Vec<u32> = (0..result.elements()).map(choose).collect();
    array(result, index)
}
