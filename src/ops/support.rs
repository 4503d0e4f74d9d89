//! What several rooms share: element-by-element formulas with broadcasting, the geometry of reductions, test inputs.

pub(super) mod attention;
pub(super) mod convolution;

use crate::array::{Array, Spec};
use crate::error::Result;
use crate::graph::{Binding, Launch, Shader, Tensor, View, ViewMut};
use crate::real::Real;
use crate::rng::Stream;
use crate::shape::{KeepAxes, Offsets, Shape};
use std::ops::Range;

mod channels;
mod elementwise;
pub(super) mod epilogue;
mod formulas;
mod lanes;
mod logistic;
mod logits;
pub(super) mod product_cases;
mod products;
mod reducing;
pub(super) mod resizing;
mod rows;
pub(super) mod segments;
pub(super) mod shapes;
mod slices;
mod softmax_pair;
pub(super) mod vectorised;
mod windows;

pub(super) use channels::Channels;
pub(super) use elementwise::{
    CHUNK, binary_cpu, borders, broadcasting_cpu, elementwise_shapes, unary_cpu,
};
pub(super) use formulas::{
    accurate_ln, exp_of_negative, exp_remainder, larger, ln_ratio, max_of_run, sum_of_run,
};
pub(super) use lanes::{LANE_DEPTH, LaneSums, lane_sum};
pub(super) use logistic::{Asymmetric, Focal, Logistic, expect_weights, expect_within, weights_of};
pub(super) use logits::{labels, logits_and_targets};
pub(super) use products::{scaled, scales_scratch};
pub(super) use reducing::{HostReduction, Largest, Summed};
pub(super) use rows::{Rows, expect_axis, expect_same, expect_temperature, largest, outer};
pub(super) use slices::Slices;
pub(super) use softmax_pair::softmax_pairs;
pub(super) use windows::Windows;

/// Invocations in a workgroup of the element-by-element and reducing shaders.
pub(super) const WORKGROUP: usize = 256;

/// Computes `y[i] = f(x[i])` for the range.
pub(super) fn eval_unary<R: Real>(
    inputs: &[View<R>],
    outputs: &mut [ViewMut<R>],
    range: Range<usize>,
    f: impl Fn(R) -> R,
) {
    let x = &inputs[0].real()[range];
    outputs[0]
        .real()
        .iter_mut()
        .zip(x)
        .for_each(|(y, &x)| *y = f(x));
}

/// Computes `y[i] = f(a[i], b[i])` for the range, both operands broadcast to the output's shape.
#[inline(always)]
pub(super) fn eval_binary<R: Real>(
    inputs: &[View<R>],
    outputs: &mut [ViewMut<R>],
    range: Range<usize>,
    f: impl Fn(R, R) -> R,
) {
    let shape = outputs[0].shape;
    combine(
        shape,
        [inputs[0], inputs[1]],
        range.start,
        outputs[0].real(),
        f,
    );
}

/// The elements of `y`, of the given whole shape, from `start` on: see [`eval_binary`].
#[inline(always)]
fn combine<R: Real>(
    shape: Shape,
    [a, b]: [View<R>; 2],
    start: usize,
    y: &mut [R],
    f: impl Fn(R, R) -> R,
) {
    if a.shape == shape && b.shape == shape {
        let (a, b) = (&a.real()[start..], &b.real()[start..]);
        return y
            .iter_mut()
            .zip(a.iter().zip(b))
            .for_each(|(y, (&a, &b))| *y = f(a, b));
    }
    // Along the innermost axis each operand either walks or stands still.
    let strides = [a, b].map(|operand| operand.shape.broadcast_strides(&shape));
    let step = strides.map(|strides| strides.last().copied().unwrap_or(0));
    let width = shape.last().copied().unwrap_or(1);
    let (a, b) = (a.real(), b.real());
    let mut walk = Offsets::new(shape.innermost_as_one(), strides, start / width.max(1));
    let (mut column, mut rest) = (start % width.max(1), y);
    while !rest.is_empty() {
        let (row, below) = rest.split_at_mut(rest.len().min(width - column));
        let [i, j] = walk.advance();
        let (i, j) = (i + column * step[0], j + column * step[1]);
        match step {
            [1, 1] => row
                .iter_mut()
                .zip(a[i..].iter().zip(&b[j..]))
                .for_each(|(y, (&a, &b))| *y = f(a, b)),
            [1, 0] => row
                .iter_mut()
                .zip(&a[i..])
                .for_each(|(y, &a)| *y = f(a, b[j])),
            [0, 1] => row
                .iter_mut()
                .zip(&b[j..])
                .for_each(|(y, &b)| *y = f(a[i], b)),
            _ => row.fill(f(a[i], b[j])),
        }
        (column, rest) = (0, below);
    }
}

/// The launch of a shader that computes `y[i]` from `x[i]` (and further inputs of the same shape).
pub(super) fn launch_elementwise(shader: &'static Shader, inputs: usize, output: &Spec) -> Launch {
    let n = output.shape.elements();
    let mut bindings: Vec<Binding> = (0..inputs).map(Binding::Input).collect();
    bindings.push(Binding::Output(0));
    Launch::new(shader, bindings).word(n).elements(n, WORKGROUP)
}

/// The launch of a shader that computes `y[i] = f(a[i], b[i])` with broadcasting.
pub(super) fn launch_binary(shader: &'static Shader, inputs: &[Spec], output: &Spec) -> Launch {
    let shape = output.shape;
    let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
    let broadcasts = inputs.iter().any(|input| input.shape != shape);
    Launch::new(shader, bindings)
        .axes(&shape, 1)
        .axes(&inputs[0].shape.broadcast_strides(&shape), 0)
        .axes(&inputs[1].shape.broadcast_strides(&shape), 0)
        .word(shape.elements())
        .constant("BROADCASTS", f64::from(u8::from(broadcasts)))
        .elements(shape.elements(), WORKGROUP)
}

/// The gradient of an operand that was broadcast: the sum over the axes it was repeated along.
#[track_caller]
pub(super) fn unbroadcast<'g>(grad: Tensor<'g>, shape: Shape) -> Result<Tensor<'g>> {
    if grad.shape() == shape {
        return Ok(grad);
    }
    let outer = grad.shape().len() - shape.len();
    let repeated =
        |&axis: &usize| axis < outer || (shape[axis - outer] == 1 && grad.shape()[axis] != 1);
    let axes: Vec<usize> = (0..grad.shape().len()).filter(repeated).collect();
    let summed = super::sum(grad, &axes, KeepAxes::Yes)?;
    super::reshape(summed, shape)
}

/// −x.
#[track_caller]
pub(super) fn negate<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    super::mul(x, super::fill(x.recorder(), Shape::SCALAR, -1.0)?)
}

/// A reduction's geometry: for each kept index, a walk over the reduced ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reduction {
    /// The lengths of the kept axes, and their strides in the input.
    pub kept: Shape,
    kept_strides: Shape,
    /// The lengths of the reduced axes, and their strides in the input.
    pub reduced: Shape,
    reduced_strides: Shape,
}

impl Reduction {
    /// The reduction of `input` over `axes`, which exist and differ.
    pub(super) fn new(input: Shape, axes: &[usize]) -> Self {
        let strides = input.strides();
        let pick = |from: &Shape, inside: bool| {
            let axes = (0..input.len()).filter(|axis| axes.contains(axis) == inside);
            axes.fold(Shape::SCALAR, |picked, axis| picked.pushed(from[axis]))
        };
        Self {
            kept: pick(&input, false),
            kept_strides: pick(&strides, false),
            reduced: pick(&input, true),
            reduced_strides: pick(&strides, true),
        }
    }

    /// How many elements go into one result.
    pub(super) fn count(&self) -> usize {
        self.reduced.elements()
    }

    /// Visits the offsets, in the input, of the elements that go into result `index`, in row-major order, as runs of
    /// (first offset, stride, length).
    pub(super) fn runs(&self, index: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let [base] = Offsets::new(self.kept, [self.kept_strides], index).advance();
        let (length, stride) = match (self.reduced.last(), self.reduced_strides.last()) {
            (Some(&length), Some(&stride)) => (length, stride),
            _ => (1, 1),
        };
        if self.count() == 0 {
            return;
        }
        let mut walk = Offsets::new(self.reduced.innermost_as_one(), [self.reduced_strides], 0);
        for _ in 0..self.count() / length {
            let [offset] = walk.advance();
            visit(base + offset, stride, length);
        }
    }

    /// Appends the geometry to a launch as 32 words: kept lengths and strides, reduced lengths and strides.
    pub(super) fn words(&self, launch: Launch) -> Launch {
        launch
            .axes(&self.kept, 1)
            .axes(&self.kept_strides, 0)
            .axes(&self.reduced, 1)
            .axes(&self.reduced_strides, 0)
    }

    /// The additions that an element passes through on the way into the result, whichever executor adds: runs of
    /// `count / 256` in each invocation, then a tree over the workgroup; the host accumulates in f64.
    pub(super) fn depth(&self) -> usize {
        self.count().div_ceil(WORKGROUP) + 9
    }
}

/// Completes a launch of one workgroup a result: the geometry, the count of elements and of results.
pub(super) fn launch_reduction(reduction: &Reduction, launch: Launch) -> Launch {
    let results = reduction.kept.elements();
    let launch = reduction.words(launch).word(reduction.count());
    launch.word(results).groups(results)
}

/// Test input: normal numbers with a spread of magnitudes, representable in f32.
pub(super) fn normal(shape: impl Into<Shape>, seed: u64) -> Array {
    filled(shape.into(), |i| {
        let mut stream = Stream::new(seed, "case", 0, i as u64);
        stream.normal() as f32
    })
}

/// Test input: uniform numbers in [low, high), representable in f32.
pub(super) fn uniform(shape: impl Into<Shape>, low: f64, high: f64, seed: u64) -> Array {
    filled(shape.into(), |i| {
        Stream::new(seed, "case", 1, i as u64).range(low, high) as f32
    })
}

/// Test input: indices in 0..below.
pub(super) fn indices(shape: impl Into<Shape>, below: usize, seed: u64) -> Array {
    let shape = shape.into();
    let values: Vec<u32> = (0..shape.elements())
        .map(|i| Stream::new(seed, "case", 2, i as u64).below(below) as u32)
        .collect();
    array(shape, values)
}

/// Test input: an array whose length is known to fit.
pub(super) fn array(shape: Shape, numbers: impl Into<crate::array::Numbers>) -> Array {
    Array::new(shape, numbers).unwrap_or_else(|e| unreachable!("{e}"))
}

fn filled(shape: Shape, f: impl Fn(usize) -> f32) -> Array {
    array(shape, (0..shape.elements()).map(f).collect::<Vec<f32>>())
}
