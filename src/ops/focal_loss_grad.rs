//! The gradient of the focal loss of yes-or-no targets: cross-entropy that counts less where it is already small.
//!
//! **Definition.** logits_grad = output_grad · (α t + (1 − α)(1 − t)) · qᵞ · (dℓ/dx + γ ℓ (dq/dx) / q), with ℓ the
//! cross-entropy and q the probability of missing as in `focal_loss`; dℓ/dx = (1 − t) σ(x) − t σ(−x).
//!
//! **Shape.** logits, target and output_grad have the same shape, and so has the result.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** As `focal_loss`. (dq/dx) / q is formed before anything vanishes: −σ(x) for t = 1, σ(−x) for t = 0,
//! else (1 − 2t) e / ((1 + e) a) with e = e^−|x| and a = (1 + e) q; so qᵞ⁻¹ never appears, and γ < 1 is no exception.
//!
//! **Cost.** Two to five exponentials and logarithms an element, counted as 30 operations in all; bound by memory.
//!
//! **Reference.** T. Lin et al., "Focal loss for dense object detection", ICCV 2017;
//! `torchvision.ops.sigmoid_focal_loss(…, reduction="none")`.

use super::support::{
    Focal, eval_binary, expect_same, expect_within, labels, launch_elementwise, logits_and_targets,
    normal, uniform,
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
    name: "focal_loss_grad",
    text: include_str!("../../shaders/focal_loss_grad.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::LOG_ONE_PLUS,
        library::LOGISTIC,
        library::FOCAL,
    ],
};

/// The gradient of [`FocalLoss`](super::FocalLoss), see the room's documentation.
#[derive(Clone, Debug)]
pub struct FocalLossGrad {
    /// The weight of targets of one, 1 − α being that of zero; negative for no weights.
    pub alpha: f64,
    /// How strongly what is already likely counts less; 0 for not at all.
    pub gamma: f64,
}

/// The gradient of the logits for [`focal_loss`](super::focal_loss).
///
/// ```
/// # use axenic::{eval, ops};
/// let [grad] = eval(|r| {
///     let (logits, target, grad) = (r.constant([1000.0]), r.constant([0.0]), r.constant([4.0]));
///     Ok([ops::focal_loss_grad(logits, target, grad, 0.25, 2.0)?])
/// })?;
/// assert_eq!(grad, [3.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, `alpha` is more than 1, or `gamma` does not lie between 0 and 100.
#[track_caller]
pub fn focal_loss_grad<'g>(
    logits: Tensor<'g>,
    target: Tensor<'g>,
    output_grad: Tensor<'g>,
    alpha: f64,
    gamma: f64,
) -> Result<Tensor<'g>> {
    logits.recorder().apply_one(
        FocalLossGrad { alpha, gamma },
        &[logits, target, output_grad],
    )
}

impl Op for FocalLossGrad {
    const NAME: &'static str = "focal_loss_grad";
    const INPUTS: &'static [&'static str] = &["logits", "target", "output_grad"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("alpha", self.alpha)
            .with("gamma", self.gamma)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            alpha: attributes.float("alpha", 0.25)?,
            gamma: attributes.float("gamma", 2.0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [logits, target, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [logits, target], ["logits", "target"])?;
        expect_same(Self::NAME, [logits, output_grad], ["logits", "output_grad"])?;
        expect_within(Self::NAME, "alpha", self.alpha, f64::MIN..=1.0)?;
        expect_within(Self::NAME, "gamma", self.gamma, 0.0..=100.0)?;
        Ok(vec![Spec::real(logits)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("focal_loss_grad: no second derivative"))
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let settings = Focal {
            alpha: self.alpha,
            gamma: self.gamma,
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
        let settings = Focal {
            alpha: self.alpha,
            gamma: self.gamma,
        };
        let [yes_weight, no_weight] = settings.weights();
        Ok(vec![
            launch.float(yes_weight).float(no_weight).float(self.gamma),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(30 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, op: Self, logits: Array, target: Array| {
            let grad = normal(logits.shape(), 100);
            Case::new(about, op, vec![logits, target, grad])
        };
        let usual = Self {
            alpha: 0.25,
            gamma: 2.0,
        };
        let mut cases: Vec<_> = logits_and_targets()
            .into_iter()
            .map(|(about, logits, target)| case(about, usual.clone(), logits, target))
            .collect();
        let of = |about, [alpha, gamma]: [f64; 2], radius: f64, seed| {
            let op = Self { alpha, gamma };
            case(
                about,
                op,
                uniform([31, 2], -radius, radius, seed),
                labels([31, 2], seed + 1),
            )
        };
        cases.extend([
            of("no weights", [-1.0, 2.0], 4.0, 80),
            of("no focus", [0.6, 0.0], 200.0, 82),
            of("less than linear", [0.5, 0.5], 40.0, 84),
            of("strong focus", [0.75, 5.0], 9.0, 86),
        ]);
        cases
    }
}
