//! The gradient of the hyperbolic tangent.
//!
//! **Definition.** x_grad = output_grad · (1 − y²); y is the hyperbolic tangent's output.
//!
//! **Shape.** y and output_grad have the same shape, and so has the result.
//!
//! **Gradient.** With respect to output_grad the same operation again; with respect to y, −2y · output_grad.
//!
//! **Numerics.** 1 − y² as (1 − y) · (1 + y), whose first factor is exact for y ≥ ½ (the second for y ≤ −½): the tails
//! keep what digits y has. Where y has been rounded to ±1 the gradient is 0.
//!
//! **Cost.** Four operations an element; bound by memory.
//!
//! **Reference.** `torch.ops.aten.tanh_backward`.

use super::support::{
    elementwise_shapes, eval_binary, expect_same, launch_elementwise, negate, normal, uniform,
};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;

use std::ops::Range;

static SHADER: Shader = Shader {
    name: "tanh_grad",
    text: include_str!("../../shaders/tanh_grad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The gradient of [`Tanh`](super::Tanh), see the room's documentation.
#[derive(Clone, Debug)]
pub struct TanhGrad;

/// `output_grad` · (1 − y²).
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| Ok([ops::tanh_grad(r.constant([0.5, 1.0]), r.constant([4.0, 4.0]))?]))?;
/// assert_eq!(x_grad, [3.0, 0.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ.
#[track_caller]
pub fn tanh_grad<'g>(y: Tensor<'g>, output_grad: Tensor<'g>) -> Result<Tensor<'g>> {
    y.recorder().apply_one(TanhGrad, &[y, output_grad])
}

impl Op for TanhGrad {
    const NAME: &'static str = "tanh_grad";
    const INPUTS: &'static [&'static str] = &["y", "output_grad"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [y, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [y, output_grad], ["y", "output_grad"])?;
        Ok(vec![Spec::real(y)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None, None]);
        };
        let (y, output_grad) = (call.inputs[0], call.inputs[1]);
        let slope = negate(super::add(y, y)?)?;
        let y_grad = super::mul(super::mul(grad, output_grad)?, slope)?;
        Ok(vec![Some(y_grad), Some(tanh_grad(y, grad)?)])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_binary(inputs, outputs, range, |y, grad| {
            grad * ((R::ONE - y) * (R::ONE + y))
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 2, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(4 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes = elementwise_shapes().into_iter().enumerate();
        let mut cases: Vec<_> = shapes
            .map(|(i, (about, shape))| {
                Case::new(
                    about,
                    Self,
                    vec![
                        uniform(shape, -1.0, 1.0, i as u64),
                        normal(shape, i as u64 + 100),
                    ],
                )
            })
            .collect();
        cases.extend([
            Case::new(
                "near one",
                Self,
                vec![uniform([31], 0.999, 1.0, 10), normal([31], 200)],
            ),
            Case::new(
                "near minus one",
                Self,
                vec![uniform([31], -1.0, -0.999, 11), normal([31], 201)],
            ),
            Case::new(
                "near zero",
                Self,
                vec![uniform([31], -1e-6, 1e-6, 12), normal([31], 202)],
            ),
        ]);
        cases
    }
}
