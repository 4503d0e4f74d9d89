//! The binary cross-entropy of yes-or-no targets under the logistic function of logits, for each element.
//!
//! **Definition.** loss = −pos_weight · t · ln σ(x) − (1 − t) · ln σ(−x), with logits x, targets t in [0, 1] and σ(x) =
//! 1 / (1 + e⁻ˣ). Nothing is reduced, as in `cross_entropy`: `mean` gives the usual loss, `masked_mean` leaves unknown
//! labels out.
//!
//! **Shape.** logits and target have the same shape, and so has the result; pos_weight [K] with K the length of the
//! last axis, or one number for all.
//!
//! **Gradient.** Of the logits, see `bce_with_logits_grad`. The target and pos_weight count as constants.
//!
//! **Numerics.** −ln σ(±x) = ln(1 + e^−|x|), plus |x| where the sign is wrong: no exponential overflows, and both terms
//! are not negative, so that a loss near 0 keeps its relative accuracy.
//!
//! **Cost.** One exponential and one logarithm an element, counted as 12 operations in all; bound by memory.
//!
//! **Reference.** `torch.nn.functional.binary_cross_entropy_with_logits(…, pos_weight=pos_weight, reduction="none")`.

use super::support::{
    Logistic, expect_same, expect_weights, labels, launch_elementwise, logits_and_targets, normal,
    uniform, weights_of,
};
use crate::array::{Array, Spec};
use crate::error::Result;
use crate::graph::{
    Attributes, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut, expect_reals,
    library,
};
use crate::real::Real;

use std::ops::Range;

static SHADER: Shader = Shader {
    name: "bce_with_logits",
    text: include_str!("../../shaders/bce_with_logits.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::LOG_ONE_PLUS,
        library::LOGISTIC,
    ],
};

/// The binary cross-entropy of yes-or-no targets under the logistic function of logits, for each element. See the room's documentation.
#[derive(Clone, Debug)]
pub struct BceWithLogits;

/// The cross-entropy of `target` in [0, 1] under σ(`logits`), element by element; `pos_weight` multiplies what targets of one cost, by
/// class (the last axis).
///
/// ```
/// # use axenic::{eval, ops};
/// let [loss] = eval(|r| {
///     let (logits, target) = (r.constant([[0.0, 1000.0]]), r.constant([[1.0, 0.0]]));
///     Ok([ops::bce_with_logits(logits, target, r.constant([2.0, 2.0]))?])
/// })?;
/// assert_eq!(loss, [[2.0 * 2.0f64.ln(), 1000.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, or pos_weight is neither one number nor one for each place of the last axis.
#[track_caller]
pub fn bce_with_logits<'g>(
    logits: Tensor<'g>,
    target: Tensor<'g>,
    pos_weight: Tensor<'g>,
) -> Result<Tensor<'g>> {
    logits
        .recorder()
        .apply_one(BceWithLogits, &[logits, target, pos_weight])
}

impl Op for BceWithLogits {
    const NAME: &'static str = "bce_with_logits";
    const INPUTS: &'static [&'static str] = &["logits", "target", "pos_weight"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [logits, target, pos_weight] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [logits, target], ["logits", "target"])?;
        expect_weights(Self::NAME, logits, pos_weight)?;
        Ok(vec![Spec::real(logits)])
    }

    fn constant_inputs(&self) -> &'static [usize] {
        &[1, 2]
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None; 3]);
        };
        let logits_grad =
            super::bce_with_logits_grad(call.inputs[0], call.inputs[1], call.inputs[2], grad)?;
        let mut grads = vec![None; 3];
        grads[0] = Some(logits_grad);
        Ok(grads)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let [logits, target, pos_weight] = [0, 1, 2].map(|i| inputs[i].real());
        for (result, i) in outputs[0].real().iter_mut().zip(range) {
            let own = Logistic::new(logits[i]);
            let weight = pos_weight[i % pos_weight.len()];
            *result = weight * target[i] * own.yes_loss + (R::ONE - target[i]) * own.no_loss;
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let launch = launch_elementwise(&SHADER, 3, &inputs[0]);
        Ok(vec![launch.word(inputs[2].shape.elements())])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(12 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |((about, logits, target), seed): ((&'static str, Array, Array), u64)| {
            let shape = logits.shape();
            let weights = uniform(weights_of(shape), 0.3, 3.0, seed);
            Case::new(about, Self, vec![logits, target, weights])
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
        ];
        cases.push(Case::new("one weight", Self, inputs));
        cases
    }
}
