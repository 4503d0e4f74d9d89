//! A value repeated along axes of length 1, or along new outer axes.
//!
//! **Definition.** y[i] = x[i aligned at the innermost axis, 0 where x has length 1].
//!
//! **Shape.** As the attribute `shape` says; x must broadcast to it.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y summed over the axes of repetition.
//!
//! **Numerics.** Exact.
//!
//! **Cost.** Reading x once, writing y; bound by memory.
//!
//! **Reference.** `torch.Tensor.expand`.

use super::support::{WORKGROUP, normal, unbroadcast};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::{Offsets, Shape};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "broadcast",
    text: include_str!("../../shaders/broadcast.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// Repetition along axes, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// The shape of the result.
    pub shape: Shape,
}

/// x repeated to `shape`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::broadcast(r.constant([1.0, 2.0]), [2, 2])?]))?;
/// assert_eq!(y, [[1.0, 2.0], [1.0, 2.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x does not broadcast to the shape.
#[track_caller]
pub fn broadcast<'g>(x: Tensor<'g>, shape: impl Into<Shape>) -> Result<Tensor<'g>> {
    let shape = shape.into();
    if x.shape() == shape {
        Ok(x)
    } else {
        x.recorder().apply_one(Broadcast { shape }, &[x])
    }
}

impl Op for Broadcast {
    const NAME: &'static str = "broadcast";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none().with("shape", &*self.shape)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            shape: Shape::new(&attributes.ints("shape", &[])?)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        if x.broadcast(&self.shape).ok() != Some(self.shape) {
            return Err(Error::shape(format!(
                "broadcast: {x} does not broadcast to {}",
                self.shape
            )));
        }
        Ok(vec![Spec::real(self.shape)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let grad = output_grads[0]
            .map(|grad| unbroadcast(grad, call.inputs[0].shape()))
            .transpose()?;
        Ok(vec![grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let x = inputs[0].real();
        let strides = inputs[0].shape.broadcast_strides(&self.shape);
        // Along the innermost axis x either walks or stands still.
        let width = self.shape.last().copied().unwrap_or(1).max(1);
        let walks = strides.last() == Some(&1);
        let rows = self.shape.innermost_as_one();
        let mut walk = Offsets::new(rows, [strides], range.start / width);
        let (mut column, mut rest) = (range.start % width, outputs[0].real());
        while !rest.is_empty() {
            let (row, below) = rest.split_at_mut(rest.len().min(width - column));
            let [i] = walk.advance();
            if walks {
                row.copy_from_slice(&x[i + column..][..row.len()]);
            } else {
                row.fill(x[i]);
            }
            (column, rest) = (0, below);
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let n = self.shape.elements();
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)])
            .axes(&self.shape, 1)
            .axes(&inputs[0].shape.broadcast_strides(&self.shape), 0)
            .word(n)
            .elements(n, WORKGROUP);
        Ok(vec![launch])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(0, inputs, &[Spec::real(self.shape)])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |(about, from, to): (_, &[usize], &[usize])| {
            let [x, shape] = [from, to]
                .map(|lengths| Shape::new(lengths).unwrap_or_else(|e| unreachable!("{e}")));
            Case::new(about, Self { shape }, vec![normal(x, 1)])
        };
        let cases: [(_, &[usize], &[usize]); 14] = [
            ("of a scalar", &[], &[257]),
            ("a scalar", &[], &[]),
            ("one element", &[1], &[1]),
            ("the same shape", &[3, 5], &[3, 5]),
            ("to nothing", &[1, 3], &[0, 3]),
            ("of nothing", &[0, 3], &[2, 0, 3]),
            ("new outer axes", &[5], &[2, 3, 5]),
            ("inner axes", &[2, 3, 1, 1], &[2, 3, 4, 5]),
            ("an axis between", &[7, 1, 11], &[7, 13, 11]),
            ("every axis but one", &[1, 17, 1], &[3, 17, 5]),
            (
                "one of six axes and another",
                &[2, 1, 4, 5, 1, 7],
                &[2, 3, 4, 5, 6, 7],
            ),
            (
                "every other of six axes",
                &[1, 3, 1, 5, 1, 7],
                &[2, 3, 4, 5, 6, 7],
            ),
            ("three workgroups and one", &[1], &[769]),
            ("more than a worker's piece", &[7001], &[3, 7001]),
        ];
        cases.map(case).into()
    }
}
