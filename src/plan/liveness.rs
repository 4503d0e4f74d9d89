//! Which values are alive when, and which slots they share.

use super::storage::{reads_cast, stored};
use super::{Place, Slot, Step};
use crate::array::Element;
use crate::graph::{Graph, Storage, ValueId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// Something that needs memory from one step to another, both included: a slot cannot be read and written by one step.
struct Span {
    element: Element,
    length: usize,
    first: usize,
    last: usize,
    owner: Owner,
}

/// Whose memory it is.
enum Owner {
    /// An output of a node.
    Value(ValueId),
    /// A copy of a value in the other storage.
    Cast(ValueId),
    /// The scratch buffer of this number of a step.
    Scratch(usize, usize),
}

/// Where everything lies.
pub(super) struct Memory {
    pub(super) slots: Vec<Slot>,
    /// By node and output.
    pub(super) places: Vec<Vec<Place>>,
    /// The slots of the copies.
    pub(super) casts: HashMap<ValueId, usize>,
}

/// Gives every value a place: leaves their own buffer, aliases their input's, all others a slot. Fills in the slots of
/// the steps' scratch buffers.
///
/// A slot is free again behind the last step that reads its value (through any alias). Results and assigned values are
/// never freed: they are read after the last step.
///
/// The largest values choose first, each the slot that has been free for the shortest time, or a new one: so no slot ever
/// grows, and no small value that lives for long sits in a slot that a large one could have had.
///
/// Reference: Pisarchyk and Lee, *Efficient Memory Management for Deep Neural Net Inference*, 2020, section 4.2 (greedy by
/// size, shared objects).
pub(super) fn assign_slots(
    graph: &Graph,
    storages: &[Storage],
    steps: &mut [Step],
    scratch_lengths: &[Vec<usize>],
) -> Memory {
    let mut casts = HashMap::new();
    let mut places: Vec<Vec<Place>> = graph
        .nodes()
        .iter()
        .enumerate()
        .map(|(node, recorded)| vec![Place::Leaf(node); recorded.outputs.len()])
        .collect();
    for (step, lengths) in steps.iter_mut().zip(scratch_lengths) {
        step.scratch = lengths.iter().map(|&length| (0, length)).collect();
    }
    let mut spans = spans(graph, storages, steps, scratch_lengths);
    spans.sort_by_key(|span| (Reverse(span.length), span.first));
    let mut slots: Vec<Slot> = Vec::new();
    let mut taken: Vec<BTreeMap<usize, usize>> = Vec::new();
    for span in spans {
        let free_for = |&slot: &usize| {
            let fits = slots[slot].element == span.element;
            fits.then(|| idle(&taken[slot], &span)).flatten()
        };
        let free = (0..slots.len()).filter(|slot| free_for(slot).is_some());
        let slot = free.min_by_key(free_for).unwrap_or(slots.len());
        if slot == slots.len() {
            slots.push(Slot {
                element: span.element,
                length: span.length,
            });
            taken.push(BTreeMap::new());
        }
        taken[slot].insert(span.first, span.last);
        match span.owner {
            Owner::Value(value) => places[value.node][value.output] = Place::Slot(slot),
            Owner::Cast(value) => {
                casts.insert(value, slot);
            }
            Owner::Scratch(step, number) => steps[step].scratch[number].0 = slot,
        }
    }
    for node in 0..places.len() {
        let value = graph.root(ValueId { node, output: 0 });
        if value.node != node {
            places[node] = vec![places[value.node][value.output]];
        }
    }
    Memory {
        slots,
        places,
        casts,
    }
}

/// All that needs a slot, in the order of the steps.
fn spans(
    graph: &Graph,
    storages: &[Storage],
    steps: &[Step],
    scratch_lengths: &[Vec<usize>],
) -> Vec<Span> {
    // The last steps that read a value, and its copy.
    let mut last: HashMap<ValueId, usize> = HashMap::new();
    let mut last_of_cast: HashMap<ValueId, usize> = HashMap::new();
    for (i, step) in steps.iter().enumerate() {
        for (input, &value) in graph.nodes()[step.node].inputs.iter().enumerate() {
            let read = match reads_cast(graph, storages, step.node, input) {
                true => &mut last_of_cast,
                false => &mut last,
            };
            read.insert(graph.root(value), i);
        }
        last.extend(step.casts.iter().map(|&value| (value, i)));
    }
    let results = graph.outputs().iter().map(|(_, value)| value);
    let assigned = graph.assigns().iter().map(|(_, value)| value);
    let kept = results.chain(assigned);
    last.extend(kept.map(|&value| (graph.root(value), usize::MAX)));

    let mut spans = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let node = step.node;
        for &value in &step.casts {
            let elements = graph.spec(value).shape.elements();
            spans.push(Span {
                element: Element::Real,
                length: stored(graph, storages, value).other().words(elements),
                first: i,
                last: last_of_cast.get(&value).copied().unwrap_or(i),
                owner: Owner::Cast(value),
            });
        }
        for (output, spec) in graph.nodes()[node].outputs.iter().enumerate() {
            let value = ValueId { node, output };
            spans.push(Span {
                element: spec.element,
                length: stored(graph, storages, value).words(spec.shape.elements()),
                first: i,
                last: last.get(&value).map_or(i, |&last| last.max(i)),
                owner: Owner::Value(value),
            });
        }
        for (number, &length) in scratch_lengths[i].iter().enumerate() {
            spans.push(Span {
                element: Element::Real,
                length,
                first: i,
                last: i,
                owner: Owner::Scratch(i, number),
            });
        }
    }
    spans
}

/// For how many steps a slot, taken from some steps to others, has been free when the span begins; `None` if it is not
/// free all the time. (Of the times that do not overlap the last to begin before the span's end is the last to end.)
fn idle(taken: &BTreeMap<usize, usize>, span: &Span) -> Option<usize> {
    match taken.range(..=span.last).next_back() {
        Some((_, &last)) => span.first.checked_sub(last).filter(|&steps| steps > 0),
        None => Some(usize::MAX),
    }
}
