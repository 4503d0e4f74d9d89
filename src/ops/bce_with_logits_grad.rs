//! The gradient of the binary cross-entropy of yes-or-no targets under the logistic function of logits, for each
//! element.
//!
//! **Definition.** logits_grad = output_grad · ((1 − t) · σ(x) − pos_weight · t · σ(−x)), with logits x, targets t in
//! [0, 1] and σ(x) = 1 / (1 + e⁻ˣ).
//!
//! **Shape.** logits, target and output_grad have the same shape, and so has the result; pos_weight [K] with K the
//! length of the last axis, or one number for all.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** σ(x) and σ(−x) are 1 and e over 1 + e with e = e^−|x|, in the order that the sign of x says: no
//! exponential overflows, nothing is subtracted from one.
//!
//! **Cost.** One exponential and one logarithm an element, counted as 14 operations in all; bound by memory.
//!
//! **Reference.** `torch.nn.functional.binary_cross_entropy_with_logits(…, pos_weight=pos_weight, reduction="none")`.

use super::support::{
    Logistic, expect_same, expect_weights, labels, launch_elementwise, logits_and_targets, normal,
    uniform, weights_of,
};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut, expect_reals,
    library,
};
use crate::real::Real;

use std::ops::Range;

static SHADER: Shader = Shader {
    name: "bce_with_logits_grad",
    text: include_str!("../../shaders/bce_with_logits_grad.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::LOG_ONE_PLUS,
        library::LOGISTIC,
    ],
};

/// The gradient of [`BceWithLogits`](super::BceWithLogits), see the room's documentation.
#[derive(Clone, Debug)]
pub struct BceWithLogitsGrad;

/// The gradient of the logits for [`bce_with_logits`](super::bce_with_logits).
///
/// ```
/// # use axenic::{eval, ops};
/// let [grad] = eval(|r| {
///     let (logits, target) = (r.constant([[0.0, 1000.0]]), r.constant([[1.0, 0.0]]));
///     Ok([ops::bce_with_logits_grad(logits, target, r.constant(2.0), r.constant([[1.0, 3.0]]))?])
/// })?;
/// assert_eq!(grad, [[-1.0, 3.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, or pos_weight is neither one number nor one for each place of the last axis.
#[track_caller]
pub fn bce_with_logits_grad<'g>(
    logits: Tensor<'g>,
    target: Tensor<'g>,
    pos_weight: Tensor<'g>,
    output_grad: Tensor<'g>,
) -> Result<Tensor<'g>> {
    logits.recorder().apply_one(
        BceWithLogitsGrad,
        &[logits, target, pos_weight, output_grad],
    )
}

impl Op for BceWithLogitsGrad {
    const NAME: &'static str = "bce_with_logits_grad";
    const INPUTS: &'static [&'static str] = &["logits", "target", "pos_weight", "output_grad"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [logits, target, pos_weight, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [logits, target], ["logits", "target"])?;
        expect_same(Self::NAME, [logits, output_grad], ["logits", "output_grad"])?;
        expect_weights(Self::NAME, logits, pos_weight)?;
        Ok(vec![Spec::real(logits)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("bce_with_logits_grad: no second derivative"))
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let [logits, target, pos_weight] = [0, 1, 2].map(|i| inputs[i].real());
        for (result, i) in outputs[0].real().iter_mut().zip(range) {
            let own = Logistic::new(logits[i]);
            let weight = pos_weight[i % pos_weight.len()];
            *result = inputs[3].real()[i]
                * ((R::ONE - target[i]) * own.yes - weight * target[i] * own.no);
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let launch = launch_elementwise(&SHADER, 4, &inputs[0]);
        Ok(vec![launch.word(inputs[2].shape.elements())])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(14 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |((about, logits, target), seed): ((&'static str, Array, Array), u64)| {
            let shape = logits.shape();
            let weights = uniform(weights_of(shape), 0.3, 3.0, seed);
            Case::new(
                about,
                Self,
                vec![logits, target, weights, normal(shape, seed)],
            )
        };
        let mut cases: Vec<_> = logits_and_targets()
            .into_iter()
            .zip(100..)
            .map(case)
            .collect();
        let inputs = vec![
            normal([7, 5], 1),
            labels([7, 5], 2),
            uniform([], 2.0, 3.0, 3),
            normal([7, 5], 4),
        ];
        cases.push(Case::new("one weight", Self, inputs));
        cases
    }
}
