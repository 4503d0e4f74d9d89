//! The largest element of every window.
//!
//! **Definition.** y[n, c, i, j] = max of x[n, c, h, w] over the window's elements inside the image: h in
//! i·stride − padding .. i·stride − padding + kernel_size, w alike. index is where it was found, h·W + w; on ties the
//! first in row-major order.
//!
//! **Shape.** x [N, C, H, W]; y and index (u32) [N, C, H', W'] with H' = ⌊(H + 2·padding − kernel_size) / stride⌋ + 1. The
//! padding is at most half the window, so that no window is empty.
//!
//! **Gradient.** ∂L/∂x gets ∂L/∂y where the element was chosen, see `max_pool2d_grad`.
//!
//! **Numerics.** Exact. On the host a NaN is the largest number; a device may pass it over.
//!
//! **Cost.** A comparison for every element of every window.
//!
//! **Reference.** `torch.nn.functional.max_pool2d` with `return_indices=True`.

use super::support::{Windows, array, normal};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "max_pool2d",
    text: include_str!("../../shaders/max_pool2d.wgsl"),
    uses: &[library::STORE, library::INDEX, library::WINDOWS],
};

/// The largest element of every window, see the room's documentation.
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    windows: Windows,
}

/// The largest elements of the windows over the images x, and their positions h·W + w.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y, index] = eval(|r| {
///     let x = ops::reshape(r.constant([1.0, 7.0, 2.0, 7.0]), [1, 1, 2, 2])?;
///     let (y, index) = ops::max_pool2d(x, [2, 2], [2, 2], [0, 0])?;
///     Ok([ops::reshape(y, [1])?, ops::reshape(index, [1])?])
/// })?;
/// assert_eq!((y, index), ([7.0].into(), [1u32].into()));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x is not [N, C, H, W], or the windows do not fit.
#[track_caller]
pub fn max_pool2d<'g>(
    x: Tensor<'g>,
    kernel_size: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Result<(Tensor<'g>, Tensor<'g>)> {
    let windows = Windows {
        kernel_size,
        stride,
        padding,
    };
    let outputs = x.recorder().apply(MaxPool2d { windows }, &[x])?;
    Ok((outputs[0], outputs[1]))
}

impl Op for MaxPool2d {
    const NAME: &'static str = "max_pool2d";
    const INPUTS: &'static [&'static str] = &["x"];

    fn attributes(&self) -> Attributes {
        self.windows.attributes()
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let windows = Windows::from_attributes(attributes)?;
        Ok(Self { windows })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        let shape = self.windows.outputs(Self::NAME, x)?;
        Ok(vec![Spec::real(shape), Spec::index(shape)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let x = call.inputs[0].shape();
        let Windows {
            kernel_size,
            stride,
            padding,
        } = self.windows;
        let back = |grad| {
            let index = call.outputs[1];
            super::max_pool2d_grad(grad, index, kernel_size, stride, padding, [x[2], x[3]])
        };
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outputs[0].shape.elements()
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (x, image) = (inputs[0].real(), inputs[0].shape);
        let [y, index] = outputs else {
            unreachable!("there are two outputs")
        };
        let result = y.shape;
        for ((y, index), i) in y.real().iter_mut().zip(index.index()).zip(range) {
            let [i, column] = [i / result[3], i % result[3]];
            let [plane, row] = [i / result[2], i % result[2]];
            let x = &x[plane * image[2] * image[3]..];
            let rows = self.windows.inside(0, row, image[2]);
            let columns = self.windows.inside(1, column, image[3]);
            let mut best = rows.start * image[3] + columns.start;
            for h in rows {
                for at in h * image[3] + columns.start..h * image[3] + columns.end {
                    if x[at].exceeds(x[best]) {
                        best = at;
                    }
                }
            }
            (*y, *index) = (x[best], best as u32);
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let (x, image) = (inputs[0].real(), inputs[0].shape);
        let [y, index] = outputs else {
            unreachable!("there are two outputs")
        };
        let (plane, result) = (image[2] * image[3], y.shape[2] * y.shape[3]);
        let run = Windows::planes_per_task(plane);
        let tasks = y
            .real()
            .chunks_mut(run * result)
            .zip(index.index().chunks_mut(run * result));
        workers.each(x.chunks(run * plane).zip(tasks), |(x, (y, index))| {
            let mut columns = Columns::new(image[3]);
            let planes = x.chunks(plane).zip(y.chunks_mut(result));
            for ((x, y), index) in planes.zip(index.chunks_mut(result)) {
                columns.pool(&self.windows, x, y, index);
            }
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let result = self.outputs(inputs)?[0].shape;
        let bindings = [Binding::Input(0), Binding::Output(0), Binding::Output(1)];
        let launch = Launch::new(&SHADER, bindings);
        Ok(vec![self.windows.words(
            launch,
            inputs[0].shape,
            result,
            result.elements(),
        )])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let windows: usize = outputs.iter().take(1).map(|y| y.shape.elements()).sum();
        Cost::new(windows * self.windows.area(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, kernel_size, stride, padding, shape: Shape| {
            let windows = Windows {
                kernel_size,
                stride,
                padding,
            };
            Case::new(about, Self { windows }, vec![normal(shape, 1)])
        };
        let mut ties = of(
            "ties go to the first",
            [3, 3],
            [2, 1],
            [1, 1],
            [1, 2, 7, 8].into(),
        );
        ties.inputs = vec![array(
            [1, 2, 7, 8].into(),
            (0..112).map(|i| (i * i % 3) as f32).collect::<Vec<_>>(),
        )];
        let ties = ties.without_differences();
        vec![
            of("a stem", [3, 3], [2, 2], [1, 1], [2, 3, 12, 13].into()),
            of("halves", [2, 2], [2, 2], [0, 0], [1, 5, 6, 8].into()),
            of(
                "an uncovered rest",
                [2, 2],
                [2, 2],
                [0, 0],
                [1, 2, 7, 9].into(),
            ),
            of("overlap", [3, 3], [1, 1], [1, 1], [2, 1, 5, 7].into()),
            of("gaps", [2, 3], [3, 4], [1, 0], [1, 2, 11, 13].into()),
            of("rows only", [1, 4], [1, 2], [0, 2], [1, 3, 4, 10].into()),
            of(
                "the whole image",
                [5, 7],
                [1, 1],
                [0, 0],
                [2, 3, 5, 7].into(),
            ),
            of(
                "more window than image",
                [4, 4],
                [2, 2],
                [2, 2],
                [1, 2, 1, 1].into(),
            ),
            of("nothing", [2, 2], [2, 2], [0, 0], [0, 3, 4, 4].into()),
            of(
                "one more than a workgroup",
                [1, 1],
                [1, 1],
                [0, 0],
                [1, 1, 1, 257].into(),
            ),
            of("columns only", [5, 1], [2, 1], [1, 0], [1, 2, 9, 3].into()),
            of(
                "every pair unequal",
                [5, 3],
                [2, 1],
                [2, 1],
                [1, 3, 31, 17].into(),
            ),
            of("no channel", [2, 2], [2, 2], [0, 0], [2, 0, 4, 4].into()),
            of(
                "more than a worker's piece",
                [3, 2],
                [2, 3],
                [0, 1],
                [2, 17, 43, 47].into(),
            ),
            ties,
        ]
    }
}

/// Working memory: the largest element of every column over a window's rows, and the row it lies in.
struct Columns {
    best: Vec<f32>,
    row: Vec<u32>,
}

impl Columns {
    fn new(width: usize) -> Self {
        Self {
            best: vec![0.0; width],
            row: vec![0; width],
        }
    }

    /// Pools one plane: along the height for all columns at once, then along the width.
    fn pool(&mut self, windows: &Windows, x: &[f32], y: &mut [f32], index: &mut [u32]) {
        let width = self.best.len();
        let height = x.len() / width;
        let result_width = windows.along(1, width);
        let results = y
            .chunks_mut(result_width)
            .zip(index.chunks_mut(result_width));
        for (i, (y, index)) in results.enumerate() {
            self.reduce_rows(x, windows.inside(0, i, height));
            for (j, (y, index)) in y.iter_mut().zip(index).enumerate() {
                let columns = windows.inside(1, j, width);
                let best = columns.clone().fold(columns.start, |best, column| {
                    if self.is_before(column, best) {
                        column
                    } else {
                        best
                    }
                });
                (*y, *index) = (self.best[best], self.row[best] * width as u32 + best as u32);
            }
        }
    }

    fn reduce_rows(&mut self, x: &[f32], rows: Range<usize>) {
        let width = self.best.len();
        self.best.copy_from_slice(&x[rows.start * width..][..width]);
        self.row.fill(rows.start as u32);
        for row in rows.skip(1) {
            let columns = self.best.iter_mut().zip(&mut self.row);
            for ((best, best_row), &x) in columns.zip(&x[row * width..][..width]) {
                let is_better = x > *best || x.is_nan() && !best.is_nan();
                *best = if is_better { x } else { *best };
                *best_row = if is_better { row as u32 } else { *best_row };
            }
        }
    }

    /// Whether the element of `column` is chosen before that of `other`, a column further left.
    fn is_before(&self, column: usize, other: usize) -> bool {
        let (x, y) = (self.best[column], self.best[other]);
        let equal = x == y || x.is_nan() && y.is_nan();
        x > y || x.is_nan() && !y.is_nan() || equal && self.row[column] < self.row[other]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Slice, SliceMut};

    /// Ties go to the first position, and NaN is largest, for the definition as for the fast version.
    #[test]
    fn ties_and_nan() {
        let op = MaxPool2d {
            windows: Windows {
                kernel_size: [3, 3],
                stride: [1, 2],
                padding: [1, 1],
            },
        };
        let mut x: Vec<f32> = (0..2 * 6 * 9).map(|i| ((i * 7) % 3) as f32).collect();
        [13, 14, 40, 77].iter().for_each(|&i| x[i] = f32::NAN);
        let image = Shape::from([1, 2, 6, 9]);
        let input = [View {
            shape: image,
            slice: Slice::Real(&x[..]),
        }];
        let shape = op.windows.outputs("max_pool2d", image).expect("it fits");
        let n = shape.elements();
        let (mut y, mut index) = ([vec![0.0; n], vec![0.0; n]], [vec![0; n], vec![0; n]]);
        for fast in [false, true] {
            let out = usize::from(fast);
            let y = SliceMut::Real(&mut y[out]);
            let index = SliceMut::Index(&mut index[out]);
            let mut outputs = [y, index].map(|slice| ViewMut { shape, slice });
            if fast {
                let workers = Workers::new(2).expect("threads");
                op.eval_cpu(&input, &mut outputs, &mut [], &workers);
            } else {
                op.eval(&input, &mut outputs, 0..n);
            }
        }
        assert_eq!(index[0], index[1]);
        assert!(y[0].iter().any(|y| y.is_nan()) && y[0].iter().any(|y| !y.is_nan()));
        for (i, &at) in index[0].iter().enumerate() {
            let plane = &x[i / (n / 2) * 54..][..54];
            let (row, column) = (i / shape[3] % shape[2], i % shape[3]);
            let better = |&other: &usize| {
                let [x, best] = [plane[other], plane[at as usize]];
                x > best || x.is_nan() && !best.is_nan()
            };
            let seen = op
                .windows
                .inside(0, row, 6)
                .flat_map(|h| op.windows.inside(1, column, 9).map(move |w| h * 9 + w));
            let equal = |&other: &usize| {
                let [x, best] = [plane[other], plane[at as usize]];
                x == best || x.is_nan() && best.is_nan()
            };
            assert_eq!(seen.clone().find(better), None);
            assert_eq!(seen.clone().find(equal), Some(at as usize));
        }
    }
}
