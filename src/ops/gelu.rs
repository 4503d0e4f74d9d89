//! The Gaussian error linear unit, in its exact form.
//!
//! **Definition.** y = x · Φ(x), where Φ(x) = ½ · (1 + erf(x / √2)) is the standard normal distribution function.
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y · (Φ(x) + x · φ(x)) with φ the normal density (see `gelu_grad`).
//!
//! **Numerics.** 1 + erf cancels for negative x: at −10 nothing would be left. So Φ itself is computed, relative to its
//! size in both tails: within 18 units in the last place on a device (`shaders/lib/normal.wgsl`), 6 on the host, near
//! machine precision on the reference, which sums a series and a continued fraction (`src/real/normal.rs`).
//!
//! **Cost.** One exponential and two polynomials an element, counted as forty operations.
//!
//! **Reference.** `torch.nn.functional.gelu(…, approximate="none")`; D. Hendrycks and K. Gimpel, "Gaussian error linear
//! units", 2016.

use super::support::{
    array, elementwise_shapes, eval_unary, launch_elementwise, normal, unary_cpu, uniform,
    vectorised,
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
    name: "gelu",
    text: include_str!("../../shaders/gelu.wgsl"),
    uses: &[library::STORE, library::INDEX, library::NORMAL],
};

/// The Gaussian error linear unit, in its exact form. See the room's documentation.
#[derive(Clone, Debug)]
pub struct Gelu;

/// x · Φ(x), with Φ the standard normal distribution function.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::gelu(r.constant([0.0, 100.0, -10.0]))?]))?;
/// assert_eq!(y.to_f64()[..2], [0.0, 100.0]);
/// assert!((y.to_f64()[2] / -7.619_853_024_160_526e-23 - 1.0).abs() < 1e-14);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds indices.
#[track_caller]
pub fn gelu<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Gelu, &[x])
}

impl Op for Gelu {
    const NAME: &'static str = "gelu";
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
            .map(|grad| super::gelu_grad(call.inputs[0], grad))
            .transpose()?;
        Ok(vec![grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_unary(inputs, outputs, range, |x| x * x.normal_cdf());
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
            |x| x * vectorised::normal_cdf(x),
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 1, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(40 * inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes = elementwise_shapes().into_iter().enumerate();
        let mut cases: Vec<_> = shapes
            .map(|(i, (about, shape))| Case::new(about, Self, vec![normal(shape, i as u64)]))
            .collect();
        cases.extend([
            Case::new(
                "the lower tail",
                Self,
                vec![uniform([301], -13.2, -3.0, 10)],
            ),
            Case::new("the upper tail", Self, vec![uniform([301], 3.0, 14.0, 11)]),
            Case::new(
                "very far from zero",
                Self,
                vec![uniform([17], -1e6, 1e6, 12)],
            ),
            Case::new("near zero", Self, vec![uniform([67], -1e-5, 1e-5, 13)]),
            Case::new("minus ten", Self, vec![array([1].into(), vec![-10.0f32])]),
            Case::new(
                "near its minimum",
                Self,
                vec![uniform([67], -0.76, -0.74, 14)],
            ),
        ]);
        cases
    }
}
