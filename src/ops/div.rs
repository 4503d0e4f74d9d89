//! The quotient of two values, element by element.
//!
//! **Definition.** y = a / b.
//!
//! **Shape.** a and b broadcast: axes are aligned at the innermost, lengths are equal or 1.
//!
//! **Gradient.** ∂L/∂a = ∂L/∂y / b and ∂L/∂b = −∂L/∂y · y / b, summed over the axes that the operand was repeated along.
//!
//! **Numerics.** One rounding on the host, 2.5 units in the last place on a device. Division by 0 gives ±∞ or NaN on the host
//! and anything on a device.
//!
//! **Cost.** One division an element; bound by memory.
//!
//! **Reference.** `torch.div`.

use super::support::{
    broadcasting_cpu, eval_binary, launch_binary, negate, normal, shapes, unbroadcast, uniform,
};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut, expect_reals,
    library,
};
use crate::real::Real;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "div",
    text: include_str!("../../shaders/div.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// a / b, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Div;

/// The quotient of two values, which broadcast.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::div(r.constant([[1.0], [2.0]]), r.constant([4.0, 8.0]))?]))?;
/// assert_eq!(y, [[0.25, 0.125], [0.5, 0.25]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not broadcast.
#[track_caller]
pub fn div<'g>(a: Tensor<'g>, b: Tensor<'g>) -> Result<Tensor<'g>> {
    a.recorder().apply_one(Div, &[a, b])
}

impl Op for Div {
    const NAME: &'static str = "div";
    const INPUTS: &'static [&'static str] = &["a", "b"];

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
        let (a, b, y) = (call.inputs[0], call.inputs[1], call.outputs[0]);
        let quotient = div(grad, b)?;
        let a_grad = unbroadcast(quotient, a.shape())?;
        let b_grad = negate(unbroadcast(super::mul(quotient, y)?, b.shape())?)?;
        Ok(vec![Some(a_grad), Some(b_grad)])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_binary(inputs, outputs, range, |a, b| a / b);
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        broadcasting_cpu(inputs, outputs, workers, |a, b| a / b);
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
        // Divisors keep away from 0, where central differences fail.
        let case =
            |(about, a, b)| Case::new(about, Self, vec![normal(a, 1), uniform(b, 0.5, 3.0, 2)]);
        let mut cases: Vec<_> = shapes::pairs().map(case).collect();
        let by = |about, low, high| {
            Case::new(
                about,
                Self,
                vec![normal([11], 13), uniform([11], low, high, 14)],
            )
        };
        cases.extend([
            by("negative divisors", -2.0, -1.0),
            by("large divisors", 1e10, 2e10),
        ]);
        cases
    }
}
