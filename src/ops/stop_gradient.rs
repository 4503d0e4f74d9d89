//! A value that counts as constant when gradients are taken.
//!
//! **Definition.** y = x.
//!
//! **Shape.** That of x.
//!
//! **Gradient.** None: nothing flows back to x. (The derivative of the definition would be 1.)
//!
//! **Numerics.** Exact: y is x's memory.
//!
//! **Cost.** None.
//!
//! **Reference.** `torch.Tensor.detach`.

use super::support::{indices, normal, shapes};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Call, Case, Cost, Launch, Limits, Op, Slice, SliceMut, Tensor, View, ViewMut,
    expect_inputs,
};
use crate::real::Real;
use std::ops::Range;

/// x, held constant, see the room's documentation.
#[derive(Clone, Debug)]
pub struct StopGradient;

/// x, real or index, through which no gradient flows.
///
/// ```
/// # use axenic::{autodiff, eval, ops};
/// let [slope] = eval(|r| {
///     let x = r.constant(3.0);
///     let y = ops::mul(x, ops::stop_gradient(x)?)?;
///     Ok([autodiff::gradients(y, &[x])?[0]])
/// })?;
/// assert_eq!(slope, 3.0.into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// None in practice; recording is fallible by convention.
#[track_caller]
pub fn stop_gradient<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(StopGradient, &[x])
}

impl Op for StopGradient {
    const NAME: &'static str = "stop_gradient";
    const INPUTS: &'static [&'static str] = &["x"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_inputs(Self::NAME, inputs)?;
        Ok(vec![x])
    }

    fn constant_inputs(&self) -> &'static [usize] {
        &[0]
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        match (inputs[0].slice, &mut outputs[0].slice) {
            (Slice::Real(x), SliceMut::Real(y)) => y.copy_from_slice(&x[range]),
            (Slice::Index(x), SliceMut::Index(y)) => y.copy_from_slice(&x[range]),
            _ => unreachable!("the element type stays"),
        }
    }

    fn alias_of_input(&self) -> Option<usize> {
        Some(0)
    }

    fn launches(&self, _inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(Vec::new())
    }

    fn cost(&self, _inputs: &[Spec]) -> Cost {
        Cost::default()
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |(about, shape)| Case::new(about, Self, vec![normal(shape, 1)]);
        let mut cases: Vec<_> = shapes::elements().map(case).collect();
        cases.push(Case::new("indices", Self, vec![indices([2, 3], 9, 6)]));
        cases
    }
}
