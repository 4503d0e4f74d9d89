//! The gradient of the Gaussian error linear unit.
//!
//! **Definition.** x_grad = output_grad · (Φ(x) + x · φ(x)), Φ being the standard normal distribution function and φ(x)
//! = exp(−x²/2) / √(2π) its density.
//!
//! **Shape.** x and output_grad have the same shape, and so has the result.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** Φ as in `gelu`, φ with its relative accuracy in the tails; the sum cancels near its root at −0.7518
//! only, as the function itself does.
//!
//! **Cost.** One exponential and two polynomials an element, counted as fifty operations.
//!
//! **Reference.** `torch.ops.aten.gelu_backward(…, approximate="none")`.

use super::support::{
    binary_cpu, elementwise_shapes, eval_binary, expect_same, launch_elementwise, normal, uniform,
    vectorised,
};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "gelu_grad",
    text: include_str!("../../shaders/gelu_grad.wgsl"),
    uses: &[library::STORE, library::INDEX, library::NORMAL],
};

/// 1 / √(2π).
const INVERSE_ROOT: f64 = 0.398_942_280_401_432_7;

/// The gradient of [`Gelu`](super::Gelu), see the room's documentation.
#[derive(Clone, Debug)]
pub struct GeluGrad;

/// The gradient of x for [`gelu`](super::gelu).
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| Ok([ops::gelu_grad(r.constant([0.0, 100.0]), r.constant([4.0, 4.0]))?]))?;
/// assert_eq!(x_grad, [2.0, 4.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ.
#[track_caller]
pub fn gelu_grad<'g>(x: Tensor<'g>, output_grad: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(GeluGrad, &[x, output_grad])
}

impl Op for GeluGrad {
    const NAME: &'static str = "gelu_grad";
    const INPUTS: &'static [&'static str] = &["x", "output_grad"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [x, output_grad], ["x", "output_grad"])?;
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("gelu_grad: no second derivative"))
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_binary(inputs, outputs, range, |x, grad| {
            let density = R::constant(INVERSE_ROOT) * x.gauss();
            grad * (x.normal_cdf() + x * density)
        });
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        binary_cpu(
            inputs,
            outputs,
            workers,
            #[inline(always)]
            |x, grad| {
                let density = INVERSE_ROOT as f32 * vectorised::gauss(x);
                grad * (vectorised::normal_cdf(x) + x * density)
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 2, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(50 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes = elementwise_shapes().into_iter().enumerate();
        let mut cases: Vec<_> = shapes
            .map(|(i, (about, shape))| {
                Case::new(
                    about,
                    Self,
                    vec![normal(shape, i as u64), normal(shape, i as u64 + 100)],
                )
            })
            .collect();
        cases.extend([
            Case::new(
                "the lower tail",
                Self,
                vec![uniform([301], -13.2, -3.0, 10), normal([301], 200)],
            ),
            Case::new(
                "the upper tail",
                Self,
                vec![uniform([301], 3.0, 14.0, 11), normal([301], 201)],
            ),
            Case::new(
                "near zero",
                Self,
                vec![uniform([31], -1e-6, 1e-6, 12), normal([31], 202)],
            ),
            Case::new(
                "near its root",
                Self,
                vec![uniform([31], -0.76, -0.74, 13), normal([31], 203)],
            ),
            Case::new(
                "very far from zero",
                Self,
                vec![uniform([17], -1e6, 1e6, 14), normal([17], 204)],
            ),
        ]);
        cases
    }
}
