//! Running plans: one trait, three executors.
//!
//! [`Reference`] computes in f64 by the rooms' definitions; [`Cpu`] in f32, fast, on all cores; `Gpu` by the rooms'
//! shaders. An executor keeps parameters and states by name, so that several plans (a training step, the shorter last
//! batch, an evaluation) share them.

mod buffer;
mod compare;
mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
mod host;
mod reference;

pub use compare::{Difference, compare};
pub use cpu::Cpu;
pub use reference::{Expected, Reference, eval, eval_bounded};

use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{Leaf, LeafKind, Node, Target, ValueId};
use crate::plan::Plan;
use serde::Serialize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// A plan made ready on an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared(usize);

/// What is seen of a node the moment it has been computed.
#[derive(Debug)]
pub struct Moment {
    /// The node.
    pub node: usize,
    /// Its values.
    pub outputs: Vec<Array>,
    /// The values that were copied into the other storage just before it, and the copies.
    pub casts: Vec<(ValueId, Array)>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What [`Moment::elapsed`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// The host's clock around the computation alone.
    Computation,
    /// The device's own clock around the node's launches.
    DeviceClock,
    /// The host's clock from the submission until the values are back: the device has no clock.
    RoundTrip,
}

impl Timing {
    /// In words, as they stand behind "time:".
    pub fn words(self) -> &'static str {
        match self {
            Timing::Computation => "the host's clock around the computation",
            Timing::DeviceClock => "the device's own clock",
            Timing::RoundTrip => {
                "the host's clock from submission to read-back: the device has none"
            }
        }
    }
}

/// What a run costs the host where a device computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostTime {
    /// The dispatches that the device is given.
    pub dispatches: usize,
    /// How long it takes to record and submit them, and what comes behind them, without waiting for the device.
    pub elapsed: Duration,
}

/// Sees every node as it is computed, and may end the run.
pub type Watch<'a> = dyn FnMut(Moment) -> ControlFlow<()> + 'a;

/// Something that runs plans.
pub trait Executor {
    /// The device in words: `cpu (2 threads)`, `gpu (llvmpipe, Vulkan)`.
    fn description(&self) -> String;

    /// What plans for this executor must be made for.
    fn target(&self) -> Target;

    /// What the time of a node is in a watched run.
    fn timing(&self) -> Timing {
        Timing::Computation
    }

    /// What the last unwatched run of a plan cost the host; `None` where the host computes itself, or before that run.
    fn host_time(&self, _prepared: Prepared) -> Option<HostTime> {
        None
    }

    /// Makes a plan ready. Lasting leaves that are new to the executor are created; they must be written before a run.
    ///
    /// # Errors
    /// A lasting leaf exists with another shape; memory or pipelines cannot be had.
    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared>;

    /// A plan that was prepared.
    fn plan(&self, prepared: Prepared) -> &Arc<Plan>;

    /// Sets a parameter or state, whose numbers the executor may keep as they lie in memory.
    ///
    /// # Errors
    /// No prepared plan has it, or its shape differs.
    fn write(&mut self, name: &str, value: Array) -> Result<()>;

    /// The present value of a parameter or state.
    ///
    /// # Errors
    /// No prepared plan has it.
    fn read(&mut self, name: &str) -> Result<Array>;

    /// Runs a prepared plan on inputs given by name; gives the graph's outputs in their order and carries out the
    /// assignments. With a watch, every node is seen right after it has been computed; a run that the watch ends
    /// assigns nothing and gives no outputs.
    ///
    /// # Errors
    /// An input is missing, unknown or of another shape; a lasting leaf was never written; the device fails.
    fn run(
        &mut self,
        plan: Prepared,
        inputs: &[(&str, &Array)],
        watch: Option<&mut Watch>,
    ) -> Result<Vec<Array>>;
}

impl dyn Executor + '_ {
    /// Runs up to the node that computes a value, and gives that. Nothing is assigned.
    ///
    /// # Errors
    /// As [`Executor::run`]; or the value is a leaf, which is not computed.
    pub fn run_until(
        &mut self,
        plan: Prepared,
        inputs: &[(&str, &Array)],
        value: ValueId,
    ) -> Result<Array> {
        let graph = self.plan(plan).graph().clone();
        let root = graph.root(value);
        let mut found = None;
        let mut watch = |mut moment: Moment| {
            if moment.node != root.node {
                return ControlFlow::Continue(());
            }
            found = Some(moment.outputs.swap_remove(root.output));
            ControlFlow::Break(())
        };
        if graph.nodes()[root.node].op().is_some() {
            self.run(plan, inputs, Some(&mut watch))?;
        }
        let name = || graph.nodes()[value.node].name();
        let found = found.ok_or_else(|| Error::input(format!("{} is not computed", name())))?;
        Array::new(graph.spec(value).shape, found.numbers().clone())
    }

    /// Runs a plan and gives one row a value: what and where it is, its extremes and mean, and its node's time.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn trace(&mut self, plan: Prepared, inputs: &[(&str, &Array)]) -> Result<Vec<TraceRow>> {
        let graph = self.plan(plan).graph().clone();
        let mut rows = Vec::new();
        let mut watch = |moment: Moment| {
            let node = &graph.nodes()[moment.node];
            for (output, array) in moment.outputs.iter().enumerate() {
                rows.push(TraceRow::new(
                    moment.node,
                    node,
                    output,
                    array,
                    moment.elapsed,
                ));
            }
            ControlFlow::Continue(())
        };
        self.run(plan, inputs, Some(&mut watch))?;
        Ok(rows)
    }
}

/// What a value looked like when it was computed.
#[derive(Clone, Debug)]
pub struct TraceRow {
    /// The node.
    pub node: usize,
    /// Its operation.
    pub name: &'static str,
    /// The scope it was recorded in.
    pub path: Arc<str>,
    /// Shape and element type of the value.
    pub spec: Spec,
    /// Which of its values.
    pub output: usize,
    /// The smallest element; NaN if there is one among them.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The largest element; NaN if there is one among them.
    pub max: f64,
    /// How long the node took.
    pub elapsed: Duration,
}

impl TraceRow {
    fn new(index: usize, node: &Node, output: usize, array: &Array, elapsed: Duration) -> Self {
        let values = array.to_f64();
        let pick = |better: fn(f64, f64) -> bool| {
            values
                .iter()
                .copied()
                .reduce(|a, b| if a.is_nan() || better(a, b) { a } else { b })
                .unwrap_or(f64::NAN)
        };
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Self {
            node: index,
            name: node.op().map_or("", |op| op.name()),
            path: node.path.clone(),
            spec: array.spec(),
            output,
            min: pick(|a, b| a <= b),
            mean,
            max: pick(|a, b| a >= b),
            elapsed,
        }
    }
}

/// The graph's inputs, found by name among those given.
fn match_inputs<'a>(plan: &Plan, given: &[(&str, &'a Array)]) -> Result<Vec<(usize, &'a Array)>> {
    let inputs = plan
        .graph()
        .leaves()
        .filter(|(_, leaf, _)| matches!(leaf.kind, LeafKind::Input));
    let mut found = Vec::new();
    for (value, leaf, spec) in inputs {
        let array = given
            .iter()
            .find(|(name, _)| *name == leaf.name)
            .map(|(_, array)| *array);
        let array = array.ok_or_else(|| {
            Error::input(format!(
                "the input {:?} of shape {spec} is missing",
                leaf.name
            ))
        })?;
        check_spec(&leaf.name, spec, array.spec())?;
        found.push((value.node, array));
    }
    if found.len() == given.len() {
        return Ok(found);
    }
    let known = |name: &str| {
        plan.graph()
            .leaves()
            .any(|(_, leaf, _)| leaf.name == name && matches!(leaf.kind, LeafKind::Input))
    };
    let stranger = given
        .iter()
        .map(|(name, _)| *name)
        .find(|name| !known(name))
        .unwrap_or("(given twice)");
    Err(Error::input(format!("the graph has no input {stranger:?}")))
}

/// That a plan was made for this executor.
fn check_target(executor: &dyn Executor, plan: &Plan) -> Result<()> {
    if plan.target().suits(&executor.target()) {
        return Ok(());
    }
    let (target, own) = (plan.target(), executor.description());
    Err(Error::device(format!(
        "the plan was made for {target:?}, not for {own}"
    )))
}

/// The first of a plan's parameters and states that has never been written, in the graph's order.
fn check_written(plan: &Plan, is_written: impl Fn(&str) -> bool) -> Result<()> {
    let lasting = |leaf: &Leaf| leaf.kind.init().is_some();
    let mut leaves = plan.graph().leaves();
    match leaves.find(|(_, leaf, _)| lasting(leaf) && !is_written(&leaf.name)) {
        Some((_, leaf, _)) => Err(no_value(&leaf.name)),
        None => Ok(()),
    }
}

fn check_spec(name: &str, wanted: Spec, given: Spec) -> Result<()> {
    if wanted == given {
        return Ok(());
    }
    Err(Error::input(format!(
        "{name:?} has shape {wanted}, but {given} was given"
    )))
}

fn no_value(name: &str) -> Error {
    Error::input(format!("{name:?} has no value yet"))
}

fn unknown_leaf(name: &str) -> Error {
    Error::input(format!(
        "no prepared plan has a parameter or state {name:?}"
    ))
}
