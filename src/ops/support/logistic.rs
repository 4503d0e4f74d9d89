//! The logistic function of a logit, its complement and their logarithms, for losses of yes-or-no labels. The twin of
//! `shaders/lib/logistic.wgsl` and `shaders/lib/focal.wgsl`.

use super::formulas::accurate_ln;
use crate::error::{Error, Result};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::RangeInclusive;

/// What losses need of a logit x. Nothing is subtracted from one, so that everything keeps its relative accuracy.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Logistic<R> {
    /// σ(x) = 1 / (1 + e⁻ˣ), the probability of yes.
    pub yes: R,
    /// σ(−x) = 1 − σ(x), the probability of no.
    pub no: R,
    /// −ln σ(x).
    pub yes_loss: R,
    /// −ln σ(−x).
    pub no_loss: R,
    /// e^−|x|.
    e: R,
    /// ln(1 + e^−|x|).
    tail: R,
    is_negative: bool,
}

impl<R: Real> Logistic<R> {
    /// Of the logit x.
    pub(in crate::ops) fn new(x: R) -> Self {
        let size = x.abs();
        let e = (-size).exp();
        let tail = e.ln_1p();
        let (large, small) = (R::ONE / (R::ONE + e), e / (R::ONE + e));
        let is_negative = x < R::ZERO;
        let by_sign = |negative: R, positive: R| if is_negative { negative } else { positive };
        Self {
            yes: by_sign(small, large),
            no: by_sign(large, small),
            yes_loss: by_sign(tail + size, tail),
            no_loss: by_sign(tail, tail + size),
            e,
            tail,
            is_negative,
        }
    }

    /// −t ln σ(x) − (1 − t) ln σ(−x).
    fn cross_entropy(&self, target: R) -> R {
        target * self.yes_loss + (R::ONE - target) * self.no_loss
    }

    /// ln q and (dq/dx) / q of the probability q = t · σ(−x) + (1 − t) · σ(x) of missing the target t in [0, 1]. For labels
    /// they are taken from the logarithms, which do not vanish where q does.
    fn miss(&self, target: R) -> (R, R) {
        if target == R::ONE {
            return (-self.no_loss, -self.yes);
        }
        if target == R::ZERO {
            return (-self.yes_loss, self.no);
        }
        let rest = R::ONE - target;
        let share = if self.is_negative {
            rest * self.e + target
        } else {
            rest + target * self.e
        };
        let slope = (rest - target) * (self.e / share) / (R::ONE + self.e);
        (accurate_ln(share) - self.tail, slope)
    }
}

/// The settings of the focal loss.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Focal {
    pub alpha: f64,
    pub gamma: f64,
}

impl Focal {
    /// What targets of one and of zero count.
    pub(in crate::ops) fn weights(&self) -> [f64; 2] {
        if self.alpha < 0.0 {
            [1.0, 1.0]
        } else {
            [self.alpha, 1.0 - self.alpha]
        }
    }

    /// The loss of a logit x.
    pub(in crate::ops) fn loss<R: Real>(&self, x: R, target: R) -> R {
        let own = Logistic::new(x);
        let (log_miss, _) = own.miss(target);
        self.factor(target, log_miss) * own.cross_entropy(target)
    }

    /// Its derivative.
    pub(in crate::ops) fn slope<R: Real>(&self, x: R, target: R) -> R {
        let own = Logistic::new(x);
        let (log_miss, miss_slope) = own.miss(target);
        let entropy_slope = (R::ONE - target) * own.yes - target * own.no;
        let focus_slope = R::constant(self.gamma) * own.cross_entropy(target) * miss_slope;
        self.factor(target, log_miss) * (entropy_slope + focus_slope)
    }

    fn factor<R: Real>(&self, target: R, log_miss: R) -> R {
        let [yes, no] = self.weights().map(R::constant);
        let weight = yes * target + no * (R::ONE - target);
        weight * (R::constant(self.gamma) * log_miss).exp()
    }
}

/// The settings of the asymmetric loss.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Asymmetric {
    pub gamma_neg: f64,
    pub gamma_pos: f64,
    pub clip: f64,
}

impl Asymmetric {
    /// The loss of a logit x.
    pub(in crate::ops) fn loss<R: Real>(&self, x: R, target: R) -> R {
        let own = Logistic::new(x);
        let positive = self.positive_focus(&own) * own.yes_loss;
        let negative = if self.clip == 0.0 {
            self.negative_focus(-own.yes_loss) * own.no_loss
        } else {
            let p = own.yes - R::constant(self.clip);
            if p <= R::ZERO {
                R::ZERO
            } else {
                self.negative_focus(accurate_ln(p)) * self.surprise(&own, p)
            }
        };
        target * positive + (R::ONE - target) * negative
    }

    /// Its derivative.
    pub(in crate::ops) fn slope<R: Real>(&self, x: R, target: R) -> R {
        let own = Logistic::new(x);
        let [gamma_neg, gamma_pos] = [self.gamma_neg, self.gamma_pos].map(R::constant);
        let positive = -self.positive_focus(&own) * (gamma_pos * own.yes * own.yes_loss + own.no);
        let negative = if self.clip == 0.0 {
            let focus = self.negative_focus(-own.yes_loss);
            focus * (gamma_neg * own.no * own.no_loss + own.yes)
        } else {
            let p = own.yes - R::constant(self.clip);
            if p <= R::ZERO {
                R::ZERO
            } else {
                let rest = own.no + R::constant(self.clip);
                let factor = gamma_neg * (self.surprise(&own, p) / p) + R::ONE / rest;
                self.negative_focus(accurate_ln(p)) * own.yes * own.no * factor
            }
        };
        target * positive + (R::ONE - target) * negative
    }

    fn positive_focus<R: Real>(&self, own: &Logistic<R>) -> R {
        (-R::constant(self.gamma_pos) * own.no_loss).exp()
    }

    fn negative_focus<R: Real>(&self, log_p: R) -> R {
        (R::constant(self.gamma_neg) * log_p).exp()
    }

    /// −ln(1 − p), where 1 − p = σ(−x) + clip.
    fn surprise<R: Real>(&self, own: &Logistic<R>, p: R) -> R {
        if p <= R::constant(0.5) {
            -(-p).ln_1p()
        } else {
            -(own.no + R::constant(self.clip)).ln()
        }
    }
}

/// That a setting lies in a range.
pub(in crate::ops) fn expect_within(
    name: &str,
    what: &str,
    value: f64,
    range: RangeInclusive<f64>,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::shape(format!(
        "{name}: {what} must lie between {} and {}, got {value}",
        range.start(),
        range.end()
    )))
}

/// The shape of weights by class for logits of a shape: their last axis.
pub(in crate::ops) fn weights_of(logits: Shape) -> Shape {
    logits
        .last()
        .map_or(Shape::SCALAR, |&classes| [classes].into())
}

/// That weights are one for each class, or a single one.
pub(in crate::ops) fn expect_weights(name: &str, logits: Shape, weights: Shape) -> Result<()> {
    if weights == Shape::SCALAR || weights == weights_of(logits) {
        return Ok(());
    }
    Err(Error::shape(format!(
        "{name}: pos_weight {weights} is neither one number nor one for each place of the last axis of logits {logits}"
    )))
}
