//! The outcome on one set of images, as the page shows it.

use super::format::{DASH, count, decimal, finite, name_of, percent, percent_interval};
use crate::systems::ife::result::{
    CLASS_NAMES, Estimate, Evaluation, HEAVY_NAMES, LIGHT_NAMES, OperatingPoint,
};
use serde::Serialize;

/// How strongly a cell is shaded for a share of 0 and of 1: visible from one image on, and light enough that the
/// text in it keeps its contrast.
const SHADE: (f64, f64) = (0.16, 0.60);

/// One evaluation.
#[derive(Serialize)]
pub(super) struct EvaluationView {
    split: String,
    images: String,
    accuracy: String,
    flattering: bool,
    metrics: Vec<Metric>,
    matrices: Vec<Matrix>,
    operating_points: Vec<[String; 4]>,
}

/// A line of the table of metrics.
#[derive(Serialize)]
struct Metric {
    name: &'static str,
    meaning: &'static str,
    value: String,
    interval: Option<String>,
    /// Positions of value, low and high in per cent of the scale.
    at: Option<f64>,
    whisker: Option<(f64, f64)>,
}

/// A confusion matrix: row = true class, column = predicted.
#[derive(Serialize)]
struct Matrix {
    title: &'static str,
    names: Vec<String>,
    rows: Vec<MatrixRow>,
}

#[derive(Serialize)]
struct MatrixRow {
    name: String,
    cells: Vec<Cell>,
    images: String,
}

#[derive(Serialize)]
struct Cell {
    /// Whether truth and prediction agree.
    right: bool,
    count: String,
    /// Percentage of the row, `None` for a cell without images.
    share: Option<String>,
    shade: String,
}

/// The sentence at the top of the page.
#[derive(Serialize)]
pub(super) struct Verdict {
    split: String,
    images: String,
    accuracy: String,
    accuracy_interval: Option<String>,
    positives: usize,
    missed: usize,
    missed_rate: String,
    missed_interval: Option<String>,
    flattering: bool,
}

/// How many images truly have a monoclonal protein, and how many of these were called Negative.
pub(super) fn missed_positives(evaluation: &Evaluation) -> (usize, usize) {
    let positives = evaluation.confusion.iter().skip(1);
    let missed = positives.clone().filter_map(|row| row.first()).sum();
    (positives.flatten().sum(), missed)
}

/// Whether the images had a part in training, or in choosing its best epoch: then the numbers flatter.
fn flattering(evaluation: &Evaluation) -> bool {
    matches!(evaluation.split.as_str(), "train" | "validation")
}

/// What to say first of an evaluation.
pub(super) fn verdict(evaluation: &Evaluation) -> Verdict {
    let (positives, missed) = missed_positives(evaluation);
    Verdict {
        split: evaluation.split.clone(),
        images: count(evaluation.images),
        accuracy: percent(evaluation.accuracy.value),
        accuracy_interval: percent_interval(evaluation.accuracy),
        positives,
        missed,
        missed_rate: percent(evaluation.false_negative_rate.value),
        missed_interval: percent_interval(evaluation.false_negative_rate),
        flattering: flattering(evaluation),
    }
}

/// The evaluation as the page shows it.
pub(super) fn evaluation_view(evaluation: &Evaluation) -> EvaluationView {
    EvaluationView {
        split: evaluation.split.clone(),
        images: count(evaluation.images),
        accuracy: percent(evaluation.accuracy.value),
        flattering: flattering(evaluation),
        metrics: metrics(evaluation),
        matrices: vec![
            matrix("Nine classes", &CLASS_NAMES, &evaluation.confusion),
            matrix("Heavy chain", &HEAVY_NAMES, &evaluation.heavy_confusion),
            matrix("Light chain", &LIGHT_NAMES, &evaluation.light_confusion),
        ],
        operating_points: evaluation
            .operating_points
            .iter()
            .map(operating_point)
            .collect(),
    }
}

/// The metrics that are shares, with their names and meanings, in the order in which they are shown everywhere.
pub(super) fn shares(evaluation: &Evaluation) -> [(&'static str, &'static str, Estimate); 7] {
    [
        (
            "Accuracy",
            "gels with the right class of nine",
            evaluation.accuracy,
        ),
        (
            "Macro F1",
            "mean F1 of the nine classes, rare ones counting as much as common ones",
            evaluation.macro_f1,
        ),
        (
            "Missed positives",
            "monoclonal proteins called Negative; lower is better",
            evaluation.false_negative_rate,
        ),
        (
            "Rarest class found",
            "recall of the class that is rarest in training",
            evaluation.rarest_recall,
        ),
        (
            "Three rarest found",
            "mean recall of the three rarest classes",
            evaluation.three_rarest_recall,
        ),
        (
            "Heavy chain",
            "gels with the right answer of none, G, A, M",
            evaluation.heavy_accuracy,
        ),
        (
            "Light chain",
            "gels with the right answer of none, κ, λ",
            evaluation.light_accuracy,
        ),
    ]
}

fn metrics(evaluation: &Evaluation) -> Vec<Metric> {
    let shares = shares(evaluation).map(|(name, meaning, estimate)| Metric {
        name,
        meaning,
        value: percent(estimate.value),
        interval: percent_interval(estimate),
        at: on_scale(estimate.value),
        whisker: on_scale(estimate.low).zip(on_scale(estimate.high)),
    });
    let plain = [
        (
            "AUROC",
            "how well positives are told from Negative at any threshold; 1 is perfect, 0.5 is chance",
            evaluation.auroc,
        ),
        (
            "Calibration error",
            "mean distance between stated probability and share of right classes; 0 is perfect",
            evaluation.calibration_error,
        ),
    ]
    .map(|(name, meaning, value)| Metric {
        name,
        meaning,
        value: decimal(value),
        interval: None,
        at: on_scale(value),
        whisker: None,
    });
    shares.into_iter().chain(plain).collect()
}

/// A share as a position from 0 to 100.
fn on_scale(share: Option<f64>) -> Option<f64> {
    finite(share).map(|share| (1000.0 * share.clamp(0.0, 1.0)).round() / 10.0)
}

fn matrix(title: &'static str, names: &[&str], counts: &[Vec<usize>]) -> Matrix {
    let columns = counts.iter().map(Vec::len).max().unwrap_or(0);
    Matrix {
        title,
        names: (0..columns).map(|class| name_of(names, class)).collect(),
        rows: counts
            .iter()
            .enumerate()
            .map(|(truth, row)| matrix_row(name_of(names, truth), truth, row))
            .collect(),
    }
}

fn matrix_row(name: String, truth: usize, row: &[usize]) -> MatrixRow {
    let total: usize = row.iter().sum();
    let cells = row.iter().enumerate().map(|(predicted, &number)| {
        let share = (number > 0).then(|| number as f64 / total as f64);
        Cell {
            right: predicted == truth,
            count: count(number),
            share: share.map(whole_percent),
            shade: share.map_or("0".into(), |share| {
                format!("{:.2}", SHADE.0 + (SHADE.1 - SHADE.0) * share)
            }),
        }
    });
    MatrixRow {
        name,
        cells: cells.collect(),
        images: count(total),
    }
}

/// A share as a whole percentage that is 100 only for all and 0 only for none.
fn whole_percent(share: f64) -> String {
    match 100.0 * share {
        p if p < 1.0 => "<1 %".into(),
        p if p < 100.0 => format!("{:.0} %", p.min(99.0)),
        _ => "100 %".into(),
    }
}

fn operating_point(point: &OperatingPoint) -> [String; 4] {
    let threshold = match point.threshold.is_finite() {
        true => super::format::significant(point.threshold),
        false => DASH.into(),
    };
    [
        percent(Some(point.wanted_sensitivity)),
        threshold,
        percent(Some(point.sensitivity)),
        percent(Some(point.specificity)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_carry_counts_and_row_shares() {
        let matrix = matrix(
            "Light chain",
            &LIGHT_NAMES,
            &[vec![199, 1, 0], vec![0, 3, 1], vec![0, 0, 0]],
        );
        assert_eq!(matrix.names, ["none", "κ", "λ"]);
        let cell = |row: usize, column: usize| &matrix.rows[row].cells[column];
        assert_eq!(cell(0, 0).share.as_deref(), Some("99 %"));
        assert_eq!(cell(0, 1).share.as_deref(), Some("<1 %"));
        assert_eq!(cell(1, 1).share.as_deref(), Some("75 %"));
        assert_eq!((cell(1, 1).right, cell(1, 2).right), (true, false));
        assert_eq!(
            (cell(2, 2).share.as_deref(), cell(2, 2).shade.as_str()),
            (None, "0")
        );
        assert_eq!(matrix.rows[0].images, "200");
    }

    #[test]
    fn positions_stay_on_the_scale() {
        assert_eq!(on_scale(Some(0.9534)), Some(95.3));
        assert_eq!(on_scale(Some(1.2)), Some(100.0));
        assert_eq!(on_scale(Some(f64::NAN)), None);
    }
}
