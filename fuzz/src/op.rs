//! One operation by its name, with attributes and numbers that a stranger gives, as `axenic op` runs it.

use crate::chance::{MAX_ELEMENTS, array, attributes, below, case, changed, one_in, pick, spec};
use crate::prove::prove;
use arbitrary::Unstructured;
use axenic::Array;
use axenic::array::Spec;
use axenic::conformance::record_alone;
use axenic::graph::{Attributes, Graph};
use axenic::ops::{ROOMS, Room};

/// Bytes as an operation, its attributes and its numbers: a case of the room with something changed, or anything at all.
pub fn op(bytes: &[u8]) {
    let u = &mut Unstructured::new(bytes);
    let from_case = below(u, 4) > 0;
    let case = if from_case { case(u) } else { None };
    let (room, attributes, specs) = match case {
        Some((room, case)) => {
            let own = case.op.attributes();
            let attributes = match below(u, 3) {
                0 => own,
                1 => changed(u, room, &own),
                _ => attributes(u, room),
            };
            let specs = case.inputs.iter().map(Array::spec).collect();
            (room, attributes, altered(u, specs))
        }
        None => anything(u),
    };
    let wild = one_in(u, 2);
    let mut numbers: Vec<(String, Array)> = Vec::new();
    for (i, spec) in specs.iter().enumerate() {
        // A case's own numbers keep what it takes for granted: indices in range, variances above zero.
        let own = case.and_then(|(_, case)| case.inputs.get(i));
        let own = own.filter(|own| own.spec() == *spec && below(u, 2) == 0);
        let numbers_of = own.cloned().unwrap_or_else(|| array(u, *spec, wild));
        numbers.push((i.to_string(), numbers_of));
    }
    // A name that is an error, an operation that is refused, and inputs that do not fit end here.
    let Ok(operation) = room.build(&attributes) else {
        return;
    };
    if below(u, 2) == 1 {
        let outputs = operation.outputs(&specs).unwrap_or_default();
        for (i, output) in outputs.iter().enumerate() {
            if output.shape.elements() <= MAX_ELEMENTS {
                let suffix = if outputs.len() == 1 {
                    String::new()
                } else {
                    format!(".{i}")
                };
                numbers.push((format!("dy{suffix}"), array(u, *output, wild)));
            }
        }
    }
    if let Ok(graph) = Graph::record(|r| record_alone(r, operation, &numbers)) {
        prove(graph, &[], &numbers);
    }
}

/// Any room, any attributes, any inputs.
fn anything(u: &mut Unstructured) -> (&'static Room, Attributes, Vec<Spec>) {
    let room = pick(u, ROOMS);
    let attributes = attributes(u, room);
    let first = spec(u);
    let count = room.inputs.len() + usize::from(one_in(u, 8));
    let mut specs = vec![first; count];
    for other in specs.iter_mut().skip(1) {
        if below(u, 2) == 1 {
            *other = spec(u);
        }
    }
    (room, attributes, specs)
}

/// Shapes with one of them changed, one too few, one too many, or as they were.
fn altered(u: &mut Unstructured, mut specs: Vec<Spec>) -> Vec<Spec> {
    match below(u, 6) {
        0 if !specs.is_empty() => {
            let i = below(u, specs.len());
            specs[i] = spec(u);
        }
        1 if !specs.is_empty() => {
            let i = below(u, specs.len());
            let shape = specs[i].shape;
            if !shape.is_empty() {
                let lengths = shape.with(below(u, shape.len()), *pick(u, &[1, 0, 2, 3, 5, 9]));
                specs[i].shape = lengths;
            }
        }
        2 if one_in(u, 4) => drop(specs.pop()),
        3 if one_in(u, 4) => specs.push(spec(u)),
        _ => {}
    }
    specs.retain(|spec| spec.shape.elements() <= MAX_ELEMENTS);
    specs
}
