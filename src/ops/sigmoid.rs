//! The logistic function.
//!
//! **Definition.** y = 1 / (1 + e⁻ˣ).
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y · y · (1 − y) (see `sigmoid_grad`).
//!
//! **Numerics.** With e = exp(−|x|), which never overflows, y = 1 / (1 + e) for x ≥ 0 and e / (1 + e) for x < 0: a small y
//! keeps its relative accuracy.
//!
//! **Cost.** One exponential an element, counted as four operations in all; bound by memory.
//!
//! **Reference.** `torch.sigmoid`.

use super::support::{eval_unary, exp_of_negative, launch_elementwise, normal, shapes, uniform};
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
    name: "sigmoid",
    text: include_str!("../../shaders/sigmoid.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// 1 / (1 + e⁻ˣ), see the room's documentation.
#[derive(Clone, Debug)]
pub struct Sigmoid;

/// The logistic function, which takes all numbers into (0, 1).
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::sigmoid(r.constant([0.0, 1000.0, -1000.0]))?]))?;
/// assert_eq!(y, [0.5, 1.0, 0.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds indices.
#[track_caller]
pub fn sigmoid<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Sigmoid, &[x])
}

impl Op for Sigmoid {
    const NAME: &'static str = "sigmoid";
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
            .map(|grad| super::sigmoid_grad(call.outputs[0], grad))
            .transpose()?;
        Ok(vec![grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_unary(inputs, outputs, range, |x| {
            let e = (-x.abs()).exp();
            let numerator = if x < R::ZERO { e } else { R::ONE };
            numerator / (R::ONE + e)
        });
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        const CHUNK: usize = 8192;
        let x = inputs[0].real();
        workers.each_chunk(
            outputs[0].real(),
            CHUNK,
            #[inline(always)]
            |i, y| {
                y.iter_mut().zip(&x[i * CHUNK..]).for_each(|(y, &x)| {
                    let e = exp_of_negative(-x.abs());
                    let numerator = if x < 0.0 { e } else { 1.0 };
                    *y = numerator / (1.0 + e);
                });
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 1, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(4 * inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |(about, shape)| Case::new(about, Self, vec![normal(shape, 1)]);
        let mut cases: Vec<_> = shapes::elements().map(case).collect();
        let within = |about, limit: f64, seed| {
            Case::new(about, Self, vec![uniform([301], -limit, limit, seed)])
        };
        cases.extend([
            within("far from zero", 100.0, 5),
            within("very far from zero", 1e6, 6),
            within("near zero", 1e-5, 7),
        ]);
        cases
    }
}
