//! How well scores put the positives above the negatives.

use super::{ratio, same_length};
use crate::error::{Error, Result};
use serde::Serialize;

/// Scores with their truth, in order.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// From the highest score down; equal scores are one step.
    steps: Vec<Step>,
    positives: u64,
    negatives: u64,
}

/// All samples of one score.
#[derive(Clone, Copy, Debug)]
struct Step {
    score: f64,
    /// Positives with this score or a higher one.
    true_positives: u64,
    /// Negatives with this score or a higher one.
    false_positives: u64,
}

/// What follows when samples from some score upwards are called positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OperatingPoint {
    /// Samples with at least this score are called positive; none if no sample is.
    pub threshold: Option<f64>,
    /// Positives called positive; undefined without positives.
    pub sensitivity: Option<f64>,
    /// Negatives called negative; undefined without negatives.
    pub specificity: Option<f64>,
    /// Positives among those called positive; undefined if none is.
    pub precision: Option<f64>,
}

impl Ranking {
    /// Orders the scores; `positive` says which samples are.
    ///
    /// # Errors
    /// The lists differ in length, or a score is not finite.
    pub fn new(scores: &[f64], positive: &[bool]) -> Result<Self> {
        same_length("scores", scores.len(), "truths", positive.len())?;
        if let Some(i) = scores.iter().position(|score| !score.is_finite()) {
            return Err(Error::input(format!(
                "score {i} is {}; a ranking needs finite numbers",
                scores[i]
            )));
        }
        let mut order: Vec<(f64, bool)> = scores
            .iter()
            .copied()
            .zip(positive.iter().copied())
            .collect();
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut steps: Vec<Step> = Vec::new();
        let (mut positives, mut negatives) = (0, 0);
        for (score, positive) in order {
            *(if positive {
                &mut positives
            } else {
                &mut negatives
            }) += 1;
            let step = Step {
                score,
                true_positives: positives,
                false_positives: negatives,
            };
            // Compared as numbers, so that 0 and −0 are one score.
            match steps.last_mut() {
                Some(last) if last.score == score => *last = step,
                _ => steps.push(step),
            }
        }
        Ok(Self {
            steps,
            positives,
            negatives,
        })
    }

    /// Area under the ROC curve: the probability that a positive scores higher than a negative, ties counting one half
    /// (Mann–Whitney). Undefined without positives or without negatives.
    pub fn auroc(&self) -> Option<f64> {
        let (mut wins, mut above) = (0u128, 0u64); // twice the pairs won; negatives above this step
        let mut before = 0;
        for step in &self.steps {
            let positives = step.true_positives - before;
            let tied = step.false_positives - above;
            let below = self.negatives - step.false_positives;
            wins += u128::from(positives) * u128::from(2 * below + tied);
            (before, above) = (step.true_positives, step.false_positives);
        }
        let pairs = u128::from(self.positives) * u128::from(self.negatives);
        (pairs > 0).then(|| wins as f64 / (2 * pairs) as f64)
    }

    /// Average precision: Σ (recall gained at a step) · (precision there), without interpolation. Undefined without
    /// positives.
    pub fn average_precision(&self) -> Option<f64> {
        let mut before = 0;
        let mut sum = 0.0;
        for step in &self.steps {
            let called = step.true_positives + step.false_positives;
            let gained = (step.true_positives - before) as f64;
            sum += gained * step.true_positives as f64 / called as f64;
            before = step.true_positives;
        }
        (self.positives > 0).then(|| sum / self.positives as f64)
    }

    /// The ROC curve: from "none is positive" to "all are", one point per different score.
    pub fn roc(&self) -> Vec<OperatingPoint> {
        let none = self.point(None);
        std::iter::once(none)
            .chain(self.steps.iter().map(|step| self.point(Some(step))))
            .collect()
    }

    /// The highest threshold whose sensitivity is at least `sensitivity`. None without positives, or if no threshold
    /// reaches it because it is above 1.
    pub fn at_sensitivity(&self, sensitivity: f64) -> Option<OperatingPoint> {
        let reached = |step: &&Step| {
            ratio(step.true_positives, self.positives).is_some_and(|s| s >= sensitivity)
        };
        self.steps
            .iter()
            .find(reached)
            .map(|step| self.point(Some(step)))
    }

    fn point(&self, step: Option<&Step>) -> OperatingPoint {
        let (hits, alarms) = step.map_or((0, 0), |s| (s.true_positives, s.false_positives));
        OperatingPoint {
            threshold: step.map(|s| s.score),
            sensitivity: ratio(hits, self.positives),
            specificity: ratio(self.negatives - alarms, self.negatives),
            precision: ratio(hits, hits + alarms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|v| (v - expected).abs() < 1e-12)
    }

    fn ranking(scores: &[f64], positive: &[u8]) -> Ranking {
        let positive: Vec<bool> = positive.iter().map(|&p| p == 1).collect();
        Ranking::new(scores, &positive).expect("fits")
    }

    #[test]
    fn worked_by_hand() {
        // scikit-learn's own example: roc_auc_score 0.75, average_precision_score 0.8333….
        let r = ranking(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]);
        assert!(close(r.auroc(), 0.75) && close(r.average_precision(), 5.0 / 6.0));
        // Ties: of the 2·3 pairs 4 are won and 2 tied; scikit-learn 1.9: 0.8333….
        let r = ranking(&[0.5, 0.5, 0.5, 0.2, 0.9], &[1, 0, 0, 0, 1]);
        assert!(close(r.auroc(), (4.0 + 2.0 * 0.5) / 6.0));
        // scikit-learn 1.9: average_precision_score 0.75: half the recall at precision 1, half at 2/4.
        assert!(close(r.average_precision(), 0.75));
    }

    #[test]
    fn thresholds_for_a_sensitivity() {
        let r = ranking(&[0.9, 0.8, 0.7, 0.7, 0.3, 0.1], &[1, 0, 1, 0, 1, 0]);
        let at = |s| r.at_sensitivity(s).and_then(|point| point.threshold);
        assert_eq!(
            [at(0.3), at(0.34), at(2.0 / 3.0), at(0.9), at(1.0)],
            [Some(0.9), Some(0.7), Some(0.7), Some(0.3), Some(0.3)]
        );
        assert_eq!(at(1.1), None);
        let point = r.at_sensitivity(0.5).expect("reached");
        assert!(close(point.sensitivity, 2.0 / 3.0) && close(point.specificity, 1.0 / 3.0));
        assert!(close(point.precision, 0.5));
        // 55 of 100 is a sensitivity of 0.55, although 0.55 · 100 is computed as more than 55.
        let scores: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(
            ranking(&scores, &[1; 100])
                .at_sensitivity(0.55)
                .and_then(|p| p.threshold),
            Some(45.0)
        );
    }

    #[test]
    fn roc_runs_from_none_to_all() {
        let points = ranking(&[0.9, 0.5, 0.5], &[1, 0, 1]).roc();
        let corners: Vec<_> = points
            .iter()
            .map(|p| (p.threshold, p.sensitivity, p.specificity))
            .collect();
        let expected = [
            (None, Some(0.0), Some(1.0)),
            (Some(0.9), Some(0.5), Some(1.0)),
            (Some(0.5), Some(1.0), Some(0.0)),
        ];
        assert_eq!(corners, expected);
    }

    #[test]
    fn undefined_is_none() {
        assert_eq!(ranking(&[], &[]).auroc(), None);
        assert_eq!(ranking(&[0.5, 0.1], &[1, 1]).auroc(), None);
        let negatives = ranking(&[0.5, 0.1], &[0, 0]);
        assert_eq!(
            (negatives.auroc(), negatives.average_precision()),
            (None, None)
        );
        assert_eq!(negatives.at_sensitivity(0.0), None);
        assert!(Ranking::new(&[f64::NAN], &[true]).is_err());
        assert!(Ranking::new(&[0.5], &[]).is_err());
        assert!(close(ranking(&[0.0, -0.0], &[1, 0]).auroc(), 0.5));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Against the definition: all pairs, one by one.
        #[test]
        fn auroc_counts_pairs(samples in prop::collection::vec((0..6i32, any::<bool>()), 0..40)) {
            let scores: Vec<f64> = samples.iter().map(|s| f64::from(s.0)).collect();
            let truth: Vec<bool> = samples.iter().map(|s| s.1).collect();
            let ranking = Ranking::new(&scores, &truth).expect("fits");
            let (mut won, mut pairs) = (0.0, 0.0);
            for (p, _) in samples.iter().filter(|s| s.1) {
                for (n, _) in samples.iter().filter(|s| !s.1) {
                    pairs += 1.0;
                    won += if p > n { 1.0 } else if p == n { 0.5 } else { 0.0 };
                }
            }
            match ranking.auroc() {
                None => prop_assert_eq!(pairs, 0.0),
                Some(area) => {
                    prop_assert!((area - won / pairs).abs() < 1e-12);
                    let points = ranking.roc();
                    let trapezoids: f64 = points.windows(2).map(|w| {
                        let x = |i: usize| 1.0 - w[i].specificity.expect("negatives");
                        let y = |i: usize| w[i].sensitivity.expect("positives");
                        (x(1) - x(0)) * (y(0) + y(1)) / 2.0
                    }).sum();
                    prop_assert!((area - trapezoids).abs() < 1e-12);
                }
            }
        }
    }
}
