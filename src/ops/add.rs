//! The sum of two values, element by element.
//!
//! **Definition.** y = a + b.
//!
//! **Shape.** a and b broadcast: axes are aligned at the innermost, lengths are equal or 1.
//!
//! **Gradient.** ∂L/∂a = ∂L/∂y summed over the axes that a was repeated along; b alike.
//!
//! **Numerics.** One rounding.
//!
//! **Cost.** One addition an element; bound by memory.
//!
//! **Reference.** `torch.add`.

use super::support::{broadcasting_cpu, eval_binary, launch_binary, normal, shapes, unbroadcast};
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
    name: "add",
    text: include_str!("../../shaders/add.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// a + b, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Add;

/// The sum of two values, which broadcast.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::add(r.constant([[1.0], [2.0]]), r.constant([10.0, 20.0]))?]))?;
/// assert_eq!(y, [[11.0, 21.0], [12.0, 22.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not broadcast.
#[track_caller]
pub fn add<'g>(a: Tensor<'g>, b: Tensor<'g>) -> Result<Tensor<'g>> {
    a.recorder().apply_one(Add, &[a, b])
}

impl Op for Add {
    const NAME: &'static str = "add";
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
        call.inputs
            .iter()
            .map(|input| unbroadcast(grad, input.shape()).map(Some))
            .collect()
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_binary(inputs, outputs, range, |a, b| a + b);
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        broadcasting_cpu(inputs, outputs, workers, |a, b| a + b);
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
        shapes::pairs()
            .map(|(about, a, b)| Case::new(about, Self, vec![normal(a, 1), normal(b, 2)]))
            .collect()
    }
}
