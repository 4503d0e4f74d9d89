//! The ledger of a computation: what every operation did, how long it took, and how far that is from the device's
//! limits.
//!
//! A graph is run node by node on an executor, several times; times are medians. Nothing is estimated but the work, which
//! the rooms state: counts and times are whole numbers, so that totals add up exactly. The limits are measured too
//! ([`Roofline`]), on the same executor and by the same clock.

mod roofline;

pub use roofline::{Bound, Roofline};

use crate::array::{Array, Element, Spec};
use crate::error::Result;
use crate::exec::{Executor, Moment, Prepared, Timing, TraceRow};
use crate::graph::{Cost, Graph, Launch, Node};
use crate::ops::{Room, room};
use crate::plan::{Plan, Step};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What every operation of a computation did.
#[derive(Clone, Debug, Serialize)]
pub struct Ledger {
    /// The device in words.
    pub device: String,
    /// What the times are.
    pub timing: Timing,
    /// How many runs the times are medians of.
    pub runs: usize,
    /// The digest of the graph.
    pub graph_sha256: String,
    /// Everything together.
    pub totals: Totals,
    /// The time of a whole step that nobody watches, in nanoseconds by the host's clock: inputs sent, everything computed,
    /// results read. Median of the same number of runs.
    pub step_nanoseconds: u64,
    /// What the device can do at most.
    pub roofline: Roofline,
    /// The operations with the sums over their nodes, the slowest first.
    pub operations: Vec<OperationTotals>,
    /// The nodes, in the order in which they ran.
    pub entries: Vec<Entry>,
    /// The shaders that ran, each once.
    pub shaders: Vec<ShaderText>,
}

/// Sums over nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// How many nodes.
    pub nodes: usize,
    /// Floating-point operations; a multiply-add counts two.
    pub flops: u64,
    /// Bytes read, in single precision, each input of a node once.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Time: the sum of the nodes' medians.
    pub nanoseconds: u64,
    /// Dispatches on a gpu.
    pub launches: usize,
}

impl Totals {
    fn add(&mut self, entry: &Entry) {
        self.nodes += 1;
        self.flops += entry.flops;
        self.bytes_read += entry.bytes_read;
        self.bytes_written += entry.bytes_written;
        self.nanoseconds += entry.nanoseconds;
        self.launches += entry.launches.len();
    }

    fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut totals = Self::default();
        entries.into_iter().for_each(|entry| totals.add(entry));
        totals
    }
}

/// An operation, its room's documentation, and the sums over its nodes.
#[derive(Clone, Debug, Serialize)]
pub struct OperationTotals {
    /// The operation.
    pub operation: &'static str,
    /// The sums.
    #[serde(flatten)]
    pub totals: Totals,
    /// Its share of the time of all nodes, from 0 to 1.
    pub share: f64,
    /// The sentence that opens its room.
    pub summary: String,
    /// The paragraphs of its room: title and text, in the room's order.
    pub documentation: Vec<(&'static str, String)>,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its number in the graph.
    pub node: usize,
    /// The operation.
    pub operation: &'static str,
    /// The operation's attributes, as `key=value …`.
    pub attributes: String,
    /// The path of the scope it was recorded in.
    pub path: String,
    /// The source file that recorded it.
    pub file: &'static str,
    /// The line there.
    pub line: u32,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// What it gives.
    pub outputs: Vec<Output>,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read, in single precision, each input once.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Median time.
    pub nanoseconds: u64,
    /// Its share of the time of all nodes, from 0 to 1.
    pub share: f64,
    /// The least time that the roofline allows for its work.
    pub attainable_nanoseconds: f64,
    /// How near it comes to the roofline: attainable by measured time. Above 1 where data came from a cache that is faster
    /// than memory; `None` where there is no work or no time.
    pub roofline_share: Option<f64>,
    /// What limits it.
    pub bound: Bound,
    /// Its dispatches, on a gpu.
    pub launches: Vec<LaunchEntry>,
}

/// A value that a node reads.
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    /// The node that computes it, or the leaf.
    pub node: usize,
    /// What it is: the operation that computes it, or `input`, `parameter`, `state`, `constant`.
    pub kind: String,
    /// The leaf's name; empty for a computed value.
    pub name: String,
    /// The lengths of its axes.
    pub shape: Vec<usize>,
    /// `real` or `u32`.
    #[serde(rename = "type")]
    pub element: &'static str,
}

/// A value that a node gives.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// The lengths of its axes.
    pub shape: Vec<usize>,
    /// `real` or `u32`.
    #[serde(rename = "type")]
    pub element: &'static str,
    /// The smallest element; NaN if there is one among them.
    #[serde(serialize_with = "any_number")]
    pub min: f64,
    /// The mean.
    #[serde(serialize_with = "any_number")]
    pub mean: f64,
    /// The largest element; NaN if there is one among them.
    #[serde(serialize_with = "any_number")]
    pub max: f64,
}

/// A dispatch.
#[derive(Clone, Debug, Serialize)]
pub struct LaunchEntry {
    /// The shader, by its place in [`Ledger::shaders`].
    pub shader: usize,
    /// Workgroups along x, y, z.
    pub workgroups: [u32; 3],
    /// The values of the shader's `override` constants.
    pub constants: BTreeMap<&'static str, f64>,
}

/// A shader as it was given to the device.
#[derive(Clone, Debug, Serialize)]
pub struct ShaderText {
    /// The stem of its file, and what multiplies its tiles if that is not lanes.
    pub name: String,
    /// SHA-256 of the text.
    pub sha256: String,
    /// The whole text, library parts in front.
    pub text: String,
}

/// JSON has neither NaN nor infinity: they become words.
fn any_number<S: Serializer>(value: &f64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    if value.is_finite() {
        serializer.serialize_f64(*value)
    } else {
        serializer.serialize_str(&value.to_string())
    }
}

impl Ledger {
    /// Runs a graph node by node: once for its values, then `runs` times for its times; then as often at full speed; then
    /// the device's limits. Parameters and states are given anew before every watched run, so that all of them compute the
    /// same, and after the last.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn measure(
        graph: &Arc<Graph>,
        executor: &mut dyn Executor,
        lasting: &[(&str, &Array)],
        inputs: &[(&str, &Array)],
        runs: usize,
    ) -> Result<Self> {
        let plan = Arc::new(Plan::new(graph.clone(), executor.target())?);
        let prepared = executor.prepare(plan.clone())?;
        let give = |executor: &mut dyn Executor| {
            lasting
                .iter()
                .try_for_each(|&(name, value)| executor.write(name, value.clone()))
        };
        give(executor)?;
        let values = executor.trace(prepared, inputs)?;
        let runs = runs.max(1);
        let mut times = vec![Vec::with_capacity(runs); plan.steps().len()];
        for _ in 0..runs {
            if !graph.assigns().is_empty() {
                give(executor)?;
            }
            let times = times.iter_mut();
            node_times(executor, prepared, inputs, times)?;
        }
        let mut whole = Vec::with_capacity(runs);
        for _ in 0..runs {
            let begin = Instant::now();
            executor.run(prepared, inputs, None)?;
            whole.push(begin.elapsed());
        }
        give(executor)?;
        let roofline = Roofline::measure(executor)?;
        let times: Vec<u64> = times.into_iter().map(median).collect();
        let (entries, shaders) = entries(&plan, &values, &times, &roofline);
        Ok(Self {
            device: executor.description(),
            timing: executor.timing(),
            runs,
            graph_sha256: graph.digest(),
            totals: Totals::of(&entries),
            step_nanoseconds: median(whole),
            roofline,
            operations: operations(&entries)?,
            entries,
            shaders,
        })
    }
}

/// Appends the time of every step to its own list.
fn node_times<'a>(
    executor: &mut dyn Executor,
    plan: Prepared,
    inputs: &[(&str, &Array)],
    mut times: impl Iterator<Item = &'a mut Vec<Duration>>,
) -> Result<()> {
    let mut watch = |moment: Moment| {
        if let Some(times) = times.next() {
            times.push(moment.elapsed);
        }
        ControlFlow::Continue(())
    };
    executor.run(plan, inputs, Some(&mut watch)).map(|_| ())
}

fn median(mut times: Vec<Duration>) -> u64 {
    times.sort();
    times
        .get(times.len() / 2)
        .map_or(0, |time| time.as_nanos() as u64)
}

fn entries(
    plan: &Plan,
    values: &[TraceRow],
    times: &[u64],
    roofline: &Roofline,
) -> (Vec<Entry>, Vec<ShaderText>) {
    let total: u64 = times.iter().sum();
    let mut shaders = Shaders::default();
    let entries = plan.steps().iter().zip(times).map(|(step, &nanoseconds)| {
        let node = &plan.graph().nodes()[step.node];
        let cost = plan.step_cost(step);
        let attainable = roofline.attainable_nanoseconds(cost);
        let has_ratio = nanoseconds > 0 && cost != Cost::default();
        Entry {
            node: step.node,
            operation: node.op().map_or("", |op| op.name()),
            attributes: node
                .op()
                .map_or(String::new(), |op| op.attributes().to_string()),
            path: node.path.to_string(),
            file: node.place.file(),
            line: node.place.line(),
            inputs: read_values(plan.graph(), node),
            outputs: given_values(values, step.node),
            flops: cost.flops,
            bytes_read: cost.bytes_read,
            bytes_written: cost.bytes_written,
            nanoseconds,
            share: share(nanoseconds, total),
            attainable_nanoseconds: attainable,
            roofline_share: has_ratio.then(|| attainable / nanoseconds as f64),
            bound: roofline.bound(cost),
            launches: launches(step, &mut shaders),
        }
    });
    let entries = entries.collect();
    (entries, shaders.texts)
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn read_values(graph: &Graph, node: &Node) -> Vec<Input> {
    let read = |&value| {
        let root = graph.root(value).node;
        let source = &graph.nodes()[root];
        let spec = graph.spec(value);
        Input {
            node: root,
            kind: source.name().to_string(),
            name: source
                .leaf()
                .map_or(String::new(), |leaf| leaf.name.clone()),
            shape: spec.shape.to_vec(),
            element: element_name(spec),
        }
    };
    node.inputs.iter().map(read).collect()
}

fn given_values(values: &[TraceRow], node: usize) -> Vec<Output> {
    let first = values.partition_point(|row| row.node < node);
    let own = values[first..].iter().take_while(|row| row.node == node);
    own.map(|row| Output {
        shape: row.spec.shape.to_vec(),
        element: element_name(row.spec),
        min: row.min,
        mean: row.mean,
        max: row.max,
    })
    .collect()
}

fn element_name(spec: Spec) -> &'static str {
    match spec.element {
        Element::Real => "real",
        Element::Index => "u32",
    }
}

/// The dispatches of a step; a node whose outputs are empty has none.
fn launches(step: &Step, shaders: &mut Shaders) -> Vec<LaunchEntry> {
    let launches = step.launches.iter().map(|launch| LaunchEntry {
        shader: shaders.place(launch),
        workgroups: launch.workgroups,
        constants: launch.constants.iter().copied().collect(),
    });
    launches.collect()
}

/// Every shader once.
#[derive(Default)]
struct Shaders {
    texts: Vec<ShaderText>,
}

impl Shaders {
    fn place(&mut self, launch: &Launch) -> usize {
        let name = launch.name();
        let known = self.texts.iter().position(|own| own.name == name);
        known.unwrap_or_else(|| {
            let text = launch.source();
            let digest = Sha256::digest(text.as_bytes());
            self.texts.push(ShaderText {
                name,
                sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
                text,
            });
            self.texts.len() - 1
        })
    }
}

/// The paragraphs of a room that explain it, in order.
const TITLES: [&str; 6] = [
    "Definition",
    "Shape",
    "Gradient",
    "Numerics",
    "Cost",
    "Reference",
];

fn operations(entries: &[Entry]) -> Result<Vec<OperationTotals>> {
    let mut by_name: BTreeMap<&'static str, Totals> = BTreeMap::new();
    for entry in entries {
        by_name.entry(entry.operation).or_default().add(entry);
    }
    let total = entries.iter().map(|entry| entry.nanoseconds).sum();
    let sums = by_name.into_iter().map(|(operation, totals)| {
        let room = room(operation)?;
        Ok(OperationTotals {
            operation,
            totals,
            share: share(totals.nanoseconds, total),
            summary: room.section(""),
            documentation: documentation(room),
        })
    });
    let mut sums: Vec<_> = sums.collect::<Result<_>>()?;
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.totals.nanoseconds));
    Ok(sums)
}

fn documentation(room: &Room) -> Vec<(&'static str, String)> {
    let paragraphs = TITLES.map(|title| (title, room.section(title)));
    let written = paragraphs.into_iter().filter(|(_, text)| !text.is_empty());
    written.collect()
}
