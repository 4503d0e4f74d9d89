//! The sigmoid linear unit, also called swish.
//!
//! **Definition.** y = x / (1 + e⁻ˣ).
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y · σ(x) · (1 + x · σ(−x)) with σ the logistic function (see `silu_grad`).
//!
//! **Numerics.** The logistic function as in `sigmoid`: with e = exp(−|x|), which never overflows, its numerator is 1
//! for x ≥ 0 and e for x < 0, so that the tail of negative numbers keeps its relative accuracy.
//!
//! **Cost.** One exponential an element, counted as five operations in all; bound by memory.
//!
//! **Reference.** `torch.nn.functional.silu`.

use super::support::{
    elementwise_shapes, eval_unary, exp_of_negative, launch_elementwise, normal, unary_cpu, uniform,
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
    name: "silu",
    text: include_str!("../../shaders/silu.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The sigmoid linear unit, also called swish. See the room's documentation.
#[derive(Clone, Debug)]
pub struct Silu;

/// x · σ(x), with σ the logistic function.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::silu(r.constant([0.0, 1000.0, -1000.0]))?]))?;
/// assert_eq!(y, [0.0, 1000.0, 0.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds indices.
#[track_caller]
pub fn silu<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Silu, &[x])
}

impl Op for Silu {
    const NAME: &'static str = "silu";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS;

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
            .map(|grad| super::silu_grad(call.inputs[0], grad))
            .transpose()?;
        Ok(vec![grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_unary(inputs, outputs, range, |x| {
            let e = (-x.abs()).exp();
            let numerator = if x < R::ZERO { e } else { R::ONE };
            x * (numerator / (R::ONE + e))
        });
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        unary_cpu(
            inputs,
            outputs,
            workers,
            #[inline(always)]
            |x| {
                let e = exp_of_negative(-x.abs());
                let numerator = if x < 0.0 { e } else { 1.0 };
                x * (numerator / (1.0 + e))
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 1, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(5 * inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes = elementwise_shapes().into_iter().enumerate();
        let mut cases: Vec<_> = shapes
            .map(|(i, (about, shape))| Case::new(about, Self, vec![normal(shape, i as u64)]))
            .collect();
        cases.extend([
            Case::new(
                "far from zero",
                Self,
                vec![uniform([301], -100.0, 100.0, 10)],
            ),
            Case::new(
                "very far from zero",
                Self,
                vec![uniform([17], -1e6, 1e6, 11)],
            ),
            Case::new("near zero", Self, vec![uniform([67], -1e-5, 1e-5, 12)]),
            Case::new(
                "near its minimum",
                Self,
                vec![uniform([67], -1.28, -1.27, 13)],
            ),
        ]);
        cases
    }
}
