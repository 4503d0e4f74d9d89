//! The gradient of the rectifier.
//!
//! **Definition.** x_grad = output_grad where y > 0, else 0; y is the rectifier's output (or its input: the signs agree).
//!
//! **Shape.** y and output_grad have the same shape, and so has the result.
//!
//! **Gradient.** With respect to output_grad the same operation again; with respect to y nothing, almost everywhere.
//!
//! **Numerics.** Exact.
//!
//! **Cost.** One comparison an element; bound by memory.
//!
//! **Reference.** `torch.ops.aten.threshold_backward` with threshold 0.

use super::support::{array, binary_cpu, launch_elementwise, normal, shapes};
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
    name: "relu_grad",
    text: include_str!("../../shaders/relu_grad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The gradient of [`Relu`](super::Relu), see the room's documentation.
#[derive(Clone, Debug)]
pub struct ReluGrad;

/// `output_grad` where y > 0, else 0.
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| Ok([ops::relu_grad(r.constant([0.0, 2.0]), r.constant([5.0, 5.0]))?]))?;
/// assert_eq!(x_grad, [0.0, 5.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ.
#[track_caller]
pub fn relu_grad<'g>(y: Tensor<'g>, output_grad: Tensor<'g>) -> Result<Tensor<'g>> {
    y.recorder().apply_one(ReluGrad, &[y, output_grad])
}

impl Op for ReluGrad {
    const NAME: &'static str = "relu_grad";
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
        if y != output_grad {
            return Err(Error::shape(format!(
                "relu_grad: y {y} and output_grad {output_grad} differ in shape"
            )));
        }
        Ok(vec![Spec::real(y)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let grad = output_grads[0]
            .map(|grad| relu_grad(call.inputs[0], grad))
            .transpose()?;
        Ok(vec![None, grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (y, output_grad) = (&inputs[0].real()[range.clone()], &inputs[1].real()[range]);
        let x_grad = outputs[0].real().iter_mut();
        x_grad
            .zip(y.iter().zip(output_grad))
            .for_each(|(x_grad, (&y, &grad))| {
                *x_grad = if y > R::ZERO { grad } else { R::ZERO };
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
            |y, grad| if y > 0.0 { grad } else { 0.0 },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 2, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case =
            |(about, shape)| Case::new(about, Self, vec![normal(shape, 1), normal(shape, 2)]);
        let mut cases: Vec<_> = shapes::elements().map(case).collect();
        let ends = vec![
            0.0,
            -0.0,
            f32::MIN_POSITIVE,
            -f32::MIN_POSITIVE,
            f32::MAX,
            f32::MIN,
        ];
        let ends = array([6].into(), ends);
        cases.push(Case::new("ends", Self, vec![ends, normal([6], 3)]).without_differences());
        cases
    }
}
