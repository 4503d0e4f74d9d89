//! The epochs of a training as charts and as a table.

use super::chart::{Chart, Line, Span, chart};
use super::format::{percent, significant};
use crate::systems::ife::result::EpochRow;
use serde::Serialize;

/// The section "training".
#[derive(Serialize)]
pub(super) struct HistoryView {
    charts: Vec<Chart>,
    columns: [&'static str; 13],
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    kept: bool,
    cells: [String; 13],
}

/// The charts and the table of `history`, the epoch `kept` marked.
pub(super) fn history_view(history: &[EpochRow], kept: usize) -> HistoryView {
    HistoryView {
        charts: charts(history, kept),
        columns: [
            "epoch",
            "steps",
            "learning rate",
            "heavy",
            "light",
            "inner",
            "inter",
            "total",
            "gradient",
            "validation loss",
            "accuracy",
            "macro F1",
            "missed",
        ],
        rows: history.iter().map(|row| table_row(row, kept)).collect(),
    }
}

fn charts(history: &[EpochRow], kept: usize) -> Vec<Chart> {
    let epochs: Vec<usize> = history.iter().map(|row| row.epoch).collect();
    let line = |name, value: fn(&EpochRow) -> f64| Line {
        name,
        values: history.iter().map(value).collect(),
    };
    let draw = |title, caption, span, lines| chart(title, caption, span, &epochs, lines, kept);
    [
        draw(
            "Cross-entropy",
            "Both tasks added. Training falling while validation rises means learning by heart.",
            Span::FromZero,
            vec![
                line("training", |row| row.loss_heavy + row.loss_light),
                line("validation", |row| row.validation_loss),
            ],
        ),
        draw(
            "Quality on validation gels",
            "Right classes, mean F1 of the nine classes, and positives called Negative (lower is better).",
            Span::Percent,
            vec![
                line("accuracy", |row| row.validation_accuracy),
                line("macro F1", |row| row.validation_macro_f1),
                line("missed", |row| row.validation_fnr.unwrap_or(f64::NAN)),
            ],
        ),
        draw(
            "Cross-entropy by task",
            "Heavy chain (none, G, A, M) and light chain (none, κ, λ) on training gels.",
            Span::FromZero,
            vec![
                line("heavy", |row| row.loss_heavy),
                line("light", |row| row.loss_light),
            ],
        ),
        draw(
            "Attention regularisers",
            "Inner sharpens or smooths each map, inter makes both tasks look at the same height.",
            Span::FromZero,
            vec![
                line("inner", |row| row.loss_inner),
                line("inter", |row| row.loss_inter),
            ],
        ),
        draw(
            "Learning rate",
            "How far each step goes, at the last step of each epoch.",
            Span::FromZero,
            vec![line("rate", |row| row.learning_rate)],
        ),
        draw(
            "Gradient norm",
            "Length of the gradient before clipping; spikes are unstable steps.",
            Span::FromZero,
            vec![line("norm", |row| row.gradient_norm)],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn table_row(row: &EpochRow, kept: usize) -> Row {
    Row {
        kept: row.epoch == kept,
        cells: [
            row.epoch.to_string(),
            row.step.to_string(),
            significant(row.learning_rate),
            significant(row.loss_heavy),
            significant(row.loss_light),
            significant(row.loss_inner),
            significant(row.loss_inter),
            significant(row.loss_total),
            significant(row.gradient_norm),
            significant(row.validation_loss),
            percent(Some(row.validation_accuracy)),
            percent(Some(row.validation_macro_f1)),
            percent(row.validation_fnr),
        ],
    }
}
