//! Two softmaxes side by side, and by how much they differ.

use super::formulas::{exp_difference, exp_remainder};
use super::rows::largest;
use crate::real::{Real, Sum as _};
use std::f64::consts::LN_2;

/// An element of two softmaxes.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Pair<R> {
    /// The target's probability, t.
    pub target: R,
    /// The prediction's probability, p.
    pub prediction: R,
    /// ln(t / p), with its relative accuracy where t ≈ p.
    pub log_ratio: R,
}

impl<R: Real> Pair<R> {
    fn is_nearly_equal(&self) -> bool {
        self.log_ratio.abs() <= R::constant(0.5)
    }

    /// t ln(t/p) − t + p ≥ 0.
    pub(in crate::ops) fn divergence(&self) -> R {
        if self.is_nearly_equal() {
            self.target * exp_remainder(-self.log_ratio)
        } else {
            self.target * self.log_ratio + (self.prediction - self.target)
        }
    }

    /// p − t.
    pub(in crate::ops) fn excess(&self) -> R {
        if self.is_nearly_equal() {
            self.target * (exp_remainder(-self.log_ratio) - self.log_ratio)
        } else {
            self.prediction - self.target
        }
    }

    /// ½ t ln(t/c) + ½ p ln(p/c) ≥ 0 with c = (t + p) / 2.
    ///
    /// With δ = |ln(t/p)| and d = |t − p| / (t + p) = tanh(δ/2) it is ½c · [(1 + d) ln(1 + d) + (1 − d) ln(1 − d)]. In brackets
    /// stands d · δ + ln(1 − d²), which loses two bits at most for d ≤ ½, δ ≤ ln 3; and 2 ln 2 − 2 ln(1 + e) − 2eδ / (1 + e) with
    /// e = e^−δ, which does so beyond.
    pub(in crate::ops) fn js_divergence(&self) -> R {
        let size = self.log_ratio.abs();
        let e = (-size).exp();
        let bracket = if size <= R::constant(1.0986) {
            let d = if self.is_nearly_equal() {
                half_tanh(size)
            } else {
                (R::ONE - e) / (R::ONE + e)
            };
            d * size + (-(d * d)).ln_1p()
        } else {
            R::constant(2.0) * (R::constant(LN_2) - e.ln_1p() - e * size / (R::ONE + e))
        };
        R::constant(0.25) * (self.target + self.prediction) * bracket
    }

    /// ½ ln(t/c) and ½ ln(p/c) with c = (t + p) / 2, from ln(t/p) alone.
    pub(in crate::ops) fn js_slopes(&self) -> [R; 2] {
        [self.log_ratio, -self.log_ratio].map(js_slope)
    }
}

/// tanh(x/2) for |x| ≤ ½.
fn half_tanh<R: Real>(x: R) -> R {
    let excess = x + exp_remainder(x);
    excess / (R::constant(2.0) + excess)
}

/// ½ ln(2 / (1 + e^−δ)): ln(1 + tanh(δ/2)) where that is small.
fn js_slope<R: Real>(delta: R) -> R {
    let log = if delta.abs() <= R::constant(0.5) {
        half_tanh(delta).ln_1p()
    } else {
        let rest = R::constant(LN_2) - (-delta.abs()).exp().ln_1p();
        if delta < R::ZERO { delta + rest } else { rest }
    };
    R::constant(0.5) * log
}

/// The softmaxes of two rows, multiplied by `scales` (inverse temperatures), whose sums have the given depth.
pub(in crate::ops) fn softmax_pairs<R: Real>(
    target: impl Iterator<Item = R> + Clone,
    prediction: impl Iterator<Item = R> + Clone,
    scales: [R; 2],
    depth: usize,
) -> Vec<Pair<R>> {
    let tops = [largest(target.clone()), largest(prediction.clone())];
    let logits: Vec<[R; 2]> = target
        .zip(prediction)
        .map(|(t, p)| [(t - tops[0]) * scales[0], (p - tops[1]) * scales[1]])
        .collect();
    let total = |of: &dyn Fn(&[R; 2]) -> R| {
        let mut sum = R::sum(depth);
        logits.iter().for_each(|both| sum.add(of(both)));
        sum.total()
    };
    let sums = [total(&|both| both[0].exp()), total(&|both| both[1].exp())];
    // ln(sums[0] / sums[1]): where they are nearly equal, their difference is known better than either.
    let excess = total(&|both| exp_difference(both[0], both[1])) / sums[1];
    let shift = if excess.abs() <= R::constant(0.5) {
        excess.ln_1p()
    } else {
        (sums[0] / sums[1]).ln()
    };
    let pair = |[t, p]: [R; 2]| Pair {
        target: t.exp() / sums[0],
        prediction: p.exp() / sums[1],
        log_ratio: (t - p) - shift,
    };
    logits.into_iter().map(pair).collect()
}
