//! A ledger for the terminal.

use super::format::{DASH, percent, significant};
use super::table::{Align, Table};
use crate::ledger::{Entry, Ledger, Output};

/// The nodes one by one, the operations with their sums, the totals, and the device's limits.
pub fn ledger_text(ledger: &Ledger, title: &str) -> String {
    let mut text = nodes(ledger);
    text.push('\n');
    text += &operations(ledger);
    text += &format!("\n{title} on {}\n", ledger.device);
    text += &facts(ledger);
    text
}

fn nodes(ledger: &Ledger) -> String {
    let mut align = vec![Align::Right, Align::Left, Align::Left];
    align.extend([Align::Right; 8]);
    align.extend([Align::Left; 2]);
    let mut table = Table::new(align);
    table.row([
        "node",
        "operation",
        "shapes",
        "min",
        "mean",
        "max",
        "time",
        "share",
        "FLOP",
        "bytes",
        "roofline",
        "scope",
        "recorded at",
    ]);
    for entry in &ledger.entries {
        let first = entry.outputs.first();
        let [min, mean, max] = numbers(first);
        table.row([
            format!("%{}", entry.node),
            entry.operation.to_string(),
            shapes(entry),
            min,
            mean,
            max,
            time(entry.nanoseconds),
            percent(Some(entry.share)),
            scaled(entry.flops as f64, ""),
            scaled((entry.bytes_read + entry.bytes_written) as f64, "B"),
            percent(entry.roofline_share),
            entry.path.clone(),
            format!("{}:{}", entry.file, entry.line),
        ]);
        for output in entry.outputs.iter().skip(1) {
            let [min, mean, max] = numbers(Some(output));
            let shape = format!("→ {}", shape(&output.shape, output.element));
            table.row(["".into(), "".into(), shape, min, mean, max]);
        }
    }
    table.render(0)
}

fn operations(ledger: &Ledger) -> String {
    let mut align = vec![Align::Left];
    align.extend([Align::Right; 5]);
    let mut table = Table::new(align);
    table.row(["operation", "nodes", "time", "share", "FLOP", "bytes"]);
    let mut row = |name: &str, totals: &crate::ledger::Totals, share: f64| {
        table.row([
            name.to_string(),
            totals.nodes.to_string(),
            time(totals.nanoseconds),
            percent(Some(share)),
            scaled(totals.flops as f64, ""),
            scaled((totals.bytes_read + totals.bytes_written) as f64, "B"),
        ]);
    };
    for sum in &ledger.operations {
        row(sum.operation, &sum.totals, sum.share);
    }
    row("total", &ledger.totals, 1.0);
    table.render(0)
}

fn facts(ledger: &Ledger) -> String {
    let mut table = Table::new(vec![Align::Left, Align::Right, Align::Left]);
    let roofline = &ledger.roofline;
    let seconds = ledger.step_nanoseconds as f64 / 1e9;
    table.row([
        "the nodes, one by one".to_string(),
        time(ledger.totals.nanoseconds),
        format!("{}, {}", runs(ledger), ledger.timing.words()),
    ]);
    table.row([
        "a whole step".to_string(),
        time(ledger.step_nanoseconds),
        "by the host's clock, unwatched, inputs sent and results read".to_string(),
    ]);
    table.row([
        "speed of the step".to_string(),
        scaled(ledger.totals.flops as f64 / seconds, "FLOP/s"),
        String::new(),
    ]);
    table.row([
        "limit of computing".to_string(),
        scaled(roofline.flops_per_second, "FLOP/s"),
        format!(
            "measured: product of {0} × {0} matrices",
            roofline.matmul_rows
        ),
    ]);
    table.row([
        "limit of memory".to_string(),
        scaled(roofline.bytes_per_second, "B/s"),
        format!("measured: relu of {} numbers", roofline.relu_elements),
    ]);
    if !ledger.shaders.is_empty() {
        table.row([
            "launches".to_string(),
            ledger.totals.launches.to_string(),
            format!("of {} shaders", ledger.shaders.len()),
        ]);
    }
    let mut text = table.render(2);
    for shader in &ledger.shaders {
        text += &format!("  {}  {}.wgsl\n", shader.sha256, shader.name);
    }
    text
}

fn shapes(entry: &Entry) -> String {
    let inputs = entry
        .inputs
        .iter()
        .map(|input| shape(&input.shape, input.element));
    let output = entry.outputs.first();
    let output = output.map_or(String::new(), |output| shape(&output.shape, output.element));
    let inputs: Vec<String> = inputs.collect();
    format!("{} → {output}", inputs.join(" "))
}

/// `[2, 3]`, and `u32[2, 3]` for indices.
fn shape(lengths: &[usize], element: &str) -> String {
    match element {
        "real" => format!("{lengths:?}"),
        index => format!("{index}{lengths:?}"),
    }
}

/// Minimum, mean and maximum; a value without elements has none, and what is no number says so.
fn numbers(output: Option<&Output>) -> [String; 3] {
    let Some(output) = output.filter(|output| !output.shape.contains(&0)) else {
        return [DASH; 3].map(String::from);
    };
    [output.min, output.mean, output.max].map(|x| match x.is_finite() {
        true => significant(x),
        false => x.to_string(),
    })
}

/// What the times are, over the runs.
pub(super) fn runs(ledger: &Ledger) -> String {
    match ledger.runs {
        1 => "those of one run".to_string(),
        n => format!("medians of {n} runs"),
    }
}

/// A time in the unit that suits it.
pub(super) fn time(nanoseconds: u64) -> String {
    let (unit, size) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => ("µs", 1e3),
        1_000_000..1_000_000_000 => ("ms", 1e6),
        _ => ("s", 1e9),
    };
    format!("{} {unit}", three(nanoseconds as f64 / size))
}

/// A count with a prefix that suits it: `12.3 G`.
pub fn scaled(count: f64, unit: &str) -> String {
    const PREFIXES: [(f64, &str); 5] =
        [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let prefix = PREFIXES.iter().find(|(size, _)| count >= *size);
    let text = match prefix {
        Some((size, prefix)) => format!("{} {prefix}{unit}", three(count / size)),
        None => format!("{count} {unit}"),
    };
    text.trim_end().to_string()
}

/// Three significant digits of a number from 1 to 1000.
fn three(x: f64) -> String {
    let decimals = match x {
        x if x < 9.995 => 2,
        x if x < 99.95 => 1,
        _ => 0,
    };
    format!("{x:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_234, "1.23 µs"),
            (45_678_000, "45.7 ms"),
            (9_996_000, "10.0 ms"),
            (2_000_000_000, "2.00 s"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
        for (count, text) in [
            (0.0, "0"),
            (12.0, "12"),
            (1_500.0, "1.50 k"),
            (37_748_736.0, "37.7 M"),
            (2.1e12, "2.10 T"),
        ] {
            assert_eq!(scaled(count, ""), text);
        }
        assert_eq!(scaled(1.3e11, "FLOP/s"), "130 GFLOP/s");
    }
}
