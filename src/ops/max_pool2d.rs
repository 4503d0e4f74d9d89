//! The largest element of every window.
//!
//! **Definition.** y[n, c, i, j] = max of x[n, c, h, w] over the window's elements inside the image. Windows slide, h in
//! i·stride − padding .. i·stride − padding + kernel_size, or are adaptive, h in ⌊i·H/H'⌋ .. ⌈(i + 1)·H/H'⌉; w alike. index is
//! where it was found, h·W + w; on ties the first in row-major order.
//!
//! **Shape.** x [N, C, H, W]; y and index (u32) [N, C, H', W']. Adaptive windows have [H', W'] as the attribute `output_size`;
//! it is 0 for windows that slide, where H' = ⌊(H + 2·padding − kernel_size) / stride⌋ + 1, or with `ceil_mode=yes` the
//! quotient rounded up, unless the last window would start behind the image. The padding is at most half the window, so that
//! no window is empty.
//!
//! **Gradient.** ∂L/∂x gets ∂L/∂y where the element was chosen, see `max_pool2d_grad`.
//!
//! **Numerics.** Exact. On the host a NaN is the largest number; a device may pass it over.
//!
//! **Cost.** A comparison for every element of every window.
//!
//! **Reference.** `torch.nn.functional.max_pool2d` and `adaptive_max_pool2d` with `return_indices=True`.

use super::support::{Windows, array, normal, shapes};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "max_pool2d",
    text: include_str!("../../shaders/max_pool2d.wgsl"),
    uses: &[library::STORE, library::INDEX, library::WINDOWS],
};

/// Where windows lie over images. Pairs are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// Windows of one size at equal distances.
    Sliding {
        /// Rows and columns of a window.
        kernel_size: [usize; 2],
        /// Rows and columns from one window to the next.
        stride: [usize; 2],
        /// Rows and columns around the image that windows reach, at most half of a window.
        padding: [usize; 2],
        /// What becomes of a rest.
        ceil_mode: CeilMode,
    },
    /// A number of windows that share out the image as equally as can be, and overlap where they must.
    Adaptive {
        /// Windows along the height and the width.
        output_size: [usize; 2],
    },
}

/// What becomes of the rows and columns that are too few for one window more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CeilMode {
    /// No window sees them.
    No,
    /// The window sees them, if it does not start behind the image.
    Yes,
}

impl Pooling {
    /// Sliding windows that lie inside the padded image.
    pub fn sliding(kernel_size: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Self {
        Pooling::Sliding {
            kernel_size,
            stride,
            padding,
            ceil_mode: CeilMode::No,
        }
    }

    /// As attributes.
    pub(super) fn attributes(&self) -> Attributes {
        match self {
            Pooling::Sliding {
                kernel_size,
                stride,
                padding,
                ceil_mode,
            } => {
                let rounds_up = *ceil_mode == CeilMode::Yes;
                Attributes::none()
                    .with("kernel_size", &kernel_size[..])
                    .with("stride", &stride[..])
                    .with("padding", &padding[..])
                    .with("ceil_mode", if rounds_up { "yes" } else { "no" })
            }
            Pooling::Adaptive { output_size } => {
                Attributes::none().with("output_size", &output_size[..])
            }
        }
    }

    /// From attributes: 2 × 2 without padding by default, and the stride is the window's size.
    pub(super) fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let kernel_size = attributes.pair("kernel_size", [2, 2])?;
        let choices = [("no", CeilMode::No), ("yes", CeilMode::Yes)];
        let sliding = Pooling::Sliding {
            kernel_size,
            stride: attributes.pair("stride", kernel_size)?,
            padding: attributes.pair("padding", [0, 0])?,
            ceil_mode: attributes.choice("ceil_mode", CeilMode::No, &choices)?,
        };
        let output_size = attributes.pair("output_size", [0, 0])?;
        if output_size == [0, 0] {
            return Ok(sliding);
        }
        let own = ["kernel_size", "stride", "padding", "ceil_mode"];
        match own.iter().find(|name| attributes.get(name).is_some()) {
            Some(name) => Err(Error::input(format!(
                "windows have {name}, or follow from output_size, not both"
            ))),
            None => Ok(Pooling::Adaptive { output_size }),
        }
    }
}

/// The largest element of every window, see the room's documentation.
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    /// Where the windows lie.
    pub pooling: Pooling,
}

/// The largest elements of the windows over the images x, and their positions h·W + w.
///
/// ```
/// # use axenic::{eval, ops::{self, Pooling}};
/// let [y, index] = eval(|r| {
///     let x = r.constant([[[[1.0, 7.0], [2.0, 7.0]]]]);
///     let (y, index) = ops::max_pool2d(x, Pooling::sliding([2, 2], [2, 2], [0, 0]))?;
///     Ok([ops::reshape(y, [1])?, ops::reshape(index, [1])?])
/// })?;
/// assert_eq!((y, index), ([7.0].into(), [1u32].into()));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x is not [N, C, H, W], or the windows do not fit.
#[track_caller]
pub fn max_pool2d<'g>(x: Tensor<'g>, pooling: Pooling) -> Result<(Tensor<'g>, Tensor<'g>)> {
    let outputs = x.recorder().apply(MaxPool2d { pooling }, &[x])?;
    Ok((outputs[0], outputs[1]))
}

impl MaxPool2d {
    /// The windows, where the shape rule has accepted them.
    fn windows(&self, inputs: &[View<impl Real>]) -> Windows {
        let windows = Windows::over(Self::NAME, &self.pooling, inputs[0].shape);
        windows.unwrap_or_else(|e| unreachable!("{e}")).0
    }
}

impl Op for MaxPool2d {
    const NAME: &'static str = "max_pool2d";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        self.pooling.attributes()
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let pooling = Pooling::from_attributes(attributes)?;
        Ok(Self { pooling })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        let (_, shape) = Windows::over(Self::NAME, &self.pooling, x)?;
        Ok(vec![Spec::real(shape), Spec::index(shape)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let x = call.inputs[0].shape();
        let back = |grad| super::max_pool2d_grad(grad, call.outputs[1], self.pooling, [x[2], x[3]]);
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outputs[0].shape.elements()
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (x, image, windows) = (inputs[0].real(), inputs[0].shape, self.windows(inputs));
        let [y, index] = outputs else {
            unreachable!("there are two outputs")
        };
        let result = y.shape;
        for ((y, index), i) in y.real().iter_mut().zip(index.index()).zip(range) {
            let [i, column] = [i / result[3], i % result[3]];
            let [plane, row] = [i / result[2], i % result[2]];
            let x = &x[plane * image[2] * image[3]..];
            let rows = windows.inside(0, row);
            let columns = windows.inside(1, column);
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
        let windows = self.windows(inputs);
        let tasks = y
            .real()
            .chunks_mut(run * result)
            .zip(index.index().chunks_mut(run * result));
        workers.each(
            x.chunks(run * plane).zip(tasks),
            #[inline(always)]
            |(x, (y, index))| {
                let mut row = Row::new(&windows);
                let planes = x.chunks(plane).zip(y.chunks_mut(result));
                for ((x, y), index) in planes.zip(index.chunks_mut(result)) {
                    row.pool(&windows, image[3], x, (y, index));
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let (windows, result) = Windows::over(Self::NAME, &self.pooling, inputs[0].shape)?;
        let bindings = [Binding::Input(0), Binding::Output(0), Binding::Output(1)];
        let launch = Launch::new(&SHADER, bindings);
        Ok(vec![windows.words(launch, result.elements())])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let windows = Windows::over(Self::NAME, &self.pooling, inputs[0].shape);
        let compared = windows.map_or(0, |(windows, y)| y.elements() * windows.area());
        Cost::new(compared, inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |(about, pooling, image): (_, _, [usize; 4])| {
            Case::new(about, Self { pooling }, vec![normal(image, 1)])
        };
        let few = (0..112).map(|i| (i * i % 3) as f32).collect::<Vec<_>>();
        let ties = Case::new(
            "ties go to the first",
            Self {
                pooling: Pooling::sliding([3, 3], [2, 1], [1, 1]),
            },
            vec![array([1, 2, 7, 8].into(), few)],
        );
        let ties = ties.without_differences();
        shapes::windows().map(of).chain([ties]).collect()
    }
}

/// Lets elements take the places of those that are smaller. Those that come later in row-major order have to challenge later:
/// so ties go to the first. Without branches, so that the loop vectorises.
#[inline(always)]
fn challenge(best: &mut [f32], best_at: &mut [u32], x: &[f32], at: impl Iterator<Item = u32>) {
    let own = best.iter_mut().zip(best_at);
    for ((best, best_at), (&x, at)) in own.zip(x.iter().zip(at)) {
        let is_better = (x > *best) | (x.is_nan() & !best.is_nan());
        *best = if is_better { x } else { *best };
        *best_at = if is_better { at } else { *best_at };
    }
}

/// One row of an image, and the largest elements of the windows over it.
struct Row {
    /// What each window sees, and where that starts.
    columns: Vec<Range<usize>>,
    starts: Vec<u32>,
    /// The row for windows that slide: what they see first, second, … lies in memory as they do.
    phases: Option<Phases>,
    largest: Vec<f32>,
    /// Where they lie in the plane.
    at: Vec<u32>,
}

impl Row {
    fn new(windows: &Windows) -> Self {
        let columns = windows.all(1);
        let sliding = windows.sliding(1);
        Self {
            phases: sliding.map(|along| Phases::new(along, columns.len())),
            largest: vec![0.0; columns.len()],
            at: vec![0; columns.len()],
            starts: columns.iter().map(|column| column.start as u32).collect(),
            columns,
        }
    }

    /// Pools one plane: every row along the width, and the results of the rows of a window along the height.
    #[inline(always)]
    fn pool(
        &mut self,
        windows: &Windows,
        width: usize,
        x: &[f32],
        (y, index): (&mut [f32], &mut [u32]),
    ) {
        let count = self.columns.len();
        for (h, x) in x.chunks(width).enumerate() {
            let seen_by = windows.covering(0, h);
            if !seen_by.is_empty() {
                self.reduce(x, (h * width) as u32);
            }
            for row in seen_by {
                let own = row * count..(row + 1) * count;
                let (y, index) = (&mut y[own.clone()], &mut index[own]);
                if windows.inside(0, row).start == h {
                    y.copy_from_slice(&self.largest);
                    index.copy_from_slice(&self.at);
                } else {
                    challenge(y, index, &self.largest, self.at.iter().copied());
                }
            }
        }
    }

    /// Finds the largest elements of all windows over the row x, which begins at the place `start` of its plane.
    #[inline(always)]
    fn reduce(&mut self, x: &[f32], start: u32) {
        // If nothing is larger than this, all elements are equal, and the first is chosen.
        self.largest.fill(f32::NEG_INFINITY);
        for (at, first) in self.at.iter_mut().zip(&self.starts) {
            *at = start + first;
        }
        let Some(phases) = &mut self.phases else {
            return self.reduce_each(x, start);
        };
        phases.take(x);
        for tap in 0..phases.kernel_size {
            // Places in the padding wrap around; nothing there is ever larger.
            let first = start.wrapping_add(tap as u32);
            let first = first.wrapping_sub(phases.padding as u32);
            let at = phases.steps.iter().map(
                #[inline(always)]
                |step| first.wrapping_add(*step),
            );
            challenge(&mut self.largest, &mut self.at, phases.tap(tap), at);
        }
    }

    /// The same, window by window.
    #[inline(always)]
    fn reduce_each(&mut self, x: &[f32], start: u32) {
        let largest = self.largest.iter_mut().zip(&mut self.at);
        for ((best, best_at), columns) in largest.zip(&self.columns) {
            for (&x, at) in x[columns.clone()]
                .iter()
                .zip(start + columns.start as u32..)
            {
                if x.exceeds(*best) {
                    (*best, *best_at) = (x, at);
                }
            }
        }
    }
}

/// A row with its padding of −∞, its elements sorted by their positions modulo the stride.
struct Phases {
    kernel_size: usize,
    stride: usize,
    padding: usize,
    /// From the first window to every window.
    steps: Vec<u32>,
    /// The elements of a phase.
    length: usize,
    x: Vec<f32>,
}

impl Phases {
    fn new([kernel_size, stride, padding]: [usize; 3], windows: usize) -> Self {
        let length = windows + (kernel_size - 1) / stride;
        Self {
            kernel_size,
            stride,
            padding,
            steps: (0..windows)
                .map(|window| (window * stride) as u32)
                .collect(),
            length,
            x: vec![f32::NEG_INFINITY; stride * length],
        }
    }

    /// Takes a row; the padding stays.
    #[inline(always)]
    fn take(&mut self, row: &[f32]) {
        let (stride, padding) = (self.stride, self.padding);
        for (phase, x) in self.x.chunks_mut(self.length).enumerate() {
            // The first element of the row in this phase.
            let first = (phase + stride - padding % stride) % stride;
            let x = &mut x[(first + padding) / stride..];
            let row = row.get(first..).unwrap_or_default();
            match stride {
                1 => take_every::<1>(x, row),
                2 => take_every::<2>(x, row),
                _ => {
                    let row = row.iter().step_by(stride);
                    x.iter_mut().zip(row).for_each(|(x, &element)| *x = element);
                }
            }
        }
    }

    /// Of every window the element number `tap`.
    #[inline(always)]
    fn tap(&self, tap: usize) -> &[f32] {
        &self.x[tap % self.stride * self.length + tap / self.stride..][..self.steps.len()]
    }
}

/// Takes the elements 0, STRIDE, … of a row, as far as there is place. The compiler knows the stride and makes shuffles of it.
#[inline(always)]
fn take_every<const STRIDE: usize>(x: &mut [f32], row: &[f32]) {
    let (groups, rest) = row.as_chunks::<STRIDE>();
    for (x, group) in x.iter_mut().zip(groups) {
        *x = group[0];
    }
    if let (Some(x), Some(&last)) = (x.get_mut(groups.len()), rest.first()) {
        *x = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Slice, SliceMut};
    use crate::shape::Shape;

    /// Ties go to the first position, also between infinities, and NaN is largest, for the definition as for the fast version.
    #[test]
    fn ties_and_nan() {
        let mut x: Vec<f32> = (0..2 * 6 * 9).map(|i| ((i * 7) % 3) as f32).collect();
        [13, 14, 40, 77].iter().for_each(|&i| x[i] = f32::NAN);
        (0..20).for_each(|i| x[64 + i / 5 * 9 + i % 5] = f32::NEG_INFINITY);
        for pooling in [
            Pooling::sliding([3, 3], [1, 2], [1, 1]),
            Pooling::sliding([3, 3], [2, 1], [0, 1]),
            Pooling::sliding([2, 2], [2, 2], [0, 0]),
            Pooling::sliding([3, 4], [3, 3], [1, 2]),
            Pooling::Adaptive {
                output_size: [3, 4],
            },
        ] {
            check(&MaxPool2d { pooling }, &x);
        }
    }

    /// Holds both versions against each other and the definition, over two planes of 6 × 9.
    fn check(op: &MaxPool2d, x: &[f32]) {
        let image = Shape::from([1, 2, 6, 9]);
        let input = [View {
            shape: image,
            slice: Slice::Real(x),
        }];
        let windows = Windows::over("max_pool2d", &op.pooling, image);
        let (windows, shape) = windows.expect("it fits");
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
        assert_eq!(index[0], index[1], "{op:?}");
        assert!(y[0].iter().any(|y| y.is_nan()) && y[0].iter().any(|y| !y.is_nan()));
        for (i, &at) in index[0].iter().enumerate() {
            let plane = &x[i / (n / 2) * 54..][..54];
            let (row, column) = (i / shape[3] % shape[2], i % shape[3]);
            let better = |&other: &usize| {
                let [x, best] = [plane[other], plane[at as usize]];
                x > best || x.is_nan() && !best.is_nan()
            };
            let seen = windows
                .inside(0, row)
                .flat_map(|h| windows.inside(1, column).map(move |w| h * 9 + w));
            let equal = |&other: &usize| {
                let [x, best] = [plane[other], plane[at as usize]];
                x == best || x.is_nan() && best.is_nan()
            };
            assert_eq!(seen.clone().find(better), None);
            assert_eq!(seen.clone().find(equal), Some(at as usize));
        }
    }
}
