//! The metrics of the system, from what was predicted for each image.

use super::decode::{Decoded, arg_max};
use super::model::{HEAVY_CLASSES, LIGHT_CLASSES};
use super::result::{Estimate, Evaluation, OperatingPoint};
use crate::data::gel_table::{CLASSES, Record};
use crate::error::Result;
use crate::metrics::calibration::{BINS, reliability};
use crate::metrics::classification::{Confusion, rarest};
use crate::metrics::interval::{REPLICATES, bootstrap};
use crate::metrics::ranking::Ranking;

/// An image's truth and outcome.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// True class, 0 to 8.
    pub class: usize,
    /// True heavy chain.
    pub heavy: usize,
    /// True light chain.
    pub light: usize,
    /// What was found.
    pub decoded: Decoded,
    /// Cross-entropy of both tasks together.
    pub loss: f64,
}

impl Outcome {
    /// The outcome for a record.
    pub fn new(record: &Record, decoded: Decoded) -> Self {
        // A probability that f64 rounds to zero must not make the mean infinite.
        let surprise = |probability: f64| -probability.max(f64::MIN_POSITIVE).ln();
        let loss = surprise(decoded.heavy[record.heavy]) + surprise(decoded.light[record.light]);
        Self {
            class: record.class,
            heavy: record.heavy,
            light: record.light,
            decoded,
            loss,
        }
    }
}

/// The sensitivities for which thresholds are given.
const SENSITIVITIES: [f64; 3] = [0.90, 0.95, 0.99];
const NEGATIVE: usize = 0;

/// The nine-class confusion matrix of some outcomes.
///
/// # Errors
/// None in practice.
pub fn confusion(outcomes: &[Outcome]) -> Result<Confusion> {
    let actual: Vec<usize> = outcomes.iter().map(|outcome| outcome.class).collect();
    let predicted: Vec<usize> = outcomes
        .iter()
        .map(|outcome| outcome.decoded.class)
        .collect();
    Confusion::new(CLASSES.len(), &actual, &predicted)
}

/// Scores the outcomes on a part of the data. Intervals are bootstrap percentiles over the images.
///
/// The rarest classes are those of the training set, by `training_counts`.
///
/// # Errors
/// None in practice.
pub fn evaluate(
    split: &str,
    outcomes: &[Outcome],
    training_counts: &[u64],
    seed: u64,
) -> Result<Evaluation> {
    let rarest = rarest(training_counts, 3);
    let values = bootstrapped(outcomes, &rarest, seed)?;
    let heavy = task_confusion(
        outcomes,
        HEAVY_CLASSES,
        |o| o.heavy,
        |o| arg_max(&o.decoded.heavy),
    )?;
    let light = task_confusion(
        outcomes,
        LIGHT_CLASSES,
        |o| o.light,
        |o| arg_max(&o.decoded.light),
    )?;
    let positive: Vec<bool> = outcomes
        .iter()
        .map(|outcome| outcome.class != NEGATIVE)
        .collect();
    let suspicion: Vec<f64> = outcomes
        .iter()
        .map(|outcome| 1.0 - outcome.decoded.probabilities[NEGATIVE])
        .collect();
    let ranking = Ranking::new(&suspicion, &positive)?;
    let confidences: Vec<f64> = outcomes
        .iter()
        .map(|outcome| outcome.decoded.probabilities[outcome.decoded.class])
        .collect();
    let right: Vec<bool> = outcomes
        .iter()
        .map(|outcome| outcome.decoded.class == outcome.class)
        .collect();
    let [
        accuracy,
        macro_f1,
        false_negative_rate,
        rarest_recall,
        three_rarest_recall,
        heavy_accuracy,
        light_accuracy,
    ] = values;
    Ok(Evaluation {
        split: split.to_string(),
        images: outcomes.len(),
        accuracy,
        macro_f1,
        false_negative_rate,
        rarest_recall,
        three_rarest_recall,
        heavy_accuracy,
        light_accuracy,
        confusion: as_usize(&confusion(outcomes)?),
        heavy_confusion: as_usize(&heavy),
        light_confusion: as_usize(&light),
        auroc: ranking.auroc(),
        operating_points: operating_points(&ranking),
        calibration_error: reliability(&confidences, &right, BINS)?.expected_calibration_error,
    })
}

type Seven<T> = [T; 7];

fn bootstrapped(outcomes: &[Outcome], rarest: &[usize], seed: u64) -> Result<Seven<Estimate>> {
    let everyone: Vec<usize> = (0..outcomes.len()).collect();
    let values = statistics(outcomes, &everyone, rarest)?;
    // A replicate of valid outcomes is valid.
    let replicate = |drawn: &[usize]| statistics(outcomes, drawn, rarest).unwrap_or_default();
    let intervals = bootstrap(outcomes.len(), seed, REPLICATES, replicate);
    let mut estimates = values.map(|value| Estimate {
        value,
        low: None,
        high: None,
    });
    for (estimate, interval) in estimates.iter_mut().zip(intervals) {
        (estimate.low, estimate.high) = (interval.map(|i| i.low), interval.map(|i| i.high));
    }
    Ok(estimates)
}

fn statistics(
    outcomes: &[Outcome],
    drawn: &[usize],
    rarest: &[usize],
) -> Result<Seven<Option<f64>>> {
    let drawn: Vec<&Outcome> = drawn.iter().map(|&i| &outcomes[i]).collect();
    let actual: Vec<usize> = drawn.iter().map(|outcome| outcome.class).collect();
    let predicted: Vec<usize> = drawn.iter().map(|outcome| outcome.decoded.class).collect();
    let confusion = Confusion::new(CLASSES.len(), &actual, &predicted)?;
    let share = |is_right: fn(&Outcome) -> bool| {
        let right = drawn.iter().filter(|outcome| is_right(outcome)).count();
        (!drawn.is_empty()).then(|| right as f64 / drawn.len() as f64)
    };
    Ok([
        confusion.accuracy(),
        confusion.macro_f1(),
        confusion.false_negative_rate(NEGATIVE),
        rarest.first().and_then(|&class| confusion.recall(class)),
        confusion.mean_recall(rarest),
        share(|outcome| arg_max(&outcome.decoded.heavy) == outcome.heavy),
        share(|outcome| arg_max(&outcome.decoded.light) == outcome.light),
    ])
}

fn task_confusion(
    outcomes: &[Outcome],
    classes: usize,
    actual: fn(&Outcome) -> usize,
    predicted: fn(&Outcome) -> usize,
) -> Result<Confusion> {
    let actual: Vec<usize> = outcomes.iter().map(actual).collect();
    let predicted: Vec<usize> = outcomes.iter().map(predicted).collect();
    Confusion::new(classes, &actual, &predicted)
}

fn as_usize(confusion: &Confusion) -> Vec<Vec<usize>> {
    confusion
        .counts()
        .iter()
        .map(|row| row.iter().map(|&n| n as usize).collect())
        .collect()
}

/// A sensitivity that cannot be had, for want of positives or negatives, has no point.
fn operating_points(ranking: &Ranking) -> Vec<OperatingPoint> {
    let point = |&wanted: &f64| {
        let point = ranking.at_sensitivity(wanted)?;
        Some(OperatingPoint {
            wanted_sensitivity: wanted,
            threshold: point.threshold?,
            sensitivity: point.sensitivity?,
            specificity: point.specificity?,
        })
    };
    SENSITIVITIES.iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::gel_table::Side;

    /// A record of a class; there is no file behind it.
    fn record(class: usize) -> Record {
        let (_, heavy, light) = CLASSES[class];
        Record {
            id: String::new(),
            name: String::new(),
            path: Default::default(),
            side: Side::Test,
            table: Default::default(),
            class,
            heavy,
            light,
            line: 1,
        }
    }

    /// An image of class `truth`, read as class `found` with the probability 0.75, unless that is Negative, whose
    /// probability is given.
    fn outcome((truth, found, negative): (usize, usize, f64)) -> Outcome {
        let (_, heavy, light) = CLASSES[found];
        let mut decoded = Decoded {
            class: found,
            probabilities: [0.0; CLASSES.len()],
            heavy: [0.1; HEAVY_CLASSES],
            light: [0.25; LIGHT_CLASSES],
        };
        decoded.probabilities[found] = 0.75;
        decoded.probabilities[NEGATIVE] = negative;
        (decoded.heavy[heavy], decoded.light[light]) = (0.7, 0.5);
        Outcome::new(&record(truth), decoded)
    }

    /// Truth, reading, probability of Negative.
    const OUTCOMES: [(usize, usize, f64); 11] = [
        (0, 0, 0.90),
        (0, 0, 0.82),
        (0, 0, 0.95),
        (0, 3, 0.20),
        (1, 1, 0.10),
        (1, 0, 0.85),
        (5, 5, 0.05),
        (5, 6, 0.15),
        (6, 0, 0.62),
        (6, 8, 0.30),
        (6, 6, 0.01),
    ];

    #[test]
    fn the_metrics_of_eleven_images_by_hand() {
        let outcomes = OUTCOMES.map(outcome);
        // In training class 1 is the rarest, then 6, then 5.
        let counts = [100, 5, 40, 50, 60, 9, 7, 30, 20];
        let found = evaluate("test", &outcomes, &counts, 1).expect("it scores");
        let is = |value: Option<f64>, expected: f64| {
            assert!(
                value.is_some_and(|value| (value - expected).abs() < 1e-12),
                "{value:?} instead of {expected}"
            );
        };
        assert_eq!((found.split.as_str(), found.images), ("test", 11));
        is(found.accuracy.value, 6.0 / 11.0);
        // F1 by class: 0: 6/9, 1: 2/3, 3: 0, 5: 2/3, 6: 2/5, 8: 0; the others do not occur.
        is(found.macro_f1.value, 0.4);
        is(found.false_negative_rate.value, 2.0 / 7.0);
        is(found.rarest_recall.value, 0.5);
        // Recalls 1/2, 1/3, 1/2.
        is(found.three_rarest_recall.value, 4.0 / 9.0);
        is(found.heavy_accuracy.value, 8.0 / 11.0);
        is(found.light_accuracy.value, 7.0 / 11.0);
        // Of 28 pairs of a positive and a negative the positive is more suspect in 4 + 2 + 4 + 4 + 3 + 3 + 4.
        is(found.auroc, 24.0 / 28.0);
        // Every sensitivity asked for takes all seven positives; of the negatives two are less suspect than those.
        assert_eq!(found.operating_points.len(), 3);
        for (point, wanted) in found.operating_points.iter().zip([0.90, 0.95, 0.99]) {
            assert_eq!(point.wanted_sensitivity, wanted);
            is(Some(point.threshold), 0.15);
            is(Some(point.sensitivity), 1.0);
            is(Some(point.specificity), 0.5);
        }
        // Gaps of the bins: 0.9 right; 0.82 right and 0.85 wrong; 0.95 right; 0.62 wrong; six of 0.75, three right.
        is(
            found.calibration_error,
            (0.1 + 0.67 + 0.05 + 0.62 + 1.5) / 11.0,
        );
        assert_eq!(found.confusion[6], [1, 0, 0, 0, 0, 0, 1, 0, 1]);
        assert_eq!(found.heavy_confusion[2], [1, 0, 3, 1]);
        assert_eq!(found.light_confusion[1], [1, 2, 1]);
    }

    #[test]
    fn intervals_hold_their_values_and_follow_the_seed() {
        let outcomes = OUTCOMES.map(outcome);
        let with_seed = |seed| evaluate("all", &outcomes, &[1; 9], seed).expect("it scores");
        let Estimate { value, low, high } = with_seed(1).accuracy;
        assert!(low < value && value < high, "{low:?} {value:?} {high:?}");
        assert_eq!(with_seed(1), with_seed(1));
        let ends = |seed| with_seed(seed).macro_f1;
        assert!(ends(1) != ends(2));
    }

    #[test]
    fn the_loss_is_the_surprise_of_both_tasks() {
        let right = outcome((5, 5, 0.1)).loss;
        assert!((right - (-(0.7f64.ln()) - 0.5f64.ln())).abs() < 1e-12);
        let wrong = outcome((5, 0, 0.9)).loss;
        assert!((wrong - (-(0.1f64.ln()) - 0.25f64.ln())).abs() < 1e-12);
    }
}
