//! The asymmetric loss of yes-or-no targets: negatives count less the surer they are, and not at all below a
//! probability.
//!
//! **Definition.** loss = t · σ(−x)^γ₊ · (−ln σ(x)) + (1 − t) · p^γ₋ · (−ln(1 − p)) with logits x, targets t in [0, 1],
//! σ(x) = 1 / (1 + e⁻ˣ), p = max(σ(x) − clip, 0), γ₊ = gamma_pos and γ₋ = gamma_neg. Nothing is reduced, as in
//! `cross_entropy`: `mean` gives the mean over elements; the authors' program sums them. For targets between 0 and 1 it
//! is linear in t, as the paper's definition is.
//!
//! **Shape.** logits and target have the same shape, and so has the result.
//!
//! **Gradient.** Of the logits, see `asymmetric_loss_grad`. The target counts as a constant.
//!
//! **Numerics.** Powers are taken as exp(γ ln …), with logarithms that stay finite. For clip = 0, −ln(1 − p) = −ln
//! σ(−x), finite for all x; else 1 − p = σ(−x) + clip ≥ clip, and its logarithm is taken as ln(1 − p) itself where p ≤
//! ½: no `eps` within the logarithms is needed, which the authors' program adds.
//!
//! **Cost.** Two to five exponentials and logarithms an element, counted as 30 operations in all; bound by memory.
//!
//! **Reference.** T. Ridnik et al., "Asymmetric loss for multi-label classification", ICCV 2021.

use super::support::{
    Asymmetric, eval_binary, expect_same, expect_within, labels, launch_elementwise,
    logits_and_targets, uniform,
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
    name: "asymmetric_loss",
    text: include_str!("../../shaders/asymmetric_loss.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::LOG_ONE_PLUS,
        library::LOGISTIC,
    ],
};

/// The asymmetric loss of yes-or-no targets: negatives count less the surer they are, and not at all below a probability. See the room's documentation.
#[derive(Clone, Debug)]
pub struct AsymmetricLoss {
    /// How strongly unlikely positives among the negatives count less, γ₋.
    pub gamma_neg: f64,
    /// How strongly likely positives count less, γ₊.
    pub gamma_pos: f64,
    /// The probability below which negatives do not count.
    pub clip: f64,
}

/// The asymmetric loss of `target` in [0, 1] under σ(`logits`), element by element.
///
/// ```
/// # use axenic::{eval, ops};
/// let [loss] = eval(|r| {
///     let (logits, target) = (r.constant([0.0, -3.0, 1000.0]), r.constant([1.0, 0.0, 0.0]));
///     Ok([ops::asymmetric_loss(logits, target, 4.0, 1.0, 0.05)?])
/// })?;
/// let expected = [0.5 * 2.0f64.ln(), 0.0, -0.95f64.powi(4) * 0.05f64.ln()];
/// assert!(loss.to_f64().iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-14));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, a gamma does not lie between 0 and 100, or `clip` is neither 0 nor between 1e-6 and 0.999.
#[track_caller]
pub fn asymmetric_loss<'g>(
    logits: Tensor<'g>,
    target: Tensor<'g>,
    gamma_neg: f64,
    gamma_pos: f64,
    clip: f64,
) -> Result<Tensor<'g>> {
    logits.recorder().apply_one(
        AsymmetricLoss {
            gamma_neg,
            gamma_pos,
            clip,
        },
        &[logits, target],
    )
}

impl Op for AsymmetricLoss {
    const NAME: &'static str = "asymmetric_loss";
    const INPUTS: &'static [&'static str] = &["logits", "target"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("gamma_neg", self.gamma_neg)
            .with("gamma_pos", self.gamma_pos)
            .with("clip", self.clip)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            gamma_neg: attributes.float("gamma_neg", 4.0)?,
            gamma_pos: attributes.float("gamma_pos", 1.0)?,
            clip: attributes.float("clip", 0.05)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [logits, target] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [logits, target], ["logits", "target"])?;
        expect_within(Self::NAME, "gamma_neg", self.gamma_neg, 0.0..=100.0)?;
        expect_within(Self::NAME, "gamma_pos", self.gamma_pos, 0.0..=100.0)?;
        // Less than the least would vanish beside one in single precision.
        if self.clip != 0.0 {
            expect_within(Self::NAME, "clip, if not 0,", self.clip, 1e-6..=0.999)?;
        }
        Ok(vec![Spec::real(logits)])
    }

    fn constant_inputs(&self) -> &'static [usize] {
        &[1]
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None; 2]);
        };
        let logits_grad = super::asymmetric_loss_grad(
            call.inputs[0],
            call.inputs[1],
            grad,
            self.gamma_neg,
            self.gamma_pos,
            self.clip,
        )?;
        let mut grads = vec![None; 2];
        grads[0] = Some(logits_grad);
        Ok(grads)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let settings = Asymmetric {
            gamma_neg: self.gamma_neg,
            gamma_pos: self.gamma_pos,
            clip: self.clip,
        };
        eval_binary(inputs, outputs, range, |x, target| settings.loss(x, target));
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let launch = launch_elementwise(&SHADER, 2, &inputs[0]);
        Ok(vec![
            launch
                .float(self.gamma_neg)
                .float(self.gamma_pos)
                .float(self.clip),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(30 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, op: Self, logits: Array, target: Array| {
            Case::new(about, op, vec![logits, target])
        };
        let usual = Self {
            gamma_neg: 4.0,
            gamma_pos: 1.0,
            clip: 0.05,
        };
        let mut cases: Vec<_> = logits_and_targets()
            .into_iter()
            .map(|(about, logits, target)| case(about, usual.clone(), logits, target))
            .collect();
        let of = |about, [gamma_neg, gamma_pos, clip]: [f64; 3], radius: f64, seed| {
            let op = Self {
                gamma_neg,
                gamma_pos,
                clip,
            };
            case(
                about,
                op,
                uniform([31, 2], -radius, radius, seed),
                labels([31, 2], seed + 1),
            )
        };
        cases.extend([
            of("no clip", [4.0, 0.0, 0.0], 40.0, 80),
            of("no clip, far from zero", [2.0, 1.0, 0.0], 300.0, 82),
            of("no focus", [0.0, 0.0, 0.2], 9.0, 84),
            of("cross-entropy", [0.0, 0.0, 0.0], 200.0, 86),
            of("a high clip", [1.5, 2.5, 0.6], 9.0, 88),
            of("the least clip", [3.0, 0.5, 1e-6], 40.0, 90),
        ]);
        cases
    }
}
