//! The focal loss of yes-or-no targets: cross-entropy that counts less where it is already small.
//!
//! **Definition.** loss = (α t + (1 − α)(1 − t)) · qᵞ · ℓ with logits x, targets t in [0, 1], ℓ = −t ln σ(x) − (1 − t)
//! ln σ(−x), the cross-entropy, and q = t σ(−x) + (1 − t) σ(x), the probability of missing; σ(x) = 1 / (1 + e⁻ˣ). A
//! negative α means no weighting. Nothing is reduced, as in `cross_entropy`: `mean` gives the mean over elements.
//!
//! **Shape.** logits and target have the same shape, and so has the result.
//!
//! **Gradient.** Of the logits, see `focal_loss_grad`. The target counts as a constant.
//!
//! **Numerics.** ℓ is a sum of terms that are not negative (see `bce_with_logits`). qᵞ = exp(γ ln q), where for labels
//! ln q = ln σ(±x) is taken from the cross-entropy of the opposite label: it stays finite where q vanishes, so that γ =
//! 0 gives 1 and not 0⁰. A device's error grows with γ |ln q|, where the loss is small.
//!
//! **Cost.** Two to five exponentials and logarithms an element, counted as 25 operations in all; bound by memory.
//!
//! **Reference.** T. Lin et al., "Focal loss for dense object detection", ICCV 2017;
//! `torchvision.ops.sigmoid_focal_loss(…, reduction="none")`.

use super::support::{
    Focal, eval_binary, expect_same, expect_within, labels, launch_elementwise, logits_and_targets,
    uniform,
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
    name: "focal_loss",
    text: include_str!("../../shaders/focal_loss.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::LOG_ONE_PLUS,
        library::LOGISTIC,
        library::FOCAL,
    ],
};

/// The focal loss of yes-or-no targets: cross-entropy that counts less where it is already small. See the room's documentation.
#[derive(Clone, Debug)]
pub struct FocalLoss {
    /// The weight of targets of one, 1 − α being that of zero; negative for no weights.
    pub alpha: f64,
    /// How strongly what is already likely counts less; 0 for not at all.
    pub gamma: f64,
}

/// The focal loss of `target` in [0, 1] under σ(`logits`), element by element.
///
/// ```
/// # use axenic::{eval, ops};
/// let [loss] = eval(|r| {
///     let (logits, target) = (r.constant([0.0, 1000.0]), r.constant([1.0, 0.0]));
///     Ok([ops::focal_loss(logits, target, 0.25, 2.0)?])
/// })?;
/// assert_eq!(loss.to_f64()[1], 750.0);
/// assert!((loss.to_f64()[0] - 0.25 * 0.25 * 2.0f64.ln()).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, `alpha` is more than 1, or `gamma` does not lie between 0 and 100.
#[track_caller]
pub fn focal_loss<'g>(
    logits: Tensor<'g>,
    target: Tensor<'g>,
    alpha: f64,
    gamma: f64,
) -> Result<Tensor<'g>> {
    logits
        .recorder()
        .apply_one(FocalLoss { alpha, gamma }, &[logits, target])
}

impl Op for FocalLoss {
    const NAME: &'static str = "focal_loss";
    const INPUTS: &'static [&'static str] = &["logits", "target"];

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
        let [logits, target] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [logits, target], ["logits", "target"])?;
        expect_within(Self::NAME, "alpha", self.alpha, f64::MIN..=1.0)?;
        expect_within(Self::NAME, "gamma", self.gamma, 0.0..=100.0)?;
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
        let logits_grad =
            super::focal_loss_grad(call.inputs[0], call.inputs[1], grad, self.alpha, self.gamma)?;
        let mut grads = vec![None; 2];
        grads[0] = Some(logits_grad);
        Ok(grads)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let settings = Focal {
            alpha: self.alpha,
            gamma: self.gamma,
        };
        eval_binary(inputs, outputs, range, |x, target| settings.loss(x, target));
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let launch = launch_elementwise(&SHADER, 2, &inputs[0]);
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
        Cost::new(25 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, op: Self, logits: Array, target: Array| {
            Case::new(about, op, vec![logits, target])
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
