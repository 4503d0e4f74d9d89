//! A value with its axes in another order.
//!
//! **Definition.** y[i₀, i₁, …] = x[j₀, j₁, …] where j of axis `axes[k]` is iₖ: axis k of y is axis `axes[k]` of x.
//!
//! **Shape.** The lengths of x in the order of `axes`, which names every axis once.
//!
//! **Gradient.** ∂L/∂x is ∂L/∂y in the inverse order.
//!
//! **Numerics.** Exact.
//!
//! **Cost.** A copy; where the innermost axis changes, reads of x lie apart.
//!
//! **Reference.** `torch.permute`.

use super::support::{WORKGROUP, normal, segments};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, eval_in_parallel, expect_reals, library,
};
use crate::product::square::{SIDE, ZEROS, gather, turned, write};
use crate::real::Real;
use crate::shape::{Offsets, Shape};
use crate::workers::{Workers, vectorised};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "transpose",
    text: include_str!("../../shaders/transpose.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// Another order of axes, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Transposition {
    /// For every axis of the result, the axis of x.
    pub axes: Vec<usize>,
}

/// x with its axes in the order `axes`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::transpose(r.constant([[1.0, 2.0], [3.0, 4.0]]), &[1, 0])?]))?;
/// assert_eq!(y, [[1.0, 3.0], [2.0, 4.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// `axes` does not name every axis of x once.
#[track_caller]
pub fn transpose<'g>(x: Tensor<'g>, axes: &[usize]) -> Result<Tensor<'g>> {
    let axes = axes.to_vec();
    x.recorder().apply_one(Transposition { axes }, &[x])
}

impl Transposition {
    /// The numbers that belong to x's axes, in the order of the result's.
    fn reorder(&self, numbers: Shape) -> Shape {
        let pick = |picked: Shape, &axis: &usize| picked.pushed(numbers[axis]);
        self.axes.iter().fold(Shape::SCALAR, pick)
    }
}

impl Op for Transposition {
    const NAME: &'static str = "transpose";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none().with("axes", self.axes.as_slice())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let axes = attributes.ints("axes", &[])?;
        Ok(Self { axes })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        let axes = &self.axes;
        if axes.len() != x.len() || (0..x.len()).any(|axis| !axes.contains(&axis)) {
            return Err(Error::shape(format!(
                "transpose: axes {axes:?} do not name every axis of x {x} once"
            )));
        }
        Ok(vec![Spec::real(self.reorder(x))])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let mut inverse = vec![0; self.axes.len()];
        for (place, &axis) in self.axes.iter().enumerate() {
            inverse[axis] = place;
        }
        let back = |grad| transpose(grad, &inverse);
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (x, shape) = (inputs[0].real(), outputs[0].shape);
        let strides = self.reorder(inputs[0].shape.strides());
        let (row, stride) = match (shape.last(), strides.last()) {
            (Some(&row), Some(&stride)) => (row, stride),
            _ => (1, 1),
        };
        // Along the innermost axis x is read with one stride.
        let y = outputs[0].real();
        let mut done = 0;
        let first = range.start - range.start % row.max(1);
        let mut walk = Offsets::new(shape.innermost_as_one(), [strides], first / row.max(1));
        while done < y.len() {
            let within = (range.start + done) % row;
            let run = (row - within).min(y.len() - done);
            let [offset] = walk.advance();
            let x = &x[offset + within * stride..];
            let y = &mut y[done..done + run];
            if stride == 1 {
                y.copy_from_slice(&x[..run]);
            } else {
                y.iter_mut()
                    .zip(x.iter().step_by(stride))
                    .for_each(|(y, &x)| *y = x);
            }
            done += run;
        }
    }

    /// Where the innermost axis moves, by tiles: both what is read and what is written then fills cache lines.
    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let (x, shape) = (inputs[0].real(), outputs[0].shape);
        let innermost = self.axes.iter().position(|&axis| axis + 1 == shape.len());
        let Some(moved) = innermost.filter(|&moved| moved + 1 < shape.len()) else {
            return eval_in_parallel(self, inputs, outputs, workers);
        };
        let strides = self.reorder(inputs[0].shape.strides());
        let (segment, row) = (
            segments::segment(&shape, moved),
            segments::step(&shape, moved),
        );
        if shape.elements() == 0 {
            return;
        }
        let outer = |of: Shape| part(of, 0..moved);
        let between = |of: Shape| part(of, moved + 1..of.len() - 1);
        let tasks = outputs[0].real().chunks_mut(segment).enumerate();
        let tasks = tasks.flat_map(|(index, y)| {
            let rows = y.chunks_mut(TILE * row).enumerate();
            rows.map(move |(tile, y)| (index, tile * TILE, y))
        });
        workers.each(tasks, |(index, first, y)| {
            let [start] = Offsets::new(outer(shape), [outer(strides)], index).advance();
            let mut walk = Offsets::new(between(shape), [between(strides)], 0);
            let (width, stride) = (shape[shape.len() - 1], strides[shape.len() - 1]);
            for column in (0..row).step_by(width) {
                let [offset] = walk.advance();
                transpose_rows(
                    &x[start + first + offset..],
                    stride,
                    &mut y[column..],
                    row,
                    width,
                );
            }
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let x = inputs[0].shape;
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)])
            .axes(&self.reorder(x), 1)
            .axes(&self.reorder(x.strides()), 0)
            .word(x.elements())
            .elements(x.elements(), WORKGROUP);
        Ok(vec![launch])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(0, inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, axes: &[usize], shape: Shape| {
            let axes = axes.to_vec();
            Case::new(about, Self { axes }, vec![normal(shape, 1)])
        };
        vec![
            of("a matrix", &[1, 0], [5, 7].into()),
            of("heads", &[0, 2, 1, 3], [2, 5, 3, 4].into()),
            of("channels last", &[0, 2, 3, 1], [2, 3, 5, 7].into()),
            of("the same order", &[0, 1, 2], [2, 3, 4].into()),
            of("one axis", &[0], [6].into()),
            of("one element", &[1, 0], [1, 1].into()),
            of("scalar", &[], Shape::SCALAR),
            of("nothing", &[1, 0], [0, 3].into()),
            of("nothing inside", &[1, 0, 2], [2, 3, 0].into()),
            of("six axes", &[5, 3, 1, 0, 2, 4], [2, 3, 2, 1, 3, 2].into()),
            of(
                "six lengths",
                &[4, 2, 5, 0, 3, 1],
                [2, 3, 4, 5, 6, 7].into(),
            ),
            of("one more than a workgroup", &[1, 0], [257, 1].into()),
            of("three workgroups and one", &[1, 0], [1, 769].into()),
            of("a tile of the host and one", &[1, 0], [17, 33].into()),
            of("more than a piece", &[1, 0], [151, 257].into()),
            of("an axis between", &[0, 3, 1, 2], [2, 5, 17, 33].into()),
        ]
    }
}

/// The side of the square tiles that are turned at once.
const TILE: usize = SIDE;

/// Some of a shape's numbers, as a shape.
fn part(of: Shape, axes: Range<usize>) -> Shape {
    let push = |picked: Shape, &number: &usize| picked.pushed(number);
    of[axes].iter().fold(Shape::SCALAR, push)
}

/// y[r · row + k] = x[r + k · stride] for k in 0..width and up to [`TILE`] rows r, as many as begin in y.
fn transpose_rows(x: &[f32], stride: usize, y: &mut [f32], row: usize, width: usize) {
    vectorised(
        #[inline(always)]
        || {
            let mut square = ZEROS;
            for start in (0..width).step_by(TILE) {
                let columns = TILE.min(width - start);
                let rows = y.len().div_ceil(row).min(TILE);
                gather(&mut square, columns, |i| &x[(start + i) * stride..][..rows]);
                for (y, line) in y.chunks_mut(row).zip(&turned(&square)) {
                    write(line, &mut y[start..start + columns]);
                }
            }
        },
    );
}
