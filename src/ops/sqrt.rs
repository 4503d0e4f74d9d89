//! The square root.
//!
//! **Definition.** y = √x.
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y / 2y.
//!
//! **Numerics.** One rounding on the host; 4.5 units in the last place on a device. Negative numbers give NaN on the
//! host and anything on a device; so does the gradient at 0, where it is infinite.
//!
//! **Cost.** One root an element; bound by memory.
//!
//! **Reference.** `torch.sqrt`.

use super::support::{array, elementwise_shapes, eval_unary, launch_elementwise, uniform};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut, expect_reals,
    library,
};
use crate::real::Real;

use std::ops::Range;

static SHADER: Shader = Shader {
    name: "sqrt",
    text: include_str!("../../shaders/sqrt.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The square root. See the room's documentation.
#[derive(Clone, Debug)]
pub struct Sqrt;

/// √x.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::sqrt(r.constant([4.0, 2.0]))?]))?;
/// assert_eq!(y, [2.0, std::f64::consts::SQRT_2].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds indices.
#[track_caller]
pub fn sqrt<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Sqrt, &[x])
}

impl Op for Sqrt {
    const NAME: &'static str = "sqrt";
    const INPUTS: &'static [&'static str] = &["x"];

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
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None]);
        };
        let y = call.outputs[0];
        Ok(vec![Some(super::div(grad, super::add(y, y)?)?)])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_unary(inputs, outputs, range, R::sqrt);
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 1, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes = elementwise_shapes().into_iter().enumerate();
        let mut cases: Vec<_> = shapes
            .map(|(i, (about, shape))| {
                Case::new(about, Self, vec![uniform(shape, 0.05, 9.0, i as u64)])
            })
            .collect();
        cases.extend([
            Case::new(
                "squares",
                Self,
                vec![array([4].into(), vec![1.0f32, 4.0, 9.0, 1e10])],
            ),
            Case::new("small", Self, vec![uniform([31], 1e-36, 1e-30, 11)]).without_differences(),
            Case::new("large", Self, vec![uniform([31], 1e30, 3e38, 12)]),
            Case::new("near one", Self, vec![uniform([31], 0.999, 1.001, 13)]),
        ]);
        cases
    }
}
