//! What bytes decide: shapes, attributes, numbers. Where the bytes end, everything is first, smallest, default.

use arbitrary::Unstructured;
use axenic::Array;
use axenic::array::{Element, Spec};
use axenic::graph::{Attribute, Attributes};
use axenic::ops::{ROOMS, Room, RoomCase};
use axenic::rng::Stream;
use axenic::shape::Shape;
use std::sync::OnceLock;

/// Lengths: mostly small, zero and primes among them.
const LENGTHS: [usize; 16] = [2, 3, 1, 4, 5, 3, 2, 1, 0, 7, 8, 9, 16, 17, 33, 6];
/// Attributes: mostly small, and what overflows.
const WHOLE: [usize; 16] = [
    1,
    2,
    0,
    3,
    1,
    2,
    0,
    4,
    5,
    6,
    7,
    17,
    1 << 20,
    u32::MAX as usize,
    i64::MAX as usize,
    usize::MAX,
];
const REALS: [f64; 16] = [
    1.0,
    0.5,
    0.0,
    2.0,
    -1.0,
    0.1,
    1e-5,
    10.0,
    0.9,
    -0.0,
    1e30,
    -1e30,
    1e-40,
    f64::INFINITY,
    f64::NAN,
    0.999,
];
/// Numbers that break formulas.
const WILD: [f32; 12] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    1e-42,
    88.9,
];

/// Cases and arrays above this many elements are left to the tests.
pub(crate) const MAX_ELEMENTS: usize = 2048;

/// A number below `n`.
pub(crate) fn below(u: &mut Unstructured, n: usize) -> usize {
    u.int_in_range(0..=n - 1).unwrap_or(0)
}

/// True once in `n` times.
pub(crate) fn one_in(u: &mut Unstructured, n: usize) -> bool {
    below(u, n) == n - 1
}

pub(crate) fn pick<'a, T>(u: &mut Unstructured, from: &'a [T]) -> &'a T {
    &from[below(u, from.len())]
}

/// A shape of up to six axes, and of few elements.
pub(crate) fn shape(u: &mut Unstructured) -> Shape {
    let rank = *pick(u, &[1, 2, 3, 4, 4, 3, 2, 0, 5, 6]);
    let mut lengths: Vec<usize> = (0..rank).map(|_| *pick(u, &LENGTHS)).collect();
    while lengths.iter().product::<usize>() > MAX_ELEMENTS {
        lengths.pop();
    }
    Shape::new(&lengths).expect("few elements")
}

pub(crate) fn spec(u: &mut Unstructured) -> Spec {
    let shape = shape(u);
    match one_in(u, 4) {
        true => Spec::index(shape),
        false => Spec::real(shape),
    }
}

/// Numbers from a seed: normal, uniform below one, or indices; a few of them wild, if asked for.
pub(crate) fn array(u: &mut Unstructured, spec: Spec, wild: bool) -> Array {
    let n = spec.shape.elements();
    let mut stream = Stream::new(below(u, 256) as u64, "fuzz", 0, 0);
    let wild = if wild && n > 0 { below(u, 4) } else { 0 };
    let numbers: Result<Array, _> = match spec.element {
        Element::Index => {
            let limit = *pick(u, &[2, 1, 3, 5, 9]);
            let mut values: Vec<u32> = (0..n).map(|_| stream.below(limit) as u32).collect();
            for _ in 0..wild {
                values[below(u, n)] = *pick(u, &[u32::MAX, 1 << 31, 255, 65_536]);
            }
            Array::new(spec.shape, values)
        }
        Element::Real => {
            let kind = below(u, 3);
            let mut number = || match kind {
                0 => stream.normal() as f32,
                1 => stream.range(0.0, 1.0) as f32,
                _ => stream.range(0.125, 3.0) as f32,
            };
            let mut values: Vec<f32> = (0..n).map(|_| number()).collect();
            for _ in 0..wild {
                values[below(u, n)] = *pick(u, &WILD);
            }
            Array::new(spec.shape, values)
        }
    };
    numbers.expect("as many as the shape has")
}

/// Attributes that the room asks for, some left at their default, now and then one that it does not have.
pub(crate) fn attributes(u: &mut Unstructured, room: &Room) -> Attributes {
    let mut attributes = Attributes::none();
    for asked in room.attributes() {
        if below(u, 2) == 0 {
            continue;
        }
        let value = value(u, asked.kind, &asked.choices);
        attributes = attributes.with(&asked.name, value);
    }
    match one_in(u, 64) {
        true => attributes.with("stranger", 1),
        false => attributes,
    }
}

/// The attributes with one of them changed.
pub(crate) fn changed(u: &mut Unstructured, room: &Room, own: &Attributes) -> Attributes {
    let asked = room.attributes();
    if asked.is_empty() {
        return own.clone();
    }
    let chosen = pick(u, &asked);
    let kept = own.iter().filter(|(name, _)| *name != chosen.name);
    let kept = kept.fold(Attributes::none(), |all, (name, value)| {
        all.with(name, value.clone())
    });
    let value = value(u, chosen.kind, &chosen.choices);
    kept.with(&chosen.name, value)
}

fn value(u: &mut Unstructured, kind: &str, choices: &[String]) -> Attribute {
    let kind = match one_in(u, 32) {
        true => "word",
        false => kind,
    };
    let whole = |u: &mut Unstructured| *pick(u, &WHOLE);
    match kind {
        "int" => Attribute::Int(whole(u)),
        "float" => Attribute::Float(*pick(u, &REALS)),
        "pair" => Attribute::Ints(vec![whole(u), whole(u)]),
        "ints" => {
            let count = below(u, 8);
            Attribute::Ints((0..count).map(|_| whole(u)).collect())
        }
        _ if choices.is_empty() => Attribute::Word("word".into()),
        _ => Attribute::Word(pick(u, choices).clone()),
    }
}

/// The small cases of every room: what fits, to start from.
pub(crate) fn case(u: &mut Unstructured) -> Option<(&'static Room, &'static RoomCase)> {
    static CASES: OnceLock<Vec<OnceLock<Vec<RoomCase>>>> = OnceLock::new();
    let all = CASES.get_or_init(|| ROOMS.iter().map(|_| OnceLock::new()).collect());
    let room = below(u, ROOMS.len());
    let small = |case: &RoomCase| {
        let lengths = case.inputs.iter().map(|input| input.shape().elements());
        let outputs: Vec<Spec> = case.inputs.iter().map(Array::spec).collect();
        let outputs = case.op.outputs(&outputs).unwrap_or_default();
        let outputs = outputs.iter().map(|output| output.shape.elements());
        lengths.chain(outputs).all(|n| n <= MAX_ELEMENTS)
    };
    let cases = all[room].get_or_init(|| ROOMS[room].cases().into_iter().filter(small).collect());
    match cases.is_empty() {
        true => None,
        false => Some((&ROOMS[room], pick(u, cases))),
    }
}
