//! Results as text: tables for the terminal, CSV and JSON for programs.

use super::evaluation::{missed_positives, shares};
use super::format::{decimal, name_of, percent, percent_interval, significant};
use super::table::{Align, Table, harmless};
use crate::data::gel_table::Problem;
use crate::error::{Error, Result};
use crate::systems::ife::result::{
    CLASS_NAMES, Evaluation, HEAVY_NAMES, LIGHT_NAMES, OperatingPoint, Prediction,
};

/// Problems of a data folder for the terminal: where and what. Empty without problems.
pub fn problems_text(problems: &[Problem]) -> String {
    let mut table = Table::new(vec![Align::Left, Align::Left]);
    if !problems.is_empty() {
        table.row(["where", "what"]);
    }
    for problem in problems {
        table.row([problem.place().as_str(), &problem.what]);
    }
    table.render(0)
}

/// An evaluation for the terminal: metrics with their intervals, confusion matrices, operating points.
pub fn evaluation_text(evaluation: &Evaluation) -> String {
    let mut text = format!(
        "{} images, {}\n\n",
        evaluation.images,
        harmless(&evaluation.split)
    );
    text += &metrics(evaluation);
    let (positives, missed) = missed_positives(evaluation);
    text += &format!("\n  {missed} of {positives} monoclonal proteins called Negative.\n");
    for (title, names, counts) in [
        ("Classes", &CLASS_NAMES[..], &evaluation.confusion),
        ("Heavy chain", &HEAVY_NAMES, &evaluation.heavy_confusion),
        ("Light chain", &LIGHT_NAMES, &evaluation.light_confusion),
    ] {
        text += &format!(
            "\n{title} (row: truth, column: prediction)\n\n{}",
            matrix(names, counts)
        );
    }
    if !evaluation.operating_points.is_empty() {
        text +=
            "\nOperating points (positive from this probability of any monoclonal protein on)\n\n";
        text += &operating_points(&evaluation.operating_points);
    }
    text
}

/// Predictions for the terminal: one line per image, its warning below it.
pub fn predictions_text(predictions: &[Prediction]) -> String {
    let mut table = Table::new(vec![Align::Left, Align::Left, Align::Right, Align::Left]);
    if !predictions.is_empty() {
        table.row(["image", "class", "confidence", ""]);
    }
    for prediction in predictions {
        let warning = prediction.warning.as_ref();
        table.row([
            &prediction.image,
            &prediction.name,
            &percent(Some(prediction.confidence)),
            &warning.map_or_else(String::new, |warning| format!("! {warning}")),
        ]);
    }
    table.render(0)
}

/// Predictions as CSV: `image,class,name,confidence,p0,…,p8,warning`, one line per image under a line of headings.
///
/// # Errors
/// A prediction has not nine probabilities.
pub fn predictions_csv(predictions: &[Prediction]) -> Result<String> {
    let fault = |error: &dyn std::fmt::Display| Error::input(format!("writing CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut headings: Vec<String> = ["image", "class", "name", "confidence"]
        .map(Into::into)
        .into();
    headings.extend((0..CLASS_NAMES.len()).map(|class| format!("p{class}")));
    headings.push("warning".into());
    writer
        .write_record(&headings)
        .map_err(|error| fault(&error))?;
    for prediction in predictions {
        if prediction.probabilities.len() != CLASS_NAMES.len() {
            return Err(Error::input(format!(
                "{}: {} probabilities where {} classes need one each",
                prediction.image,
                prediction.probabilities.len(),
                CLASS_NAMES.len()
            )));
        }
        let mut record = vec![
            prediction.image.clone(),
            prediction.class.to_string(),
            prediction.name.clone(),
            prediction.confidence.to_string(),
        ];
        record.extend(prediction.probabilities.iter().map(f64::to_string));
        record.push(prediction.warning.clone().unwrap_or_default());
        writer
            .write_record(&record)
            .map_err(|error| fault(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| fault(&error))?;
    String::from_utf8(bytes).map_err(|error| fault(&error))
}

fn metrics(evaluation: &Evaluation) -> String {
    let mut table = Table::new(vec![Align::Left, Align::Right, Align::Left]);
    table.row(["", "", "95 % interval"]);
    for (name, _, estimate) in shares(evaluation) {
        let interval = percent_interval(estimate).unwrap_or_default();
        table.row([name, &percent(estimate.value), &interval]);
    }
    table.row(["AUROC", &decimal(evaluation.auroc), ""]);
    table.row([
        "Calibration error",
        &decimal(evaluation.calibration_error),
        "",
    ]);
    table.render(2)
}

/// Counts, and the share of each row that is right.
fn matrix(names: &[&str], counts: &[Vec<usize>]) -> String {
    let columns = counts.iter().map(Vec::len).max().unwrap_or(0);
    let mut align = vec![Align::Left];
    align.extend(vec![Align::Right; columns + 1]);
    let mut table = Table::new(align);
    let mut headings = vec![String::new()];
    headings.extend((0..columns).map(|class| name_of(names, class)));
    headings.push("right".into());
    table.row(headings);
    for (truth, row) in counts.iter().enumerate() {
        let total: usize = row.iter().sum();
        let right = row.get(truth).filter(|_| total > 0);
        let mut cells = vec![name_of(names, truth)];
        cells.extend((0..columns).map(|column| match row.get(column) {
            Some(0) | None => "·".into(),
            Some(count) => count.to_string(),
        }));
        cells.push(percent(right.map(|right| *right as f64 / total as f64)));
        table.row(cells);
    }
    table.render(2)
}

fn operating_points(points: &[OperatingPoint]) -> String {
    let mut table = Table::new(vec![Align::Right; 4]);
    table.row(["wanted", "threshold", "sensitivity", "specificity"]);
    for point in points {
        table.row([
            percent(Some(point.wanted_sensitivity)),
            significant(point.threshold),
            percent(Some(point.sensitivity)),
            percent(Some(point.specificity)),
        ]);
    }
    table.render(2)
}
