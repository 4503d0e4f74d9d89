//! The rectifier.
//!
//! **Definition.** y = max(x, 0).
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y where x > 0, else 0 (see `relu_grad`).
//!
//! **Numerics.** Exact. NaN passes through on the host; a device may turn it into 0.
//!
//! **Cost.** One comparison an element; bound by memory.
//!
//! **Reference.** `torch.nn.functional.relu`.

use super::support::{array, eval_unary, launch_elementwise, normal, shapes, unary_cpu};
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
    name: "relu",
    text: include_str!("../../shaders/relu.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// max(x, 0), see the room's documentation.
#[derive(Clone, Debug)]
pub struct Relu;

/// The positive part.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::relu(r.constant([-1.0, 2.0]))?]))?;
/// assert_eq!(y, [0.0, 2.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds indices.
#[track_caller]
pub fn relu<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Relu, &[x])
}

impl Op for Relu {
    const NAME: &'static str = "relu";
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
        // y > 0 where x > 0: reading y lets x's memory go.
        let grad = output_grads[0]
            .map(|grad| super::relu_grad(call.outputs[0], grad))
            .transpose()?;
        Ok(vec![grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_unary(inputs, outputs, range, |x| {
            if x < R::ZERO { R::ZERO } else { x }
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
            |x| if x < 0.0 { 0.0 } else { x },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 1, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |(about, shape)| Case::new(about, Self, vec![normal(shape, 1)]);
        let mut cases: Vec<_> = shapes::elements().map(case).collect();
        let ends = vec![
            0.0,
            -0.0,
            f32::MIN_POSITIVE,
            -f32::MIN_POSITIVE,
            f32::MAX,
            f32::MIN,
        ];
        cases.push(Case::new("ends", Self, vec![array([6].into(), ends)]).without_differences());
        cases
    }
}
