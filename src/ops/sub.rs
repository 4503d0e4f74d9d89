//! The difference of two values, element by element.
//!
//! **Definition.** y = a − b.
//!
//! **Shape.** a and b broadcast: axes are aligned at the innermost, lengths are equal or 1.
//!
//! **Gradient.** ∂L/∂a = ∂L/∂y and ∂L/∂b = −∂L/∂y, summed over the axes that the operand was repeated along.
//!
//! **Numerics.** One rounding.
//!
//! **Cost.** One subtraction an element; bound by memory.
//!
//! **Reference.** `torch.sub`.

use super::support::{
    broadcasting_cpu, eval_binary, launch_binary, negate, normal, shapes, unbroadcast, uniform,
};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "sub",
    text: include_str!("../../shaders/sub.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// a − b, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Sub;

/// The difference of two values, which broadcast.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::sub(r.constant([[1.0], [2.0]]), r.constant([10.0, 20.0]))?]))?;
/// assert_eq!(y, [[-9.0, -19.0], [-8.0, -18.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not broadcast.
#[track_caller]
pub fn sub<'g>(a: Tensor<'g>, b: Tensor<'g>) -> Result<Tensor<'g>> {
    a.recorder().apply_one(Sub, &[a, b])
}

impl Op for Sub {
    const NAME: &'static str = "sub";
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
        let a_grad = unbroadcast(grad, call.inputs[0].shape())?;
        let b_grad = negate(unbroadcast(grad, call.inputs[1].shape())?)?;
        Ok(vec![Some(a_grad), Some(b_grad)])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_binary(inputs, outputs, range, |a, b| a - b);
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        broadcasting_cpu(inputs, outputs, workers, |a, b| a - b);
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
        let case = |(about, a, b)| Case::new(about, Self, vec![normal(a, 1), normal(b, 2)]);
        let mut cases: Vec<_> = shapes::pairs().map(case).collect();
        let close = |seed| uniform([257], 1.0, 1.001, seed);
        cases.push(Case::new("close values", Self, vec![close(13), close(14)]));
        cases
    }
}
