//! The gradient of the sigmoid linear unit.
//!
//! **Definition.** x_grad = output_grad · σ(x) · (1 + x · σ(−x)), σ(x) = 1 / (1 + e⁻ˣ).
//!
//! **Shape.** x and output_grad have the same shape, and so has the result.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** With e = exp(−|x|), which never overflows, σ(x) and σ(−x) are 1 and e over 1 + e, in the order that
//! the sign of x says: no subtraction from one. Near its root at −1.2785 the sum cancels, as the function itself does.
//!
//! **Cost.** One exponential an element, counted as nine operations in all; bound by memory.
//!
//! **Reference.** `torch.ops.aten.silu_backward`.

use super::support::{
    binary_cpu, elementwise_shapes, eval_binary, exp_of_negative, expect_same, launch_elementwise,
    normal, uniform,
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
    name: "silu_grad",
    text: include_str!("../../shaders/silu_grad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The gradient of [`Silu`](super::Silu), see the room's documentation.
#[derive(Clone, Debug)]
pub struct SiluGrad;

/// The gradient of x for [`silu`](super::silu).
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| Ok([ops::silu_grad(r.constant([0.0, 1000.0]), r.constant([4.0, 4.0]))?]))?;
/// assert_eq!(x_grad, [2.0, 4.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ.
#[track_caller]
pub fn silu_grad<'g>(x: Tensor<'g>, output_grad: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(SiluGrad, &[x, output_grad])
}

impl Op for SiluGrad {
    const NAME: &'static str = "silu_grad";
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
        Err(Error::shape("silu_grad: no second derivative"))
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_binary(inputs, outputs, range, |x, grad| {
            let e = (-x.abs()).exp();
            let (own, other) = if x < R::ZERO {
                (e, R::ONE)
            } else {
                (R::ONE, e)
            };
            let sum = R::ONE + e;
            grad * ((own / sum) * (R::ONE + x * (other / sum)))
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
                let e = exp_of_negative(-x.abs());
                let (own, other) = if x < 0.0 { (e, 1.0) } else { (1.0, e) };
                let sum = 1.0 + e;
                grad * ((own / sum) * (1.0 + x * (other / sum)))
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 2, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(9 * inputs[0].shape.elements(), inputs, &inputs[..1])
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
                "far from zero",
                Self,
                vec![uniform([301], -100.0, 100.0, 10), normal([301], 200)],
            ),
            Case::new(
                "near zero",
                Self,
                vec![uniform([31], -1e-6, 1e-6, 11), normal([31], 201)],
            ),
            Case::new(
                "near its root",
                Self,
                vec![uniform([31], -1.28, -1.27, 12), normal([31], 202)],
            ),
            Case::new(
                "very far from zero",
                Self,
                vec![uniform([17], -1e6, 1e6, 13), normal([17], 203)],
            ),
        ]);
        cases
    }
}
