//! The hyperbolic tangent.
//!
//! **Definition.** y = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ).
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y · (1 − y²) (see `tanh_grad`).
//!
//! **Numerics.** With m = e²ˣ − 1, which has a series for |x| ≤ ¼, y = m / (2 + m); elsewhere ±(1 − e) / (1 + e) with e
//! = exp(−2|x|), which never overflows. Small x keep their relative accuracy, which WGSL does not promise for its
//! `tanh`.
//!
//! **Cost.** One exponential an element, counted as eight operations in all; bound by memory.
//!
//! **Reference.** `torch.tanh`.

use super::support::{
    elementwise_shapes, eval_unary, exp_of_negative, exp_remainder, launch_elementwise, normal,
    unary_cpu, uniform, vectorised,
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
    name: "tanh",
    text: include_str!("../../shaders/tanh.wgsl"),
    uses: &[library::STORE, library::INDEX, library::EXP_REMAINDER],
};

/// The hyperbolic tangent. See the room's documentation.
#[derive(Clone, Debug)]
pub struct Tanh;

/// The hyperbolic tangent, which takes all numbers into (−1, 1).
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::tanh(r.constant([0.0, 1000.0, -1000.0]))?]))?;
/// assert_eq!(y, [0.0, 1.0, -1.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds indices.
#[track_caller]
pub fn tanh<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Tanh, &[x])
}

impl Op for Tanh {
    const NAME: &'static str = "tanh";
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
            .map(|grad| super::tanh_grad(call.outputs[0], grad))
            .transpose()?;
        Ok(vec![grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_unary(inputs, outputs, range, formula);
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
                let double = x + x;
                let excess = vectorised::exp_minus_one(double);
                let e = exp_of_negative(-double.abs());
                let (near, far) = (excess / (2.0 + excess), ((1.0 - e) / (1.0 + e)).copysign(x));
                if double.abs() <= 0.5 { near } else { far }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 1, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(8 * inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes = elementwise_shapes().into_iter().enumerate();
        let mut cases: Vec<_> = shapes
            .map(|(i, (about, shape))| Case::new(about, Self, vec![normal(shape, i as u64)]))
            .collect();
        cases.extend([
            Case::new("far from zero", Self, vec![uniform([301], -40.0, 40.0, 10)]),
            Case::new(
                "very far from zero",
                Self,
                vec![uniform([17], -1e6, 1e6, 11)],
            ),
            Case::new("near zero", Self, vec![uniform([67], -1e-5, 1e-5, 12)]),
            Case::new(
                "where the formulas meet",
                Self,
                vec![uniform([67], 0.24, 0.26, 13)],
            ),
            Case::new(
                "where they meet below zero",
                Self,
                vec![uniform([67], -0.26, -0.24, 14)],
            ),
        ]);
        cases
    }
}

/// Written for e^2x − 1 where |2x| ≤ ½, else for e^−|2x|.
fn formula<R: Real>(x: R) -> R {
    let double = x + x;
    if double.abs() <= R::constant(0.5) {
        let excess = double + exp_remainder(double);
        return excess / (R::constant(2.0) + excess);
    }
    let e = (-double.abs()).exp();
    let y = (R::ONE - e) / (R::ONE + e);
    if x < R::ZERO { -y } else { y }
}
