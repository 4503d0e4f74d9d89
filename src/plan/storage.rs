//! Which values a device stores as halves, and the casts that the steps need between the two storages.
//!
//! A launch has one `Store`. Where a value that it reads lies in the other storage, a copy of it is made in the right one:
//! once, before the first step that needs it, and kept for all others.

use super::{Place, Plan, Step};
use crate::array::Element;
use crate::graph::{Binding, Cost, Graph, Launch, Shader, Storage, Target, ValueId, library};
use std::collections::HashSet;

/// Rounds f32 to f16.
pub static CAST_HALF: Shader = Shader {
    name: "cast_half",
    text: include_str!("../../shaders/plan/cast_half.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// Widens f16 to f32.
pub static CAST_FULL: Shader = Shader {
    name: "cast_full",
    text: include_str!("../../shaders/plan/cast_full.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// How the launches of each node store what may be halves. Assigned values last, and are never halves.
pub(super) fn storages(graph: &Graph, target: &Target) -> Vec<Storage> {
    let mut storages = vec![Storage::Full; graph.nodes().len()];
    let Target::Gpu(limits) = target else {
        return storages;
    };
    let assigned = graph.assigns().iter().map(|&(_, value)| graph.root(value));
    let assigned: HashSet<ValueId> = assigned.collect();
    for (i, node) in graph.nodes().iter().enumerate() {
        let Some(halves) = node.op().map(|op| op.halves()) else {
            continue;
        };
        let lasts = |output| assigned.contains(&ValueId { node: i, output });
        if (0..node.outputs.len()).any(|output| halves.of_output(output) && lasts(output)) {
            continue;
        }
        let mut inputs = node.inputs.iter().enumerate();
        let reads_half = inputs.any(|(input, &value)| {
            halves.of_input(input) && stored(graph, &storages, value) == Storage::Half
        });
        storages[i] = halves.storage(limits.precision, reads_half);
    }
    storages
}

/// How a value lies in memory.
pub(super) fn stored(graph: &Graph, storages: &[Storage], value: ValueId) -> Storage {
    let value = graph.root(value);
    let op = graph.nodes()[value.node].op();
    match op.is_some_and(|op| op.halves().of_output(value.output)) {
        true if graph.spec(value).element == Element::Real => storages[value.node],
        _ => Storage::Full,
    }
}

/// How a node reads an input.
fn read(graph: &Graph, storages: &[Storage], node: usize, input: usize) -> Storage {
    let recorded = &graph.nodes()[node];
    match recorded.op().is_some_and(|op| op.halves().of_input(input)) {
        true if graph.spec(recorded.inputs[input]).element == Element::Real => storages[node],
        _ => Storage::Full,
    }
}

/// Whether a node reads a copy of an input, in the other storage.
pub(super) fn reads_cast(graph: &Graph, storages: &[Storage], node: usize, input: usize) -> bool {
    let value = graph.nodes()[node].inputs[input];
    read(graph, storages, node, input) != stored(graph, storages, value)
}

/// Gives every step the casts that it is the first to need, before its own launches.
pub(super) fn insert_casts(graph: &Graph, storages: &[Storage], steps: &mut [Step]) {
    let mut made = HashSet::new();
    for step in steps {
        let inputs = graph.nodes()[step.node].inputs.iter().enumerate();
        let needed = inputs.filter(|&(input, _)| reads_cast(graph, storages, step.node, input));
        let needed = needed.map(|(_, &value)| graph.root(value));
        step.casts = needed.filter(|&value| made.insert(value)).collect();
        let casts = step.casts.iter().enumerate();
        let casts = casts.map(|(i, &value)| cast(graph, storages, i, value));
        step.launches.splice(0..0, casts.collect::<Vec<_>>());
    }
}

/// The launch of a step's cast number `i`.
fn cast(graph: &Graph, storages: &[Storage], i: usize, value: ValueId) -> Launch {
    let shader = match stored(graph, storages, value) {
        Storage::Full => &CAST_HALF,
        Storage::Half => &CAST_FULL,
    };
    let count = graph.spec(value).shape.elements();
    Launch::new(shader, [Binding::Stored(i), Binding::Cast(i)])
        .stored(Storage::Half)
        .word(count)
        .elements(count, 256)
}

impl Plan {
    /// How a value lies in memory.
    pub fn storage(&self, value: ValueId) -> Storage {
        stored(&self.graph, &self.storages, value)
    }

    /// The words of four bytes that a value takes; in f64 they are of eight.
    pub fn words(&self, value: ValueId) -> usize {
        let elements = self.graph.spec(value).shape.elements();
        self.storage(value).words(elements)
    }

    /// Where a node reads an input, and the words there: the value itself, or its copy in the other storage.
    pub fn operand(&self, node: usize, input: usize) -> (Place, usize) {
        let value = self.graph.nodes()[node].inputs[input];
        match reads_cast(&self.graph, &self.storages, node, input) {
            true => self.cast(value),
            false => (self.place(value), self.words(value)),
        }
    }

    /// Where the copy of a value in the other storage lies while it is needed, and its words. Only of values that some step casts.
    pub fn cast(&self, value: ValueId) -> (Place, usize) {
        let elements = self.graph.spec(value).shape.elements();
        let words = self.storage(value).other().words(elements);
        (Place::Slot(self.casts[&self.graph.root(value)]), words)
    }

    /// How a node reads an input.
    pub fn reads(&self, node: usize, input: usize) -> Storage {
        read(&self.graph, &self.storages, node, input)
    }

    /// A step's cost in f32 with its halves counted as such, and its casts.
    pub(super) fn as_stored(&self, step: &Step, cost: Cost) -> Cost {
        let node = step.node;
        let recorded = &self.graph.nodes()[node];
        let elements = |value| self.graph.spec(value).shape.elements() as u64;
        let bytes = |value, storage| match storage {
            Storage::Full => 4 * elements(value),
            Storage::Half => 2 * elements(value),
        };
        let saved = |value, storage| 4 * elements(value) - bytes(value, storage);
        let inputs = recorded.inputs.iter().enumerate();
        let read = inputs.map(|(input, &value)| saved(value, self.reads(node, input)));
        let outputs = (0..recorded.outputs.len()).map(|output| ValueId { node, output });
        let written = outputs.map(|value| saved(value, self.storage(value)));
        let casts = step.casts.iter();
        let casts = casts.map(|&value| (value, self.storage(value)));
        let copied = casts.clone().map(|(value, storage)| bytes(value, storage));
        let copies = casts.map(|(value, storage)| bytes(value, storage.other()));
        Cost {
            flops: cost.flops,
            bytes_read: cost.bytes_read.saturating_sub(read.sum()) + copied.sum::<u64>(),
            bytes_written: cost.bytes_written.saturating_sub(written.sum()) + copies.sum::<u64>(),
        }
    }
}
