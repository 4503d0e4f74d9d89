//! Is an executor right? Checks any operation, or any whole graph, on any executor, node by node.
//!
//! Every node is computed again in [`Bounded`](crate::real::Bounded) arithmetic *from the executor's own inputs to that
//! node*, so that errors cannot hide behind one another, and its outputs must lie within the error bound that this
//! yields. The reference's gradient rules are checked against central differences.

mod alone;
mod rooms;

pub use alone::record_alone;
pub use rooms::{RoomFindings, check_case, check_gradient, check_room, markdown};

use crate::array::{Array, Element};
use crate::error::{Error, Result};
use crate::exec::{Executor, Expected, Moment, eval_bounded};
use crate::graph::{Graph, LeafKind, Node, Parts, Storage, Target, ValueId};
use crate::plan::Plan;
use crate::rng::Stream;
use crate::workers::Workers;
use std::collections::{BTreeSet, HashMap};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// How one value of one node compares with its bound.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The node in its graph.
    pub node: usize,
    /// Which of its values.
    pub output: usize,
    /// The operation.
    pub op: &'static str,
    /// How many elements were computed again.
    pub checked: usize,
    /// How many there are.
    pub elements: usize,
    /// The element with the largest ratio.
    pub element: usize,
    /// The error there.
    pub error: f64,
    /// The bound there.
    pub bound: f64,
    /// error / bound; 0 where both are 0, infinite where only the bound is, where a NaN appeared, and where a finite value
    /// has no finite bound, which would let anything pass.
    pub ratio: f64,
}

/// Which elements of a value are computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// All of them.
    All,
    /// As many pieces of each node as this, drawn at random, with the seed; a piece is what an operation can compute alone:
    /// an element, or a row where its elements hang together.
    Random(usize, u64),
}

/// Runs a graph on an executor and compares every node's values with their bounds.
///
/// # Errors
/// As [`Executor::run`].
pub fn audit(
    graph: &Arc<Graph>,
    executor: &mut dyn Executor,
    lasting: &[(&str, &Array)],
    inputs: &[(&str, &Array)],
    sample: Sample,
) -> Result<Vec<Finding>> {
    let plan = Plan::new(graph.clone(), executor.target())?;
    audit_plan(Arc::new(plan), executor, lasting, inputs, sample)
}

/// Runs a plan as [`audit`] does a graph.
fn audit_plan(
    plan: Arc<Plan>,
    executor: &mut dyn Executor,
    lasting: &[(&str, &Array)],
    inputs: &[(&str, &Array)],
    sample: Sample,
) -> Result<Vec<Finding>> {
    let prepared = executor.prepare(plan.clone())?;
    lasting
        .iter()
        .try_for_each(|&(name, value)| executor.write(name, value.clone()))?;
    let mut audit = Audit::new(&plan, sample)?;
    let parts = plan.steps().iter().filter_map(|step| {
        let of_launches = step
            .launches
            .iter()
            .find_map(|launch| launch.products.parts());
        of_launches.map(|parts| (step.node, parts))
    });
    audit.parts = parts.collect();
    audit.is_f64 = executor.target() == Target::Reference;
    audit.take_leaves(lasting, inputs)?;
    let mut failure = None;
    let mut watch = |moment: Moment| match audit.check(moment) {
        Ok(()) => ControlFlow::Continue(()),
        Err(e) => {
            failure = Some(e);
            ControlFlow::Break(())
        }
    };
    executor.run(prepared, inputs, Some(&mut watch))?;
    match failure {
        Some(e) => Err(e),
        None => Ok(audit.findings),
    }
}

/// An audit under way: the values that nodes still to come will read, as the executor computed them.
struct Audit<'a> {
    plan: &'a Plan,
    graph: &'a Graph,
    sample: Sample,
    /// Whether the executor holds reals in f64.
    is_f64: bool,
    /// The nodes that matrices multiply, and what their operands are given as.
    parts: HashMap<usize, Parts>,
    workers: Workers,
    values: HashMap<ValueId, Array>,
    /// Copies of them in the other storage.
    casts: HashMap<ValueId, Array>,
    /// How many nodes are still to read a value.
    readers: HashMap<ValueId, usize>,
    findings: Vec<Finding>,
}

impl<'a> Audit<'a> {
    fn new(plan: &'a Plan, sample: Sample) -> Result<Self> {
        let graph = plan.graph().as_ref();
        let mut readers = HashMap::new();
        for value in graph
            .nodes()
            .iter()
            .filter(|node| is_step(node))
            .flat_map(|node| &node.inputs)
        {
            *readers.entry(graph.root(*value)).or_insert(0) += 1;
        }
        Ok(Self {
            plan,
            graph,
            sample,
            is_f64: false,
            parts: HashMap::new(),
            workers: Workers::new(0)?,
            values: HashMap::new(),
            casts: HashMap::new(),
            readers,
            findings: Vec::new(),
        })
    }

    fn take_leaves(&mut self, lasting: &[(&str, &Array)], inputs: &[(&str, &Array)]) -> Result<()> {
        for (value, leaf, _) in self.graph.leaves() {
            let given = match &leaf.kind {
                LeafKind::Constant(array) => Some(array.as_ref()),
                LeafKind::Input => named(inputs, &leaf.name),
                _ => named(lasting, &leaf.name),
            };
            let missing = || Error::input(format!("{:?} was not given", leaf.name));
            self.values
                .insert(value, self.as_held(given.ok_or_else(missing)?)?);
        }
        Ok(())
    }

    /// What the executor holds of numbers that were given to it.
    fn as_held(&self, array: &Array) -> Result<Array> {
        match array.spec().element {
            Element::Real if !self.is_f64 => Array::new(array.shape(), array.to_f32().into_owned()),
            _ => Ok(array.clone()),
        }
    }

    /// Computes a step again from the values that the executor held, compares, and keeps what is still to be read.
    fn check(&mut self, moment: Moment) -> Result<()> {
        let (i, outputs) = (moment.node, moment.outputs);
        let node = &self.graph.nodes()[i];
        let Some(op) = node.op() else { return Ok(()) };
        let casts = moment
            .casts
            .iter()
            .map(|(value, copy)| self.cast(*value, copy));
        let casts = casts.collect::<Result<Vec<_>>>()?;
        self.casts.extend(moment.casts);
        let inputs: Vec<Array> = (0..node.inputs.len())
            .map(|input| self.read(i, input))
            .collect::<Result<_>>()?;
        let pieces = self.pieces(i, op.pieces(&node.outputs));
        let parts = self.parts.get(&i).copied();
        let mut expected = eval_bounded(op, &inputs, parts, &pieces, &self.workers)?;
        if self.reads_overflown(i, &inputs) {
            // What comes of infinity has no bound, and a device may multiply it by padding.
            for (expected, got) in expected.iter_mut().zip(&outputs) {
                let got = got.to_f64();
                expected.retain(|one| one.bound.is_finite() && got[one.element].is_finite());
            }
        }
        for (output, (got, expected)) in outputs.iter().zip(expected).enumerate() {
            let storage = self.plan.storage(ValueId { node: i, output });
            self.findings
                .push(finding([i, output], op.name(), got, &expected, storage));
        }
        self.findings.extend(casts);
        for value in &node.inputs {
            let value = self.graph.root(*value);
            if let Some(readers) = self.readers.get_mut(&value) {
                *readers -= 1;
                if *readers == 0 {
                    self.values.remove(&value);
                    self.casts.remove(&value);
                }
            }
        }
        for (output, array) in outputs.into_iter().enumerate() {
            let value = ValueId { node: i, output };
            if self.readers.contains_key(&value) {
                self.values.insert(value, array);
            }
        }
        Ok(())
    }

    /// An input as its node reads it: the value as the executor holds it, or its copy in the other storage.
    fn read(&self, node: usize, input: usize) -> Result<Array> {
        let value = self.graph.nodes()[node].inputs[input];
        match self.plan.reads(node, input) == self.plan.storage(value) {
            true => self.held(&self.values, value),
            false => self.held(&self.casts, value),
        }
    }

    /// Whether numbers beyond the range of halves are among a node's inputs.
    fn reads_overflown(&self, node: usize, inputs: &[Array]) -> bool {
        let mut inputs = inputs.iter().enumerate();
        inputs.any(|(input, array)| {
            self.plan.reads(node, input) == Storage::Half && !array.is_finite()
        })
    }

    /// One of the values that the executor holds; an alias has the numbers of its root.
    fn held(&self, values: &HashMap<ValueId, Array>, value: ValueId) -> Result<Array> {
        let missing = || {
            let name = self.graph.nodes()[value.node].name();
            Error::device(format!("the executor did not show node {name}"))
        };
        let held = values.get(&self.graph.root(value)).ok_or_else(missing)?;
        Array::new(self.graph.spec(value).shape, held.numbers().clone())
    }

    /// Compares a copy with its value: a half is the value rounded, anything else the value itself.
    fn cast(&self, value: ValueId, copy: &Array) -> Result<Finding> {
        let numbers = self.held(&self.values, value)?.to_f64().into_owned();
        let exact = numbers.into_iter().enumerate();
        let exact = exact.map(|(element, value)| Expected {
            element,
            value,
            bound: 0.0,
        });
        let storage = self.plan.storage(value).other();
        let at = [value.node, value.output];
        Ok(finding(
            at,
            "cast",
            copy,
            &exact.collect::<Vec<_>>(),
            storage,
        ))
    }

    /// The pieces of a node to compute again, in runs.
    fn pieces(&self, node: usize, all: usize) -> Vec<Range<usize>> {
        match self.sample {
            Sample::Random(count, seed) if count < all => {
                let mut stream = Stream::new(seed, "audit", 0, node as u64);
                let chosen: BTreeSet<usize> = (0..count).map(|_| stream.below(all)).collect();
                chosen.into_iter().map(|piece| piece..piece + 1).collect()
            }
            _ => {
                let length = all.div_ceil(RUNS).max(1);
                (0..all)
                    .step_by(length)
                    .map(|first| first..(first + length).min(all))
                    .collect()
            }
        }
    }
}

/// The runs into which the pieces of a node are cut for the workers.
const RUNS: usize = 64;

fn named<'a>(all: &[(&str, &'a Array)], name: &str) -> Option<&'a Array> {
    let found = all.iter().find(|(own, _)| *own == name);
    found.map(|(_, array)| *array)
}

fn is_step(node: &Node) -> bool {
    node.op().is_some_and(|op| op.alias_of_input().is_none())
}

/// A value, and how far it may lie from what is expected, as a half: rounded to one of its two neighbours, as WGSL promises.
/// Infinity counts as 2¹⁶, the number that would come next.
fn as_half(value: f64, bound: f64) -> (f64, f64) {
    let value = value.clamp(-65536.0, 65536.0);
    let bound = bound + (value.abs() + bound) * 2f64.powi(-10) + 2f64.powi(-24);
    (value, bound)
}

fn finding(
    [node, output]: [usize; 2],
    op: &'static str,
    got: &Array,
    expected: &[Expected],
    storage: Storage,
) -> Finding {
    let mut worst = Finding {
        node,
        output,
        op,
        checked: expected.len(),
        elements: got.shape().elements(),
        element: 0,
        error: 0.0,
        bound: 0.0,
        ratio: 0.0,
    };
    let got = got.to_f64();
    for (
        i,
        &Expected {
            element,
            value,
            bound,
        },
    ) in expected.iter().enumerate()
    {
        let (x, value, bound) = match storage {
            Storage::Full => (got[element], value, bound),
            Storage::Half => {
                let (value, bound) = as_half(value, bound);
                (got[element].clamp(-65536.0, 65536.0), value, bound)
            }
        };
        let error = match (x.is_nan(), value.is_nan()) {
            (true, true) => 0.0,
            (false, false) if x == value => 0.0,
            (false, false) => (x - value).abs(),
            _ => f64::INFINITY,
        };
        let ratio = if error == 0.0 { 0.0 } else { error / bound };
        let proves_nothing = value.is_finite() && !bound.is_finite();
        let ratio = if proves_nothing || ratio.is_nan() {
            f64::INFINITY
        } else {
            ratio
        };
        if ratio > worst.ratio || i == 0 {
            worst = Finding {
                element,
                error,
                bound,
                ratio,
                ..worst
            };
        }
    }
    worst
}
