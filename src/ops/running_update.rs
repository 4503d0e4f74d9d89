//! A running statistic's step towards the batch's.
//!
//! **Definition.** y = (1 − momentum) · running + momentum · factor · batch. The factor n / (n − 1) turns the biased
//! variance of n elements into the unbiased one.
//!
//! **Shape.** running and batch have the same shape, and so has the result.
//!
//! **Gradient.** None: running statistics are state.
//!
//! **Numerics.** Three roundings; both factors are rounded to f32 once.
//!
//! **Cost.** Three operations an element; bound by memory.
//!
//! **Reference.** `torch.nn.BatchNorm2d`'s `momentum`.

use super::support::{WORKGROUP, expect_same, normal, shapes};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "running_update",
    text: include_str!("../../shaders/running_update.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// A step of a running statistic, see the room's documentation.
#[derive(Clone, Debug)]
pub struct RunningUpdate {
    /// The share of the batch.
    pub momentum: f64,
    /// What the batch's statistic is multiplied by first.
    pub factor: f64,
}

/// (1 − momentum) · running + momentum · factor · batch.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::running_update(r.constant([1.0]), r.constant([3.0]), 0.25, 2.0)?]))?;
/// assert_eq!(y, [2.25].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ.
#[track_caller]
pub fn running_update<'g>(
    running: Tensor<'g>,
    batch: Tensor<'g>,
    momentum: f64,
    factor: f64,
) -> Result<Tensor<'g>> {
    let op = RunningUpdate { momentum, factor };
    running.recorder().apply_one(op, &[running, batch])
}

impl RunningUpdate {
    /// What the running and the batch's statistic are multiplied by.
    fn shares(&self) -> [f64; 2] {
        [1.0 - self.momentum, self.momentum * self.factor]
    }
}

impl Op for RunningUpdate {
    const NAME: &'static str = "running_update";
    const INPUTS: &'static [&'static str] = &["running", "batch"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("momentum", self.momentum)
            .with("factor", self.factor)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            momentum: attributes.float("momentum", 0.1)?,
            factor: attributes.float("factor", 1.0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [running, batch] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [running, batch], ["running", "batch"])?;
        Ok(vec![Spec::real(running)])
    }

    fn constant_inputs(&self) -> &'static [usize] {
        &[0, 1]
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None, None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let [kept, taken] = self.shares().map(R::constant);
        let pairs = inputs[0].real()[range.clone()]
            .iter()
            .zip(&inputs[1].real()[range]);
        for (y, (&running, &batch)) in outputs[0].real().iter_mut().zip(pairs) {
            *y = kept * running + taken * batch;
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let n = inputs[0].shape.elements();
        let [kept, taken] = self.shares();
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings).word(n);
        Ok(vec![launch.float(kept).float(taken).elements(n, WORKGROUP)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(3 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, [momentum, factor]: [f64; 2], shape: Shape| {
            let inputs = vec![normal(shape, 1), normal(shape, 2)];
            Case::new(about, Self { momentum, factor }, inputs)
        };
        let mut cases: Vec<_> = shapes::elements()
            .map(|(about, shape)| of(about, [0.3, 1.5], shape))
            .collect();
        cases.extend([
            of("a mean", [0.1, 1.0], [64].into()),
            of("a variance", [0.1, 105.0 / 104.0], [64].into()),
            of("nothing taken", [0.0, 1.0], [5].into()),
            of("all taken", [1.0, 1.0], [5].into()),
        ]);
        cases
    }
}
