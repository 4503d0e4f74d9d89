//! The gradient of the asymmetric loss of yes-or-no targets: negatives count less the surer they are, and not at all
//! below a probability.
//!
//! **Definition.** logits_grad = output_grad · (t · f₊′ + (1 − t) · f₋′), where f₊′ = −σ(−x)^γ₊ · (γ₊ σ(x) · (−ln
//! σ(x)) + σ(−x)) and f₋′ = p^γ₋ · σ(x) σ(−x) · (γ₋ · (−ln(1 − p)) / p + 1 / (1 − p)), which is zero where p is; p =
//! max(σ(x) − clip, 0). It is the derivative of the whole function, through the focusing factors too; the authors'
//! program takes these as constants by default.
//!
//! **Shape.** logits, target and output_grad have the same shape, and so has the result.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** As `asymmetric_loss`. (−ln(1 − p)) / p tends to 1 where p vanishes. For clip = 0 the factors σ(x) and
//! σ(−x) are divided out on paper: f₋′ = σ(x)^γ₋ · (γ₋ σ(−x) · (−ln σ(−x)) + σ(x)).
//!
//! **Cost.** Two to five exponentials and logarithms an element, counted as 35 operations in all; bound by memory.
//!
//! **Reference.** T. Ridnik et al., "Asymmetric loss for multi-label classification", ICCV 2021.

use super::support::{
    Asymmetric, eval_binary, expect_same, expect_within, labels, launch_elementwise,
    logits_and_targets, normal, uniform,
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
    name: "asymmetric_loss_grad",
    text: include_str!("../../shaders/asymmetric_loss_grad.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::LOG_ONE_PLUS,
        library::LOGISTIC,
    ],
};

/// The gradient of [`AsymmetricLoss`](super::AsymmetricLoss), see the room's documentation.
#[derive(Clone, Debug)]
pub struct AsymmetricLossGrad {
    /// How strongly unlikely positives among the negatives count less, γ₋.
    pub gamma_neg: f64,
    /// How strongly likely positives count less, γ₊.
    pub gamma_pos: f64,
    /// The probability below which negatives do not count.
    pub clip: f64,
}

/// The gradient of the logits for [`asymmetric_loss`](super::asymmetric_loss).
///
/// ```
/// # use axenic::{eval, ops};
/// let [grad] = eval(|r| {
///     let (logits, target, grad) = (r.constant([1000.0, -3.0]), r.constant([0.0; 2]), r.constant([4.0; 2]));
///     Ok([ops::asymmetric_loss_grad(logits, target, grad, 4.0, 1.0, 0.0)?])
/// })?;
/// assert_eq!(grad.to_f64()[0], 4.0);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, a gamma does not lie between 0 and 100, or `clip` is neither 0 nor between 1e-6 and 0.999.
#[track_caller]
pub fn asymmetric_loss_grad<'g>(
    logits: Tensor<'g>,
    target: Tensor<'g>,
    output_grad: Tensor<'g>,
    gamma_neg: f64,
    gamma_pos: f64,
    clip: f64,
) -> Result<Tensor<'g>> {
    logits.recorder().apply_one(
        AsymmetricLossGrad {
            gamma_neg,
            gamma_pos,
            clip,
        },
        &[logits, target, output_grad],
    )
}

impl Op for AsymmetricLossGrad {
    const NAME: &'static str = "asymmetric_loss_grad";
    const INPUTS: &'static [&'static str] = &["logits", "target", "output_grad"];

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
        let [logits, target, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [logits, target], ["logits", "target"])?;
        expect_same(Self::NAME, [logits, output_grad], ["logits", "output_grad"])?;
        expect_within(Self::NAME, "gamma_neg", self.gamma_neg, 0.0..=100.0)?;
        expect_within(Self::NAME, "gamma_pos", self.gamma_pos, 0.0..=100.0)?;
        // Less than the least would vanish beside one in single precision.
        if self.clip != 0.0 {
            expect_within(Self::NAME, "clip, if not 0,", self.clip, 1e-6..=0.999)?;
        }
        Ok(vec![Spec::real(logits)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("asymmetric_loss_grad: no second derivative"))
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let settings = Asymmetric {
            gamma_neg: self.gamma_neg,
            gamma_pos: self.gamma_pos,
            clip: self.clip,
        };
        let output_grad = &inputs[2].real()[range.clone()];
        eval_binary(&inputs[..2], outputs, range, |x, target| {
            settings.slope(x, target)
        });
        let slopes = outputs[0].real().iter_mut();
        slopes
            .zip(output_grad)
            .for_each(|(slope, &grad)| *slope = grad * *slope);
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let launch = launch_elementwise(&SHADER, 3, &inputs[0]);
        Ok(vec![
            launch
                .float(self.gamma_neg)
                .float(self.gamma_pos)
                .float(self.clip),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(35 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, op: Self, logits: Array, target: Array| {
            let grad = normal(logits.shape(), 100);
            Case::new(about, op, vec![logits, target, grad])
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
