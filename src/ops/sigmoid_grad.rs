//! The gradient of the logistic function.
//!
//! **Definition.** x_grad = output_grad · y · (1 − y); y is the logistic function's output.
//!
//! **Shape.** y and output_grad have the same shape, and so has the result.
//!
//! **Gradient.** With respect to output_grad the same operation again; with respect to y, output_grad · (1 − 2y).
//!
//! **Numerics.** Three roundings. Where y has been rounded to 1 the gradient is 0.
//!
//! **Cost.** Three operations an element; bound by memory.
//!
//! **Reference.** `torch.ops.aten.sigmoid_backward`.

use super::support::{eval_binary, expect_same, launch_elementwise, normal, shapes, uniform};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "sigmoid_grad",
    text: include_str!("../../shaders/sigmoid_grad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The gradient of [`Sigmoid`](super::Sigmoid), see the room's documentation.
#[derive(Clone, Debug)]
pub struct SigmoidGrad;

/// `output_grad` · y · (1 − y).
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| Ok([ops::sigmoid_grad(r.constant([0.5, 1.0]), r.constant([8.0, 8.0]))?]))?;
/// assert_eq!(x_grad, [2.0, 0.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ.
#[track_caller]
pub fn sigmoid_grad<'g>(y: Tensor<'g>, output_grad: Tensor<'g>) -> Result<Tensor<'g>> {
    y.recorder().apply_one(SigmoidGrad, &[y, output_grad])
}

impl Op for SigmoidGrad {
    const NAME: &'static str = "sigmoid_grad";
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
        let one = super::fill(y.recorder(), Shape::SCALAR, 1.0)?;
        let slope = super::sub(one, super::add(y, y)?)?;
        let y_grad = super::mul(super::mul(grad, output_grad)?, slope)?;
        Ok(vec![Some(y_grad), Some(sigmoid_grad(y, grad)?)])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_binary(inputs, outputs, range, |y, grad| grad * (y * (R::ONE - y)));
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 2, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(3 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, shape: Shape, low, high| {
            Case::new(
                about,
                Self,
                vec![uniform(shape, low, high, 1), normal(shape, 2)],
            )
        };
        let mut cases: Vec<_> = shapes::elements()
            .map(|(about, shape)| case(about, shape, 0.0, 1.0))
            .collect();
        cases.extend([
            case("near one", [31].into(), 0.999, 1.0),
            case("near zero", [31].into(), 0.0, 1e-6),
        ]);
        cases
    }
}
