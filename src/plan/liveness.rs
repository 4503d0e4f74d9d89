//! Which values are alive when, and which slots they share.

use super::{Place, Slot, Step};
use crate::array::Element;
use crate::graph::{Graph, ValueId};

/// Gives every value a place: leaves their own buffer, aliases their input's, all others a slot. Fills in the slots of
/// the steps' scratch buffers.
///
/// A slot is free again behind the last step that reads its value (through any alias). Results and assigned values are
/// never freed: they are read after the last step. Of the free slots the smallest that is large enough is taken; if none
/// is, the largest grows.
pub(super) fn assign_slots(
    graph: &Graph,
    steps: &mut [Step],
    scratch_lengths: &[Vec<usize>],
) -> (Vec<Slot>, Vec<Vec<Place>>) {
    let root = |value: ValueId| graph.root(value);
    let mut last_read: Vec<Vec<usize>> = graph
        .nodes()
        .iter()
        .map(|node| vec![0; node.outputs.len()])
        .collect();
    for (i, step) in steps.iter().enumerate() {
        for &input in &graph.nodes()[step.node].inputs {
            let value = root(input);
            last_read[value.node][value.output] = i;
        }
    }
    let results = graph.outputs().iter().map(|(_, value)| value);
    for &value in results.chain(graph.assigns().iter().map(|(_, value)| value)) {
        let value = root(value);
        last_read[value.node][value.output] = usize::MAX;
    }

    let mut pool = Pool::default();
    let leaf_place = |node: usize| {
        if graph.nodes()[node].leaf().is_some() {
            vec![Place::Leaf(node)]
        } else {
            Vec::new()
        }
    };
    let mut places: Vec<Vec<Place>> = (0..graph.nodes().len()).map(leaf_place).collect();
    for (i, step) in steps.iter_mut().enumerate() {
        let node = &graph.nodes()[step.node];
        let slots: Vec<usize> = node
            .outputs
            .iter()
            .map(|spec| pool.take(spec.element, spec.shape.elements()))
            .collect();
        places[step.node] = slots.iter().map(|&slot| Place::Slot(slot)).collect();
        step.scratch = scratch_lengths[i]
            .iter()
            .map(|&length| (pool.take(Element::Real, length), length))
            .collect();

        step.scratch.iter().for_each(|&(slot, _)| pool.give(slot));
        let mut ended: Vec<ValueId> = node.inputs.iter().map(|&input| root(input)).collect();
        ended.extend((0..node.outputs.len()).map(|output| ValueId {
            node: step.node,
            output,
        }));
        ended.sort();
        ended.dedup();
        for value in ended
            .into_iter()
            .filter(|value| last_read[value.node][value.output] <= i)
        {
            if let Place::Slot(slot) = places[value.node][value.output] {
                pool.give(slot);
            }
        }
    }
    for node in 0..places.len() {
        let value = root(ValueId { node, output: 0 });
        if value.node != node {
            places[node] = vec![places[value.node][value.output]];
        }
    }
    (pool.slots, places)
}

/// Slots, and which of them are free.
#[derive(Default)]
struct Pool {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

impl Pool {
    fn take(&mut self, element: Element, length: usize) -> usize {
        let usable = |&&slot: &&usize| self.slots[slot].element == element;
        let fitting = self
            .free
            .iter()
            .filter(usable)
            .filter(|&&slot| self.slots[slot].length >= length);
        let best = fitting.min_by_key(|&&slot| self.slots[slot].length);
        let best = best
            .or_else(|| {
                self.free
                    .iter()
                    .filter(usable)
                    .max_by_key(|&&slot| self.slots[slot].length)
            })
            .copied();
        match best {
            Some(slot) => {
                self.free.retain(|&other| other != slot);
                self.slots[slot].length = self.slots[slot].length.max(length);
                slot
            }
            None => {
                self.slots.push(Slot { element, length });
                self.slots.len() - 1
            }
        }
    }

    fn give(&mut self, slot: usize) {
        debug_assert!(!self.free.contains(&slot), "a slot is freed once");
        self.free.push(slot);
    }
}
