//! The exponential function.
//!
//! **Definition.** y = eˣ.
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y · y.
//!
//! **Numerics.** 3 + 2·|x| units in the last place on a device, 2 on the host. Above 88.7 the result is infinite; below
//! −87.3 a device may give 0 for what is smaller than the normal numbers.
//!
//! **Cost.** One exponential an element, counted as two operations; bound by memory.
//!
//! **Reference.** `torch.exp`.

use super::support::{
    elementwise_shapes, eval_unary, launch_elementwise, unary_cpu, uniform, vectorised,
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
    name: "exp",
    text: include_str!("../../shaders/exp.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The exponential function. See the room's documentation.
#[derive(Clone, Debug)]
pub struct Exp;

/// eˣ.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::exp(r.constant([0.0, 1.0]))?]))?;
/// assert_eq!(y, [1.0, std::f64::consts::E].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds indices.
#[track_caller]
pub fn exp<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Exp, &[x])
}

impl Op for Exp {
    const NAME: &'static str = "exp";
    const INPUTS: &'static [&'static str] = &["x"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let grad = output_grads[0]
            .map(|grad| super::mul(grad, call.outputs[0]))
            .transpose()?;
        Ok(vec![grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_unary(inputs, outputs, range, R::exp);
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        unary_cpu(inputs, outputs, workers, vectorised::exp);
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 1, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(2 * inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes = elementwise_shapes().into_iter().enumerate();
        let mut cases: Vec<_> = shapes
            .map(|(i, (about, shape))| {
                Case::new(about, Self, vec![uniform(shape, -3.0, 3.0, i as u64)])
            })
            .collect();
        cases.extend([
            Case::new("far from zero", Self, vec![uniform([301], -87.0, 88.0, 10)]),
            Case::new(
                "results below the normal numbers",
                Self,
                vec![uniform([31], -110.0, -86.0, 11)],
            ),
            Case::new("near zero", Self, vec![uniform([31], -1e-5, 1e-5, 12)]),
            Case::new("far below", Self, vec![uniform([17], -1e6, -1e3, 13)]),
        ]);
        cases
    }
}
