//! A ledger as one HTML page: everything a reader may ask about a node, one click away.
//!
//! The page carries the ledger itself as JSON, the very numbers that `--json` prints, and a script that draws them; it
//! loads nothing.

use super::format::count;
use super::ledger_text::{runs, scaled, time};
use super::page::render;
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use serde::Serialize;

#[derive(Serialize)]
struct LedgerView<'a> {
    title: &'a str,
    device: &'a str,
    nodes: usize,
    time: String,
    step: String,
    flops: String,
    bytes: String,
    speed: String,
    peak_flops: String,
    peak_bytes: String,
    matmul_rows: usize,
    relu_elements: String,
    runs: String,
    timing: &'static str,
    launches: usize,
    shaders: usize,
    graph_sha256: &'a str,
    data: String,
}

/// One HTML file that shows a ledger: the nodes by scope, each with its mathematics, its numbers and its shader.
///
/// # Errors
/// None that a ledger can cause: the page cannot be filled.
pub fn ledger_html(ledger: &Ledger, title: &str) -> Result<String> {
    let totals = &ledger.totals;
    let json = serde_json::to_string(ledger).map_err(|e| Error::input(format!("no JSON: {e}")))?;
    let view = LedgerView {
        title,
        device: &ledger.device,
        nodes: totals.nodes,
        time: time(totals.nanoseconds),
        step: time(ledger.step_nanoseconds),
        flops: scaled(totals.flops as f64, "FLOP"),
        bytes: scaled((totals.bytes_read + totals.bytes_written) as f64, "B"),
        speed: scaled(
            1e9 * totals.flops as f64 / totals.nanoseconds.max(1) as f64,
            "FLOP/s",
        ),
        peak_flops: scaled(ledger.roofline.flops_per_second, "FLOP/s"),
        peak_bytes: scaled(ledger.roofline.bytes_per_second, "B/s"),
        matmul_rows: ledger.roofline.matmul_rows,
        relu_elements: count(ledger.roofline.relu_elements),
        runs: runs(ledger),
        timing: ledger.timing.words(),
        launches: totals.launches,
        shaders: ledger.shaders.len(),
        graph_sha256: &ledger.graph_sha256,
        // Inside a script element only `<` could end it.
        data: json.replace('<', "\\u003c"),
    };
    render("ledger.html", &view)
}
