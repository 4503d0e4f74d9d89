//! `report.html`: everything about a run on one page that needs no other file.

use super::evaluation::{EvaluationView, Verdict, evaluation_view, verdict};
use super::example::{ExampleView, Maps, example_view};
use super::history::{HistoryView, history_view};
use super::page::render;
use crate::error::Result;
use crate::systems::ife::result::{Evaluation, RunReport};
use serde::Serialize;

#[derive(Serialize)]
struct RunView<'a> {
    verdict: Option<Verdict>,
    data: &'a str,
    evaluations: Vec<EvaluationView>,
    epochs: usize,
    best_epoch: usize,
    history: HistoryView,
    examples: Vec<ExampleView>,
    config: &'a str,
    facts: &'a [(String, String)],
    left_out: Vec<(String, &'a str)>,
}

/// The report of a run as one HTML file: styles, charts and images are inside, and nothing is loaded from elsewhere.
///
/// # Errors
/// An example's pixels do not fit its size, or one of its attention maps is empty.
pub fn run_html(report: &RunReport) -> Result<String> {
    let evaluations = in_order(&report.evaluations);
    let examples = report
        .examples
        .iter()
        .map(|example| example_view(example, Maps::LastStages));
    let view = RunView {
        verdict: evaluations.first().map(|first| verdict(first)),
        data: &report.data,
        evaluations: evaluations.iter().map(|one| evaluation_view(one)).collect(),
        epochs: report.history.len(),
        best_epoch: report.best_epoch,
        history: history_view(&report.history, report.best_epoch),
        examples: examples.collect::<Result<_>>()?,
        config: report.config.trim_end(),
        facts: &report.facts,
        left_out: report
            .left_out
            .iter()
            .map(|problem| (problem.place(), problem.what.as_str()))
            .collect(),
    };
    render("run.html", &view)
}

/// What counts first: the test set, then the others, the last one first.
fn in_order(evaluations: &[Evaluation]) -> Vec<&Evaluation> {
    let mut order: Vec<&Evaluation> = evaluations.iter().rev().collect();
    order.sort_by_key(|evaluation| evaluation.split != "test");
    order
}
