//! Whether probabilities mean what they say. Nothing is fitted here: probabilities are judged as they are.

use super::{ratio, same_length};
use crate::error::{Error, Result};
use serde::Serialize;

/// Bins of equal width that confidences are sorted into by default.
pub const BINS: usize = 15;

/// A reliability diagram and its summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reliability {
    /// Bins of equal width from 0 to 1.
    pub bins: Vec<Bin>,
    /// Expected calibration error: the bins' |accuracy − confidence|, weighted by their samples. Undefined without
    /// samples.
    pub expected_calibration_error: Option<f64>,
}

/// The samples whose confidence lies in (low, high]; the first bin includes 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Samples.
    pub count: u64,
    /// Their mean confidence.
    pub confidence: Option<f64>,
    /// The share of them that is correct.
    pub accuracy: Option<f64>,
}

/// Sorts predictions by confidence (the predicted class's probability) into `bins` bins and compares it with how many are
/// correct.
///
/// # Errors
/// The lists differ in length, a confidence is not within 0 to 1, or there are no bins.
pub fn reliability(confidences: &[f64], correct: &[bool], bins: usize) -> Result<Reliability> {
    same_length("confidences", confidences.len(), "outcomes", correct.len())?;
    check(confidences)?;
    if bins == 0 {
        return Err(Error::input("a reliability diagram needs at least one bin"));
    }
    let mut sums = vec![(0u64, 0u64, 0.0); bins]; // samples, correct ones, sum of confidences
    for (&confidence, &correct) in confidences.iter().zip(correct) {
        let bin = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        let (count, hits, sum) = &mut sums[bin];
        *count += 1;
        *hits += u64::from(correct);
        *sum += confidence;
    }
    let edge = |i: usize| i as f64 / bins as f64;
    let gaps: f64 = sums
        .iter()
        .map(|&(_, hits, sum)| (hits as f64 - sum).abs())
        .sum();
    let describe = |(i, (count, hits, sum)): (usize, (u64, u64, f64))| Bin {
        low: edge(i),
        high: edge(i + 1),
        count,
        confidence: (count > 0).then(|| sum / count as f64),
        accuracy: ratio(hits, count),
    };
    Ok(Reliability {
        bins: sums.into_iter().enumerate().map(describe).collect(),
        expected_calibration_error: (!correct.is_empty()).then(|| gaps / correct.len() as f64),
    })
}

fn check(probabilities: &[f64]) -> Result<()> {
    match probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        Some(i) => Err(Error::input(format!(
            "probability {i} is {}; it must lie within 0 and 1",
            probabilities[i]
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|v| (v - expected).abs() < 1e-12)
    }

    #[test]
    fn reliability_by_hand() {
        // Two bins: 0.2 and 0.4 with one right, 0.6 and 0.9 and 1 with two right.
        let found = reliability(
            &[0.2, 0.9, 0.4, 0.6, 1.0],
            &[true, true, false, false, true],
            2,
        )
        .expect("fits");
        assert_eq!((found.bins[0].count, found.bins[1].count), (2, 3));
        assert!(close(found.bins[0].confidence, 0.3) && close(found.bins[0].accuracy, 0.5));
        assert!(
            close(found.bins[1].confidence, 2.5 / 3.0) && close(found.bins[1].accuracy, 2.0 / 3.0)
        );
        // 2/5 · 0.2 + 3/5 · (2.5 − 2)/3.
        assert!(close(found.expected_calibration_error, 0.08 + 0.1));
    }

    #[test]
    fn edges_belong_to_the_bin_below() {
        let found = reliability(&[0.0, 0.5, 1.0], &[true; 3], 2).expect("fits");
        assert_eq!((found.bins[0].count, found.bins[1].count), (2, 1));
        let found = reliability(&[], &[], BINS).expect("fits");
        assert_eq!(
            (found.bins.len(), found.expected_calibration_error),
            (15, None)
        );
        assert_eq!(
            (found.bins[3].confidence, found.bins[3].accuracy),
            (None, None)
        );
    }

    #[test]
    fn misfits_are_refused() {
        assert!(reliability(&[0.5], &[], 15).is_err());
        assert!(reliability(&[0.5], &[true], 0).is_err());
        for p in [-0.1, 1.1, f64::NAN] {
            assert!(reliability(&[p], &[true], 15).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn bins_hold_their_confidences(samples in prop::collection::vec((0.0..=1.0f64, any::<bool>()), 1..50), bins in 1..20usize) {
            let (confidences, correct): (Vec<f64>, Vec<bool>) = samples.into_iter().unzip();
            let found = reliability(&confidences, &correct, bins).expect("fits");
            prop_assert_eq!(found.bins.iter().map(|b| b.count).sum::<u64>() as usize, correct.len());
            for bin in &found.bins {
                if let Some(c) = bin.confidence {
                    prop_assert!((bin.low - 1e-12..=bin.high + 1e-12).contains(&c));
                }
            }
            prop_assert!(found.expected_calibration_error.is_some_and(|e| (0.0..=1.0).contains(&e)));
        }
    }
}
