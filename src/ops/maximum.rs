//! The larger of two values, element by element.
//!
//! **Definition.** y = a where a > b, else b; NaN where either is.
//!
//! **Shape.** a and b broadcast: axes are aligned at the innermost, lengths are equal or 1.
//!
//! **Gradient.** ∂L/∂a = ∂L/∂y where a > b, half of it where a = b, else 0, summed over the axes that a was repeated
//! along; b alike (see `maximum_grad`).
//!
//! **Numerics.** Exact.
//!
//! **Cost.** One comparison an element; bound by memory.
//!
//! **Reference.** `torch.maximum`, which also shares the gradient of equals.

use super::support::{array, eval_binary, launch_binary, normal, unbroadcast, uniform};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use std::cmp::Ordering;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "maximum",
    text: include_str!("../../shaders/maximum.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The larger of two, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Maximum;

/// The larger of two values, which broadcast.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::maximum(r.constant([[1.0], [4.0]]), r.constant([2.0, 8.0]))?]))?;
/// assert_eq!(y, [[2.0, 8.0], [4.0, 8.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not broadcast.
#[track_caller]
pub fn maximum<'g>(a: Tensor<'g>, b: Tensor<'g>) -> Result<Tensor<'g>> {
    a.recorder().apply_one(Maximum, &[a, b])
}

impl Op for Maximum {
    const NAME: &'static str = "maximum";
    const INPUTS: &'static [&'static str] = &["a", "b"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [a, b] = expect_reals(Self::NAME, inputs)?;
        let shape = a.broadcast(&b).map_err(|e| e.within(Self::NAME))?;
        Ok(vec![Spec::real(shape)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None, None]);
        };
        let (a, b) = (call.inputs[0], call.inputs[1]);
        let a_grad = unbroadcast(super::maximum_grad(a, b, grad)?, a.shape())?;
        let b_grad = unbroadcast(super::maximum_grad(b, a, grad)?, b.shape())?;
        Ok(vec![Some(a_grad), Some(b_grad)])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_binary(inputs, outputs, range, |a, b| match a.partial_cmp(&b) {
            Some(Ordering::Less) => b,
            Some(_) => a,
            None => a + b,
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_binary(
            &SHADER,
            inputs,
            &self.outputs(inputs)?[0],
        )])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(
            outputs.iter().map(|y| y.shape.elements()).sum(),
            inputs,
            &outputs,
        )
    }

    fn cases() -> Vec<Case<Self>> {
        let pairs: [(&str, Shape, Shape); 12] = [
            ("same shape", [2, 3, 5].into(), [2, 3, 5].into()),
            ("scalar", [7].into(), Shape::SCALAR),
            ("of a scalar", Shape::SCALAR, [257].into()),
            ("two scalars", Shape::SCALAR, Shape::SCALAR),
            ("a per-channel limit", [2, 3, 4, 5].into(), [3, 1, 1].into()),
            ("both repeat", [4, 1, 3].into(), [5, 1].into()),
            ("nothing", [0, 3].into(), [3].into()),
            (
                "six axes",
                [2, 1, 2, 1, 3, 1].into(),
                [2, 1, 2, 1, 2].into(),
            ),
            ("one less than a workgroup", [255].into(), [255].into()),
            ("one more than a workgroup", [257].into(), [1].into()),
            ("a prime number", [1009].into(), [1009].into()),
            ("rows of a matrix", [67, 129].into(), [129].into()),
        ];
        let case = |(i, (about, a, b)): (usize, (&'static str, Shape, Shape))| {
            let seed = 2 * i as u64;
            Case::new(about, Self, vec![normal(a, seed), normal(b, seed + 1)])
        };
        let mut cases: Vec<_> = pairs.into_iter().enumerate().map(case).collect();
        cases.extend([
            Case::new(
                "far apart",
                Self,
                vec![uniform([67], -1e38, 1e38, 30), normal([67], 31)],
            ),
            Case::new(
                "infinite",
                Self,
                vec![
                    array([2].into(), vec![f32::INFINITY, f32::NEG_INFINITY]),
                    array([2].into(), vec![1.0f32, 2.0]),
                ],
            ),
        ]);
        cases
    }
}
