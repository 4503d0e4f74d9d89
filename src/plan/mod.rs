//! From a graph to what an executor does: the order of the steps, where every value lies, and the exact memory.
//!
//! Memory is planned in *slots*: whole buffers that values of disjoint lifetimes share. What operations keep of parameters from run
//! to run has buffers of its own. (Not one arena with offsets: a
//! GPU tracks the use of whole buffers and refuses one that is read and written in the same dispatch.)

mod liveness;
mod print;
mod storage;
mod verify;

pub use storage::{CAST_FULL, CAST_HALF};

use crate::array::Element;
use crate::error::{Error, Result};
use crate::graph::{Cost, Graph, Kept, Launch, LeafKind, Limits, Storage, Target, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// Where a value lies while it is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the buffer of a leaf, named by its node.
    Leaf(usize),
    /// In a slot.
    Slot(usize),
}

/// A buffer that several values use in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The type of all values that ever lie in it.
    pub element: Element,
    /// Its length in words of four bytes (of eight in f64): that of the largest of them. Two halves share a word.
    pub length: usize,
}

/// One node's computation.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The node.
    pub node: usize,
    /// The values that are copied into the other storage before it.
    pub casts: Vec<ValueId>,
    /// The slots of its scratch buffers with their lengths in elements.
    pub scratch: Vec<(usize, usize)>,
    /// What is computed of an input before it. Where that outlasts the run it lies in a buffer of its own, else in the last of the
    /// scratch buffers.
    pub kept: Option<Keeping>,
    /// Its dispatches, the casts first, if the plan is for the gpu. A node whose outputs are empty has none of its own.
    pub launches: Vec<Launch>,
}

/// What a step needs of an input, computed before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Which input, and how many elements.
    pub what: Kept,
    /// Whether it stays as long as its input is not written: where that is a leaf, and no run of the plan assigns any.
    pub outlasts: bool,
}

/// A graph made ready for one kind of executor.
#[derive(Debug)]
pub struct Plan {
    graph: Arc<Graph>,
    target: Target,
    steps: Vec<Step>,
    slots: Vec<Slot>,
    places: Vec<Vec<Place>>,
    /// By node, how its launches store what may be halves.
    storages: Vec<Storage>,
    /// The slots of the copies in the other storage.
    casts: HashMap<ValueId, usize>,
}

impl Plan {
    /// Plans a graph for a target.
    ///
    /// # Errors
    /// For the gpu: an operation that has no shader, or a value larger than a binding may be; the error names it.
    pub fn new(graph: Arc<Graph>, target: Target) -> Result<Self> {
        let storages = storage::storages(&graph, &target);
        let mut steps = Vec::new();
        let mut scratch_lengths = Vec::new();
        for (node, recorded) in graph.nodes().iter().enumerate() {
            let Some(op) = recorded.op().filter(|op| op.alias_of_input().is_none()) else {
                continue;
            };
            let inputs = graph.input_specs(node);
            let is_empty = recorded
                .outputs
                .iter()
                .all(|spec| spec.shape.elements() == 0);
            let storage = storages[node];
            let target = target.storing(storage);
            let launches = match target {
                Target::Gpu(limits) if !is_empty => op
                    .launches(&inputs, &limits)
                    .map_err(|e| e.within(format!("{} on the gpu", op.name())))?,
                _ => Vec::new(),
            };
            let launches = launches.into_iter();
            let kept = match target {
                Target::Cpu { .. } => op.kept(&inputs),
                _ => None,
            };
            let kept = kept.map(|what| Keeping {
                what,
                outlasts: is_steady(&graph, recorded.inputs[what.input]),
            });
            steps.push(Step {
                node,
                casts: Vec::new(),
                scratch: Vec::new(),
                kept,
                launches: launches.map(|own| own.stored(storage)).collect(),
            });
            let mut lengths = op.scratch(&inputs, &target);
            let passing = kept.filter(|kept| !kept.outlasts);
            lengths.extend(passing.map(|kept| kept.what.length));
            scratch_lengths.push(lengths);
        }
        storage::insert_casts(&graph, &storages, &mut steps);
        let liveness::Memory {
            slots,
            places,
            casts,
        } = liveness::assign_slots(&graph, &storages, &mut steps, &scratch_lengths);
        let plan = Self {
            graph,
            target,
            steps,
            slots,
            places,
            storages,
            casts,
        };
        if let Target::Gpu(limits) = target {
            plan.check_sizes(&limits)?;
        }
        plan.verify()?;
        Ok(plan)
    }

    /// The graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// What the plan is for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The steps, in order. Aliases and leaves are no steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The slots.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Where a value lies.
    pub fn place(&self, value: ValueId) -> Place {
        self.places[value.node][value.output]
    }

    /// Bytes of all slots together: the peak of what a run needs beside its leaves.
    pub fn slot_bytes(&self) -> u64 {
        self.slots
            .iter()
            .map(|slot| slot.length as u64 * self.element_bytes(slot.element))
            .sum()
    }

    /// Bytes of inputs, parameters, states and constants.
    pub fn leaf_bytes(&self) -> u64 {
        let bytes = |element, n: usize| n as u64 * self.element_bytes(element);
        self.graph
            .leaves()
            .map(|(_, _, spec)| bytes(spec.element, spec.shape.elements()))
            .sum()
    }

    /// Bytes of what is kept of leaves from run to run.
    pub fn kept_bytes(&self) -> u64 {
        let kept = self.steps.iter().filter_map(|step| step.kept);
        let lasting = kept.filter(|kept| kept.outlasts);
        lasting.map(|kept| 4 * kept.what.length as u64).sum()
    }

    /// The exact peak: slots, leaves and what is kept.
    pub fn peak_bytes(&self) -> u64 {
        self.slot_bytes() + self.leaf_bytes() + self.kept_bytes()
    }

    /// The work of all steps together.
    pub fn cost(&self) -> Cost {
        self.steps
            .iter()
            .map(|step| self.step_cost(step))
            .fold(Cost::default(), |a, b| Cost {
                flops: a.flops + b.flops,
                bytes_read: a.bytes_read + b.bytes_read,
                bytes_written: a.bytes_written + b.bytes_written,
            })
    }

    /// The work of one step, its casts included.
    pub fn step_cost(&self, step: &Step) -> Cost {
        let op = self.graph.nodes()[step.node].op();
        let cost = op.map(|op| op.cost(&self.graph.input_specs(step.node)));
        self.as_stored(step, cost.unwrap_or_default())
    }

    fn element_bytes(&self, element: Element) -> u64 {
        match (element, self.target) {
            (Element::Real, Target::Reference) => 8,
            _ => 4,
        }
    }

    /// That every value fits into a binding of the device, and so does its copy; if not, says which does not and the
    /// largest batch that would.
    fn check_sizes(&self, limits: &Limits) -> Result<()> {
        let nodes = self.graph.nodes().iter().enumerate();
        let values = nodes.flat_map(|(node, own)| {
            (0..own.outputs.len()).map(move |output| ValueId { node, output })
        });
        let words = |value: &ValueId| match self.casts.contains_key(value) {
            true => self.words(*value).max(self.cast(*value).1),
            false => self.words(*value),
        };
        let Some(value) = values.max_by_key(words) else {
            return Ok(());
        };
        let bytes = 4 * words(&value) as u64;
        if bytes <= limits.binding_bytes {
            return Ok(());
        }
        Err(does_not_fit(&self.graph, value, bytes, limits))
    }
}

/// Whether a value lies in a leaf that does not come with a run, in a graph that assigns none: at inference. A training step has
/// better use for the memory, and changes most leaves.
fn is_steady(graph: &Graph, value: ValueId) -> bool {
    let leaf = graph.nodes()[graph.root(value).node].leaf();
    leaf.is_some_and(|leaf| !matches!(leaf.kind, LeafKind::Input)) && graph.assigns().is_empty()
}

/// Which value does not fit into a binding of the device, and the largest batch that would.
fn does_not_fit(graph: &Graph, value: ValueId, bytes: u64, limits: &Limits) -> Error {
    let (node, spec) = (&graph.nodes()[value.node], graph.spec(value));
    let allowed = limits.binding_bytes >> 20;
    let path = if node.path.is_empty() {
        String::new()
    } else {
        format!(" in {}", node.path)
    };
    let value = format!(
        "the output {spec} of {}{path} takes {} MiB",
        node.name(),
        bytes >> 20
    );
    let batch = graph
        .leaves()
        .find(|(_, leaf, _)| matches!(leaf.kind, LeafKind::Input))
        .map(|(_, _, spec)| spec.shape);
    let advice = match batch.as_deref() {
        Some([batch, ..]) if spec.shape.first() == Some(batch) => {
            let largest = *batch as u64 * limits.binding_bytes / bytes;
            match largest {
                0 => "; not even one sample would fit".into(),
                _ => format!("; a batch of {largest} would fit"),
            }
        }
        _ => String::new(),
    };
    Error::device(format!(
        "{value}, but the device binds at most {allowed} MiB{advice}"
    ))
}
