//! `axenic audit`: every operation against the f64 reference, on this device.

use super::compute::{Compute, Device};
use super::network::Pass;
use super::subject::{Extent, Subject};
use super::{Outcome, show};
use crate::conformance::{Finding, RoomFindings, Sample, audit, check_room, markdown};
use crate::error::{Error, Result};
use crate::exec::{Executor, compare};
use crate::graph::Graph;
use crate::ops::ROOMS;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Computes everything again in f64 with error bounds, and says where the device is off.
///
/// `ops`: all cases of all operations, forward and gradient. A system, a model or a run folder: one whole training step
/// (forward, backward, update) on made-up images, node by node, each from the device's own inputs, so that errors cannot hide
/// behind one another. The bounds are running error analysis on the very numbers; a ratio above 1 is an error of the
/// device, the driver or the program, and makes the exit code 1. On a gpu a step also runs with all checks of the shader
/// compiler on, and must give the same bits. The cases run in all variants that the device has: tiles of several sizes,
/// multiplied by lanes or, where it has proven ones, by cooperative matrices.
///
/// Example: axenic audit ops --device gpu
#[derive(clap::Args)]
pub(super) struct Audit {
    /// `ops`, a system (`ife`), a model (`resnet18`), or a run folder
    #[arg(value_name = "ops|SYSTEM|MODEL|RUN")]
    target: String,
    /// Compute only so many random pieces of each node again
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
    #[command(flatten)]
    extent: Extent,
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// With `ops`: run on all three executors and print the README's table of operations
    #[arg(long)]
    markdown: bool,
    #[command(flatten)]
    compute: Compute,
}

/// A finding as it is printed.
#[derive(Serialize)]
struct Row {
    operation: &'static str,
    /// The case, or the scope and source place of the node.
    place: String,
    shape: String,
    checked: usize,
    elements: usize,
    element: usize,
    error: f64,
    bound: f64,
    /// Infinity becomes null in JSON.
    ratio: f64,
}

impl Row {
    fn new(finding: &Finding, place: String, shape: String) -> Self {
        Self {
            operation: finding.op,
            place,
            shape,
            checked: finding.checked,
            elements: finding.elements,
            element: finding.element,
            error: finding.error,
            bound: finding.bound,
            ratio: finding.ratio,
        }
    }
}

impl Audit {
    pub(super) fn run(self) -> Result<Outcome> {
        match (self.target.as_str(), self.markdown) {
            ("ops", true) => self.markdown(),
            ("ops", false) => self.operations(),
            (_, true) => Err(Error::input("--markdown goes with `axenic audit ops`")),
            (_, false) => self.step(),
        }
    }

    fn markdown(&self) -> Result<Outcome> {
        let devices = [Device::Reference, Device::Cpu, Device::Gpu];
        let mut executors = Vec::new();
        for device in devices {
            executors.push(
                Compute {
                    device,
                    ..self.compute.clone()
                }
                .executor()?,
            );
        }
        let mut rows = Vec::new();
        for room in ROOMS {
            let mut within = Vec::new();
            for executor in &mut executors {
                within.push(check_room(room, executor.as_mut())?.ratio() <= 1.0);
            }
            rows.push((room.name, room.cases().len(), within));
        }
        show::result(&markdown(&["reference", "cpu", "gpu"], &rows))?;
        let all = rows
            .iter()
            .all(|(_, _, within)| within.iter().all(|within| *within));
        Ok(if all {
            Outcome::Done
        } else {
            Outcome::Incomplete
        })
    }

    fn operations(&self) -> Result<Outcome> {
        let mut executor = self.compute.executor()?;
        let mut found = Vec::new();
        for room in ROOMS {
            found.push(check_room(room, executor.as_mut())?);
        }
        let worst = found.iter().map(RoomFindings::ratio).fold(0.0, f64::max);
        let device = executor.description();
        let variants: usize = executor.target().variants().iter().map(Vec::len).sum();
        if self.json {
            show::json(&json!({
                "device": device,
                "variants": variants,
                "operations": found.iter().map(room_json).collect::<Vec<_>>(),
                "worst_ratio": finite(worst),
                "passed": worst <= 1.0,
            }))?;
        } else {
            let cases: usize = found.iter().map(|room| room.cases).sum();
            let beyond = found.iter().filter(|room| room.ratio() > 1.0).count();
            show::result(&show::table(&room_table(&found)))?;
            show::result(&format!(
                "\n{} operations, {cases} cases, {variants} {} on {device}: {}\n",
                found.len(),
                if variants == 1 { "variant" } else { "variants" },
                verdict(beyond, worst)
            ))?;
        }
        Ok(outcome(worst))
    }

    fn step(&self) -> Result<Outcome> {
        let subject = Subject::open(
            &self.target,
            &self.extent,
            Pass::TrainingStep,
            None,
            self.compute.precision(),
        )?;
        let (lasting, inputs) = (subject.lasting(), subject.inputs());
        let mut executor = self.compute.executor()?;
        let sample = match self.sample {
            Some(count) => Sample::Random(count as usize, self.extent.seed),
            None => Sample::All,
        };
        let graph = &Arc::new(self.compute.graph(&subject.graph));
        let findings = audit(graph, executor.as_mut(), &lasting, &inputs, sample)?;
        let differing = match self.compute.checked_twin()? {
            None => None,
            Some(mut twin) => Some(
                compare(graph, executor.as_mut(), twin.as_mut(), &lasting, &inputs)?
                    .iter()
                    .filter(|difference| difference.largest != 0.0)
                    .count(),
            ),
        };
        let rows: Vec<Row> = findings
            .iter()
            .map(|finding| node_row(graph, finding))
            .collect();
        self.print_step(executor.as_ref(), &rows, differing)?;
        let worst = rows.iter().map(|row| row.ratio).fold(0.0, f64::max);
        Ok(match differing {
            Some(1..) => Outcome::Incomplete,
            _ => outcome(worst),
        })
    }

    fn print_step(
        &self,
        executor: &dyn Executor,
        rows: &[Row],
        differing: Option<usize>,
    ) -> Result<()> {
        let (checked, elements) = rows.iter().fold((0, 0), |(checked, elements), row| {
            (checked + row.checked, elements + row.elements)
        });
        let beyond: Vec<&Row> = rows.iter().filter(|row| row.ratio > 1.0).collect();
        let worst = rows.iter().max_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let share = checked as f64 / elements.max(1) as f64;
        if self.json {
            return show::json(&json!({
                "device": executor.description(),
                "nodes": rows,
                "checked": checked,
                "elements": elements,
                "share": share,
                "first_beyond": beyond.first(),
                "worst": worst,
                "values_that_checks_change": differing,
                "passed": beyond.is_empty() && differing.unwrap_or(0) == 0,
            }));
        }
        let mut table = vec![
            [
                "operation",
                "where",
                "shape",
                "checked",
                "error",
                "bound",
                "ratio",
            ]
            .map(String::from)
            .to_vec(),
        ];
        table.extend(rows.iter().map(|row| {
            vec![
                row.operation.to_string(),
                row.place.clone(),
                row.shape.clone(),
                row.checked.to_string(),
                format!("{:.2e}", row.error),
                format!("{:.2e}", row.bound),
                format!("{:.4}", row.ratio),
            ]
        }));
        show::result(&show::table(&table))?;
        let name = |row: &Row| format!("{} {} ({:.4})", row.operation, row.place, row.ratio);
        let mut text = format!(
            "\n{} values of a training step on {}, {checked} of {elements} elements ({:.2} %) computed again: {}\n",
            rows.len(),
            executor.description(),
            100.0 * share,
            verdict(beyond.len(), worst.map_or(0.0, |row| row.ratio)),
        );
        if let Some(first) = beyond.first() {
            text.push_str(&format!("first beyond its bound: {}\n", name(first)));
        }
        if let Some(worst) = worst {
            text.push_str(&format!("worst: {}\n", name(worst)));
        }
        match differing {
            None => {}
            Some(0) => text.push_str("shaders with and without checks: the same bits\n"),
            Some(n) => text.push_str(&format!(
                "shaders with and without checks differ in {n} values\n"
            )),
        }
        show::result(&text)
    }
}

fn node_row(graph: &Graph, finding: &Finding) -> Row {
    let node = &graph.nodes()[finding.node];
    let mut place = format!("{} {}:{}", node.path, node.place.file(), node.place.line());
    if node.outputs.len() > 1 {
        place.push_str(&format!(" output {}", finding.output));
    }
    let shape = node.outputs[finding.output].to_string();
    Row::new(finding, place.trim().to_string(), shape)
}

fn room_json(room: &RoomFindings) -> Value {
    let part = |part: &Option<(&'static str, Finding)>| {
        part.as_ref()
            .map(|(case, finding)| Row::new(finding, case.to_string(), String::new()))
            .map(|row| {
                json!({
                    "operation": row.operation, "case": row.place, "element": row.element, "error": finite(row.error),
                    "bound": finite(row.bound), "ratio": finite(row.ratio),
                })
            })
    };
    json!({
        "name": room.name,
        "cases": room.cases,
        "elements": room.elements,
        "forward": part(&room.forward),
        "gradient": part(&room.gradient),
        "ratio": finite(room.ratio()),
    })
}

fn room_table(found: &[RoomFindings]) -> Vec<Vec<String>> {
    let head = [
        "operation",
        "cases",
        "elements",
        "error",
        "bound",
        "ratio",
        "gradient",
        "where",
    ];
    let mut table = vec![head.map(String::from).to_vec()];
    for room in found {
        let worst = [&room.forward, &room.gradient].into_iter().flatten();
        let worst = worst.max_by(|a, b| a.1.ratio.total_cmp(&b.1.ratio));
        let ratio = |part: &Option<(&str, Finding)>| {
            part.as_ref()
                .map_or("–".into(), |(_, finding)| format!("{:.4}", finding.ratio))
        };
        table.push(vec![
            room.name.to_string(),
            room.cases.to_string(),
            room.elements.to_string(),
            worst.map_or(String::new(), |(_, finding)| {
                format!("{:.2e}", finding.error)
            }),
            worst.map_or(String::new(), |(_, finding)| {
                format!("{:.2e}", finding.bound)
            }),
            ratio(&room.forward),
            ratio(&room.gradient),
            worst.map_or(String::new(), |(case, finding)| match finding.op {
                op if op == room.name => case.to_string(),
                op => format!("{case}, in {op}"),
            }),
        ]);
    }
    table
}

fn verdict(beyond: usize, worst: f64) -> String {
    match beyond {
        0 => format!("all within their bounds, the worst at {worst:.4} of its bound"),
        n => format!("{n} beyond their bounds, the worst at {worst:.4} times its bound"),
    }
}

fn outcome(worst: f64) -> Outcome {
    if worst <= 1.0 {
        Outcome::Done
    } else {
        Outcome::Incomplete
    }
}

/// JSON has no infinity.
fn finite(x: f64) -> Value {
    if x.is_finite() {
        json!(x)
    } else {
        json!(x.to_string())
    }
}
