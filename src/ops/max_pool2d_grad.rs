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

use super::Pooling;
use super::support::{Windows, array, expect_same, indices, normal, shapes};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_index, expect_inputs, expect_reals, library,
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
    /// Where the windows lie.
    pub pooling: Pooling,
    /// Height and width of x.
    pub input_size: [usize; 2],
}

/// `output_grad` sent back to the chosen positions of an image of `input_size` (height, width).
///
/// ```
/// # use axenic::{eval, ops::{self, Pooling}};
/// let [x_grad] = eval(|r| {
///     let (grad, index) = (r.constant([[[[5.0]]]]), r.constant([2u32]));
///     let index = ops::reshape(index, [1, 1, 1, 1])?;
///     let pooling = Pooling::sliding([2, 2], [2, 2], [0, 0]);
///     Ok([ops::max_pool2d_grad(grad, index, pooling, [2, 2])?])
/// })?;
/// assert_eq!(x_grad, [[[[0.0, 0.0], [5.0, 0.0]]]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit the windows.
#[track_caller]
pub fn max_pool2d_grad<'g>(
    output_grad: Tensor<'g>,
    index: Tensor<'g>,
    pooling: Pooling,
    input_size: [usize; 2],
) -> Result<Tensor<'g>> {
    let op = MaxPool2dGrad {
        pooling,
        input_size,
    };
    output_grad.recorder().apply_one(op, &[output_grad, index])
}

impl MaxPool2dGrad {
    fn windows(&self, output_grad: Shape) -> Result<(Windows, Shape)> {
        Windows::under(Self::NAME, &self.pooling, output_grad, self.input_size)
    }
}

impl Op for MaxPool2dGrad {
    const NAME: &'static str = "max_pool2d_grad";
    const INPUTS: &'static [&'static str] = &["output_grad", "index"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        self.pooling
            .attributes()
            .with("input_size", &self.input_size[..])
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            pooling: Pooling::from_attributes(attributes)?,
            input_size: attributes.pair("input_size", [2, 2])?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [output_grad, index] = expect_inputs(Self::NAME, inputs)?;
        let [output_grad] = expect_reals(Self::NAME, &[output_grad])?;
        let index = expect_index(Self::NAME, "index", index)?;
        expect_same(Self::NAME, [output_grad, index], ["output_grad", "index"])?;
        let (_, image) = self.windows(output_grad)?;
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
        let windows = self.windows(result);
        let (windows, _) = windows.unwrap_or_else(|e| unreachable!("{e}"));
        for (x_grad, i) in outputs[0].real().iter_mut().zip(range) {
            let (plane, h, w) = (i / width / height, i / width % height, i % width);
            let mut sum = R::sum(windows.overlap());
            for row in windows.covering(0, h) {
                for column in windows.covering(1, w) {
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
        let windows = self.windows(result);
        let (windows, _) = windows.unwrap_or_else(|e| unreachable!("{e}"));
        let [height, width] = self.input_size;
        let (plane, result) = (height * width, [result[2], result[3]]);
        let run = Windows::planes_per_task(plane);
        let [rows, columns] = [0, 1].map(|axis| windows.all(axis));
        let columns: Vec<[u32; 2]> = columns
            .iter()
            .map(|columns| [columns.start as u32, columns.len() as u32])
            .collect();
        workers.each_chunk(
            outputs[0].real(),
            run * plane,
            #[inline(always)]
            |task, x_grad| {
                let mut is_inside = vec![false; result[1]];
                for (i, x_grad) in x_grad.chunks_mut(plane).enumerate() {
                    x_grad.fill(0.0);
                    let first = (task * run + i) * result[0] * result[1];
                    for (row, rows) in rows.iter().enumerate() {
                        let own = first + row * result[1]..first + (row + 1) * result[1];
                        let (index, output_grad) = (&index[own.clone()], &output_grad[own]);
                        find_inside(&mut is_inside, index, (rows.clone(), &columns), width);
                        let chosen = index.iter().zip(&is_inside);
                        for ((&at, &is_inside), &grad) in chosen.zip(output_grad) {
                            if is_inside {
                                x_grad[at as usize] += grad;
                            }
                        }
                    }
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let (windows, image) = self.windows(inputs[0].shape)?;
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings);
        Ok(vec![windows.words(launch, image.elements())])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |(about, pooling, image): (_, _, [usize; 4])| {
            let index = some_choice(&pooling, image.into());
            let inputs = vec![normal(index.shape(), 2), index];
            let op = Self {
                pooling,
                input_size: [image[2], image[3]],
            };
            Case::new(about, op, inputs)
        };
        let mut strangers = of((
            "indices outside their windows",
            Pooling::sliding([3, 3], [2, 1], [1, 1]),
            [2, 3, 12, 13],
        ));
        let grads = strangers.inputs[0].shape();
        strangers.inputs[1] = indices(grads, 12 * 13 + 5, 3);
        shapes::windows()
            .map(of)
            .chain(std::iter::once(strangers))
            .collect()
    }
}

/// Finds which windows of one row see the place in `index`. Without divisions or branches, so that the loop vectorises.
#[inline(always)]
fn find_inside(
    is_inside: &mut [bool],
    index: &[u32],
    (rows, columns): (Range<usize>, &[[u32; 2]]),
    width: usize,
) {
    is_inside.fill(false);
    for row in rows {
        let start = (row * width) as u32;
        let places = index.iter().zip(columns);
        for (is_inside, (&at, &[first, length])) in is_inside.iter_mut().zip(places) {
            *is_inside |= at.wrapping_sub(start).wrapping_sub(first) < length;
        }
    }
}

/// Test input: for every window some position that it sees.
fn some_choice(pooling: &Pooling, image: Shape) -> Array {
    let windows = Windows::over(MaxPool2dGrad::NAME, pooling, image);
    let (windows, result) = windows.unwrap_or_else(|e| unreachable!("{e}"));
    let choose = |i: usize| {
        let rows = windows.inside(0, i / result[3] % result[2]);
        let columns = windows.inside(1, i % result[3]);
        let mut stream = Stream::new(1, "case", 3, i as u64);
        let (h, w) = (stream.below(rows.len()), stream.below(columns.len()));
        ((rows.start + h) * image[3] + columns.start + w) as u32
    };
    let index: Vec<u32> = (0..result.elements()).map(choose).collect();
    array(result, index)
}
