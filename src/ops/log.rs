//! The natural logarithm.
//!
//! **Definition.** y = ln x.
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y / x.
//!
//! **Numerics.** WGSL promises its `log` an absolute error only for x in [½, 2]; there ln(1 + (x − 1)) is taken, whose
//! argument is exact: 8 units in the last place on a device, 4 on the host. 0 gives −∞ and negative numbers give NaN on
//! the host, anything on a device.
//!
//! **Cost.** One logarithm an element, counted as four operations; bound by memory.
//!
//! **Reference.** `torch.log`.

use super::support::{
    accurate_ln, array, elementwise_shapes, eval_unary, launch_elementwise, unary_cpu, uniform,
    vectorised,
};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut, expect_reals,
    library,
};
use crate::real::Real;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "log",
    text: include_str!("../../shaders/log.wgsl"),
    uses: &[library::STORE, library::INDEX, library::LOG_ONE_PLUS],
};

/// The natural logarithm. See the room's documentation.
#[derive(Clone, Debug)]
pub struct Log;

/// The natural logarithm.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::log(r.constant([1.0, 2.0]))?]))?;
/// assert_eq!(y, [0.0, std::f64::consts::LN_2].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds indices.
#[track_caller]
pub fn log<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Log, &[x])
}

impl Op for Log {
    const NAME: &'static str = "log";
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
        let grad = output_grads[0]
            .map(|grad| super::div(grad, call.inputs[0]))
            .transpose()?;
        Ok(vec![grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        eval_unary(inputs, outputs, range, accurate_ln);
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        unary_cpu(inputs, outputs, workers, vectorised::log);
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(vec![launch_elementwise(&SHADER, 1, &inputs[0])])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(4 * inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes = elementwise_shapes().into_iter().enumerate();
        let mut cases: Vec<_> = shapes
            .map(|(i, (about, shape))| {
                Case::new(about, Self, vec![uniform(shape, 0.05, 4.0, i as u64)])
            })
            .collect();
        cases.extend([
            Case::new("near one", Self, vec![uniform([257], 0.999, 1.001, 10)]),
            Case::new(
                "where the formulas meet",
                Self,
                vec![uniform([67], 1.99, 2.01, 11)],
            ),
            Case::new(
                "where they meet below one",
                Self,
                vec![uniform([67], 0.49, 0.51, 12)],
            ),
            Case::new("small", Self, vec![uniform([31], 1e-37, 1e-30, 13)]).without_differences(),
            Case::new("large", Self, vec![uniform([31], 1e30, 3e38, 14)]),
            Case::new(
                "exactly one",
                Self,
                vec![array([3].into(), vec![1.0f32; 3])],
            ),
        ]);
        cases
    }
}
