//! Counts of actual against predicted classes, and what follows from them.

use super::{mean, ratio, same_length};
use crate::error::{Error, Result};
use serde::Serialize;

/// A confusion matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// How often: `counts[actual][predicted]`.
    counts: Vec<Vec<u64>>,
}

/// The measures of one class against all others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// The class.
    pub class: usize,
    /// Samples of this class.
    pub support: u64,
    /// Samples predicted to be of this class.
    pub predicted: u64,
    /// Correct ones among the predicted; undefined if none was predicted.
    pub precision: Option<f64>,
    /// Correct ones among the actual; undefined without support.
    pub recall: Option<f64>,
    /// 2·correct / (support + predicted), the harmonic mean of the two; undefined if the class never occurs in either.
    pub f1: Option<f64>,
}

impl Confusion {
    /// Counts pairs of actual and predicted classes, each below `classes`.
    ///
    /// # Errors
    /// The lists differ in length, or a class is too large.
    pub fn new(classes: usize, actual: &[usize], predicted: &[usize]) -> Result<Self> {
        same_length(
            "actual classes",
            actual.len(),
            "predicted ones",
            predicted.len(),
        )?;
        let mut counts = vec![vec![0; classes]; classes];
        for (&a, &p) in actual.iter().zip(predicted) {
            let count = counts.get_mut(a).and_then(|row| row.get_mut(p));
            *count.ok_or_else(|| {
                Error::input(format!(
                    "class {} does not exist; there are {classes}, from 0",
                    a.max(p)
                ))
            })? += 1;
        }
        Ok(Self { counts })
    }

    /// How often: `[actual][predicted]`.
    pub fn counts(&self) -> &[Vec<u64>] {
        &self.counts
    }

    /// Number of samples.
    pub fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Correct ones among all.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(
            (0..self.counts.len()).map(|c| self.counts[c][c]).sum(),
            self.total(),
        )
    }

    /// Precision, recall and F1 of every class.
    pub fn per_class(&self) -> Vec<ClassScores> {
        (0..self.counts.len())
            .map(|class| self.scores(class))
            .collect()
    }

    fn scores(&self, class: usize) -> ClassScores {
        let correct = self.counts[class][class];
        let support = self.counts[class].iter().sum();
        let predicted = self.counts.iter().map(|row| row[class]).sum();
        ClassScores {
            class,
            support,
            predicted,
            precision: ratio(correct, predicted),
            recall: ratio(correct, support),
            f1: ratio(2 * correct, support + predicted),
        }
    }

    /// The mean of the classes' F1 over the classes that occur, be it among the actual or the predicted ones.
    ///
    /// That is scikit-learn's `f1_score(average="macro", zero_division=0)` without `labels`: a class that was missed
    /// altogether, or predicted without being there, counts as 0; one that occurs in neither does not count.
    pub fn macro_f1(&self) -> Option<f64> {
        mean(self.per_class().iter().map(|scores| scores.f1))
    }

    /// Recall of a class; undefined without samples of it, or if there is no such class.
    pub fn recall(&self, class: usize) -> Option<f64> {
        let row = self.counts.get(class)?;
        ratio(row[class], row.iter().sum())
    }

    /// The mean recall of some classes, of those that have samples.
    pub fn mean_recall(&self, classes: &[usize]) -> Option<f64> {
        mean(classes.iter().map(|&class| self.recall(class)))
    }

    /// FNR: of the samples that are not `negative`, the share predicted to be.
    pub fn false_negative_rate(&self, negative: usize) -> Option<f64> {
        let positives = self
            .counts
            .iter()
            .enumerate()
            .filter(|(class, _)| *class != negative);
        let (missed, all) = positives.fold((0, 0), |(missed, all), (_, row)| {
            let here = row.get(negative).copied().unwrap_or(0);
            (missed + here, all + row.iter().sum::<u64>())
        });
        ratio(missed, all)
    }
}

/// The (up to) `count` rarest classes of a training set, rarest first, given how many samples each class has there. Equally
/// rare: the smaller class number first. Classes without any samples cannot be learnt and are left out.
///
/// The recall of `rarest(…, 1)` is "M1-Acc", the mean recall of `rarest(…, 3)` "M3-Acc".
pub fn rarest(training_counts: &[u64], count: usize) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..training_counts.len())
        .filter(|&c| training_counts[c] > 0)
        .collect();
    classes.sort_by_key(|&class| training_counts[class]); // stable
    classes.truncate(count);
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|v| (v - expected).abs() < 1e-12)
    }

    /// Class 3 occurs in neither list, class 2 is predicted only.
    fn example() -> Confusion {
        Confusion::new(4, &[0, 0, 0, 1, 1, 0], &[0, 0, 1, 1, 2, 2]).expect("fits")
    }

    #[test]
    fn worked_by_hand() {
        let confusion = example();
        assert_eq!(confusion.counts()[0], [2, 1, 1, 0]);
        assert!(close(confusion.accuracy(), 3.0 / 6.0));
        let scores = confusion.per_class();
        assert!(close(scores[0].precision, 1.0) && close(scores[0].recall, 0.5));
        assert!(close(scores[0].f1, 2.0 / 3.0) && close(scores[1].f1, 0.5));
        assert_eq!((scores[2].recall, scores[2].precision), (None, Some(0.0)));
        assert_eq!((scores[2].f1, scores[3].f1), (Some(0.0), None));
        // scikit-learn 1.9: f1_score([0,0,0,1,1,0], [0,0,1,1,2,2], average="macro", zero_division=0) = 0.38888…
        assert!(close(confusion.macro_f1(), 7.0 / 18.0));
        // Two of class 1, none predicted 0.
        assert!(close(confusion.false_negative_rate(0), 0.0));
        // Four of class 0, one predicted 1.
        assert!(close(confusion.false_negative_rate(1), 0.25));
    }

    #[test]
    fn undefined_is_none() {
        let none = Confusion::new(3, &[], &[]).expect("fits");
        assert_eq!(
            (
                none.accuracy(),
                none.macro_f1(),
                none.false_negative_rate(0)
            ),
            (None, None, None)
        );
        let negatives = Confusion::new(2, &[0, 0], &[0, 1]).expect("fits");
        assert_eq!(
            (
                negatives.false_negative_rate(0),
                negatives.recall(1),
                negatives.recall(9)
            ),
            (None, None, None)
        );
        assert!(
            Confusion::new(0, &[], &[])
                .expect("fits")
                .per_class()
                .is_empty()
        );
    }

    #[test]
    fn misfits_are_refused() {
        assert!(Confusion::new(2, &[0], &[]).is_err());
        for (actual, predicted) in [(0, 2), (2, 0)] {
            let error = Confusion::new(2, &[actual], &[predicted]).expect_err("no such class");
            assert!(error.to_string().contains("class 2"), "{error}");
        }
    }

    #[test]
    fn rare_classes() {
        let training = [500, 7, 0, 3, 7, 90];
        assert_eq!(rarest(&training, 1), [3]);
        assert_eq!(rarest(&training, 3), [3, 1, 4]);
        assert_eq!(rarest(&training, 9), [3, 1, 4, 5, 0]);
        // Recalls of the classes 1 and 0 are 1/2 and 2/4; class 2 has no samples.
        assert!(close(example().mean_recall(&[2, 1, 0]), 0.5));
        assert_eq!(example().mean_recall(&[2]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn measures_are_shares(pairs in prop::collection::vec((0..5usize, 0..5usize), 1..80)) {
            let (actual, predicted): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let confusion = Confusion::new(5, &actual, &predicted).expect("fits");
            prop_assert_eq!(confusion.total() as usize, actual.len());
            let scores = confusion.per_class();
            let each = scores.iter().flat_map(|s| [s.precision, s.recall, s.f1]);
            for value in each.chain([confusion.accuracy(), confusion.macro_f1()]).flatten() {
                prop_assert!((0.0..=1.0).contains(&value));
            }
            for s in &scores {
                if let (Some(p), Some(r), Some(f1)) = (s.precision, s.recall, s.f1) {
                    prop_assert!((f1 * (p + r) - 2.0 * p * r).abs() < 1e-12);
                }
            }
            let perfect = Confusion::new(5, &actual, &actual).expect("fits");
            prop_assert_eq!((perfect.accuracy(), perfect.macro_f1()), (Some(1.0), Some(1.0)));
        }
    }
}
