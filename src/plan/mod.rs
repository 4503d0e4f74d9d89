//! From a graph to what an executor does: the order of the steps, where every value lies, and the exact memory.
//!
//! Memory is planned in *slots*: whole buffers that values of disjoint lifetimes share. (Not one arena with offsets: a
//! GPU tracks the use of whole buffers and refuses one that is read and written in the same dispatch.)

mod liveness;
mod print;
mod verify;

use crate::array::Element;
use crate::error::{Error, Result};
use crate::graph::{Cost, Graph, Launch, LeafKind, Limits, Target, ValueId};
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
    /// Its length in elements: that of the largest of them.
    pub length: usize,
}

/// One node's computation.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The node.
    pub node: usize,
    /// The slots of its scratch buffers with their lengths in elements.
    pub scratch: Vec<(usize, usize)>,
    /// Its dispatches, if the plan is for the gpu.
    pub launches: Vec<Launch>,
}

/// A graph made ready for one kind of executor.
#[derive(Debug)]
pub struct Plan {
    graph: Arc<Graph>,
    target: Target,
    steps: Vec<Step>,
    slots: Vec<Slot>,
    places: Vec<Vec<Place>>,
}

impl Plan {
    /// Plans a graph for a target.
    ///
    /// # Errors
    /// For the gpu: an operation that has no shader, or a value larger than a binding may be; the error names it.
    pub fn new(graph: Arc<Graph>, target: Target) -> Result<Self> {
        if let Target::Gpu(limits) = target {
            check_sizes(&graph, &limits)?;
        }
        let mut steps = Vec::new();
        let mut scratch_lengths = Vec::new();
        for (node, recorded) in graph.nodes().iter().enumerate() {
            let Some(op) = recorded.op().filter(|op| op.alias_of_input().is_none()) else {
                continue;
            };
            let inputs = graph.input_specs(node);
            let launches = match target {
                Target::Gpu(limits) => op
                    .launches(&inputs, &limits)
                    .map_err(|e| e.within(format!("{} on the gpu", op.name())))?,
                Target::Reference | Target::Cpu { .. } => Vec::new(),
            };
            steps.push(Step {
                node,
                scratch: Vec::new(),
                launches,
            });
            scratch_lengths.push(op.scratch(&inputs, &target));
        }
        let (slots, places) = liveness::assign_slots(&graph, &mut steps, &scratch_lengths);
        let plan = Self {
            graph,
            target,
            steps,
            slots,
            places,
        };
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

    /// The exact peak: slots and leaves.
    pub fn peak_bytes(&self) -> u64 {
        self.slot_bytes() + self.leaf_bytes()
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

    /// The work of one step.
    pub fn step_cost(&self, step: &Step) -> Cost {
        let op = self.graph.nodes()[step.node].op();
        op.map(|op| op.cost(&self.graph.input_specs(step.node)))
            .unwrap_or_default()
    }

    fn element_bytes(&self, element: Element) -> u64 {
        match (element, self.target) {
            (Element::Real, Target::Reference) => 8,
            _ => 4,
        }
    }
}

/// That every value fits into a binding of the device; if not, says which does not and the largest batch that would.
fn check_sizes(graph: &Graph, limits: &Limits) -> Result<()> {
    let values = graph
        .nodes()
        .iter()
        .flat_map(|node| node.outputs.iter().map(move |spec| (node, spec)));
    let Some((node, spec)) = values.max_by_key(|(_, spec)| spec.shape.elements()) else {
        return Ok(());
    };
    let bytes = 4 * spec.shape.elements() as u64;
    if bytes <= limits.binding_bytes {
        return Ok(());
    }
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
    Err(Error::device(format!(
        "{value}, but the device binds at most {allowed} MiB{advice}"
    )))
}
