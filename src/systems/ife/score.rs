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
