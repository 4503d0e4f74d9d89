//! Shapes worth checking, a table for each kind of room: none, one, primes, a workgroup or a slice and one more or less, two
//! workgroups and some (three do not fit a grid that is two wide), more than 65,535 workgroups, more work than one worker's.

use crate::ops::{CeilMode, CountIncludePad, Pooling};
use crate::shape::{KeepAxes, Shape};

/// For rooms that treat every element alone.
#[rustfmt::skip]
const ELEMENTS: &[(&str, &[usize])] = &[
    ("scalar", &[]),
    ("one element", &[1]),
    ("nothing", &[0]),
    ("nothing in any row", &[3, 0]),
    ("a prime", &[31]),
    ("three axes", &[3, 5, 7]),
    ("six axes", &[2, 1, 3, 1, 2, 3]),
    ("one less than a workgroup", &[255]),
    ("a workgroup", &[256]),
    ("one more than a workgroup", &[257]),
    ("three workgroups and one", &[769]),
    ("more than a worker's piece", &[3, 7001]),
];

/// For rooms that treat the elements of two values in pairs, both broadcast.
#[rustfmt::skip]
const PAIRS: &[(&str, &[usize], &[usize])] = &[
    ("scalars", &[], &[]),
    ("one element each", &[1], &[1]),
    ("nothing", &[0, 3], &[3]),
    ("nothing in any row", &[3, 0], &[1]),
    ("same shape", &[2, 3, 5], &[2, 3, 5]),
    ("a scalar on the right", &[7], &[]),
    ("a scalar on the left", &[], &[257]),
    ("channels on the right", &[2, 3, 4, 5], &[3, 1, 1]),
    ("channels on the left", &[3, 1, 1], &[2, 3, 4, 5]),
    ("a column and a row", &[17, 1], &[1, 61]),
    ("both repeat", &[4, 1, 3], &[5, 1]),
    ("six axes", &[2, 1, 2, 1, 3, 1], &[2, 1, 2, 1, 2]),
    ("six lengths", &[2, 1, 4, 5, 1, 7], &[1, 3, 4, 1, 6, 7]),
    ("one more than a workgroup", &[257], &[257]),
    ("three workgroups and one", &[769], &[769]),
    ("more than a worker's piece", &[3, 7001], &[7001]),
];

/// For rooms that reduce over one axis, whose rows many invocations share: the axis, the shape.
#[rustfmt::skip]
const ROWS: &[(&str, usize, &[usize])] = &[
    ("the last axis", 1, &[5, 9]),
    ("the first axis", 0, &[13, 3]),
    ("the middle axis", 1, &[2, 3, 5, 7]),
    ("long rows interleaved", 1, &[2, 67, 3, 2]),
    ("the longest rows of one lane", 1, &[2, 64, 3]),
    ("the shortest rows that are shared", 1, &[2, 65, 3]),
    ("one element a row", 1, &[4, 1]),
    ("one element", 0, &[1]),
    ("two elements a row", 1, &[5, 2]),
    ("nothing", 1, &[0, 3]),
    ("empty rows", 1, &[3, 0]),
    ("a power of two", 1, &[9, 64]),
    ("one less than a workgroup", 1, &[3, 255]),
    ("a workgroup", 0, &[256]),
    ("one more than a workgroup", 1, &[3, 257]),
    ("many rows", 1, &[700, 7]),
    ("many rows interleaved", 0, &[3, 769]),
    ("a long row", 0, &[1009]),
    ("a very long row", 1, &[1, 3001]),
];

/// For rooms that reduce over any axes, a workgroup for each result: the axes, whether they stay, the shape.
#[rustfmt::skip]
const REDUCTIONS: &[(&str, &[usize], KeepAxes, &[usize])] = &[
    ("rows", &[1], KeepAxes::No, &[5, 300]),
    ("columns", &[0], KeepAxes::Yes, &[301, 3]),
    ("the middle", &[1], KeepAxes::No, &[3, 5, 4]),
    ("channels and width", &[1, 3], KeepAxes::Yes, &[2, 5, 3, 7]),
    ("height and width", &[2, 3], KeepAxes::No, &[2, 3, 5, 17]),
    ("long runs", &[1, 3], KeepAxes::No, &[2, 3, 4, 37]),
    ("axes out of order", &[2, 0], KeepAxes::No, &[3, 4, 5]),
    ("every other of six axes", &[0, 2, 4], KeepAxes::No, &[2, 3, 4, 5, 6, 7]),
    ("all but one of six axes", &[0, 1, 2, 3, 4], KeepAxes::Yes, &[2, 3, 4, 5, 6, 2]),
    ("one of six axes", &[5], KeepAxes::Yes, &[2, 3, 4, 2, 3, 5]),
    ("everything", &[0, 1, 2], KeepAxes::No, &[3, 11, 13]),
    ("no axis", &[], KeepAxes::No, &[3, 2]),
    ("a scalar", &[], KeepAxes::No, &[]),
    ("one element", &[0], KeepAxes::No, &[1]),
    ("of nothing", &[1], KeepAxes::No, &[0, 3]),
    ("one less than a workgroup", &[0], KeepAxes::No, &[255]),
    ("a workgroup", &[1], KeepAxes::No, &[2, 256]),
    ("three workgroups and one", &[0], KeepAxes::No, &[769]),
    ("more than 65,535 results", &[1], KeepAxes::No, &[65_537, 2]),
];

/// For rooms that work channel by channel on [N, C, …]; no channel is empty.
#[rustfmt::skip]
const CHANNELS: &[(&str, &[usize])] = &[
    ("images", &[2, 3, 5, 7]),
    ("vectors", &[17, 5]),
    ("volumes", &[2, 3, 2, 3, 4]),
    ("one element a channel", &[1, 4, 1, 1]),
    ("one element", &[1, 1]),
    ("one channel", &[3, 1, 13]),
    ("no channel", &[2, 0, 3]),
    ("one more than a workgroup", &[1, 1, 257]),
    ("three workgroups and one", &[1, 1, 769]),
    ("more channels than a grid is wide", &[3, 5, 2]),
    ("a slice", &[1, 2, 4096]),
    ("one more than a slice", &[1, 2, 4097]),
    ("slices across samples", &[3, 2, 53, 59]),
    ("more than 65,535 channels", &[2, 65_537]),
];

/// Size, stride and padding of windows, and the [N, C, H, W] over which they slide.
type Sliding = ([[usize; 2]; 3], [usize; 4]);

/// For rooms that slide windows over images.
#[rustfmt::skip]
const WINDOWS: &[(&str, Sliding)] = &[
    ("a stem", ([[3, 3], [2, 2], [1, 1]], [2, 3, 12, 13])),
    ("halves", ([[2, 2], [2, 2], [0, 0]], [1, 5, 6, 8])),
    ("an uncovered rest", ([[2, 2], [2, 2], [0, 0]], [1, 2, 7, 9])),
    ("overlap", ([[3, 3], [1, 1], [1, 1]], [2, 1, 5, 7])),
    ("gaps", ([[2, 3], [3, 4], [1, 0]], [1, 2, 11, 13])),
    ("rows only", ([[1, 4], [1, 2], [0, 2]], [1, 3, 4, 10])),
    ("columns only", ([[5, 1], [2, 1], [1, 0]], [1, 2, 9, 3])),
    ("every pair unequal", ([[5, 3], [2, 1], [2, 1]], [1, 3, 31, 17])),
    ("the whole image", ([[5, 7], [1, 1], [0, 0]], [2, 3, 5, 7])),
    ("more window than image", ([[4, 4], [2, 2], [2, 2]], [1, 2, 1, 1])),
    ("one element", ([[1, 1], [1, 1], [0, 0]], [1, 1, 1, 1])),
    ("nothing", ([[2, 2], [2, 2], [0, 0]], [0, 3, 4, 4])),
    ("no channel", ([[2, 2], [2, 2], [0, 0]], [2, 0, 4, 4])),
    ("one more than a workgroup", ([[1, 1], [1, 1], [0, 0]], [1, 1, 1, 257])),
    ("more than a worker's piece", ([[3, 2], [2, 3], [0, 1]], [2, 17, 43, 47])),
];

/// Of windows whose number is rounded up.
#[rustfmt::skip]
const ROUNDED_UP: &[(&str, Sliding)] = &[
    ("rounded up, no rest", ([[2, 2], [2, 2], [0, 0]], [1, 3, 6, 8])),
    ("rounded up, the last reach out", ([[2, 2], [2, 2], [0, 0]], [1, 2, 7, 9])),
    ("rounded up, the last reach through the padding", ([[3, 3], [2, 2], [1, 1]], [2, 2, 6, 8])),
    ("rounded up, the last would start behind", ([[2, 2], [2, 2], [1, 1]], [1, 2, 5, 7])),
    ("rounded up, gaps", ([[2, 3], [3, 4], [1, 0]], [1, 2, 12, 13])),
    ("rounded up, more window than image", ([[3, 5], [2, 3], [0, 1]], [2, 2, 2, 2])),
    ("rounded up, every pair unequal", ([[5, 3], [4, 2], [2, 1]], [1, 3, 31, 18])),
];

/// [H', W'] windows as equal as can be, and the [N, C, H, W] that they share out.
#[rustfmt::skip]
const ADAPTIVE: &[(&str, [usize; 2], [usize; 4])] = &[
    ("adaptive, equal", [2, 3], [2, 3, 4, 9]),
    ("adaptive, unequal", [3, 5], [2, 2, 7, 11]),
    ("adaptive, the whole image", [1, 1], [2, 3, 5, 7]),
    ("adaptive, an element each", [3, 4], [1, 2, 3, 4]),
    ("adaptive, more windows than elements", [7, 5], [1, 2, 3, 2]),
    ("adaptive, nothing", [2, 2], [0, 3, 5, 4]),
    ("adaptive, three workgroups and one", [1, 769], [1, 1, 2, 1000]),
    ("adaptive, more than a worker's piece", [13, 11], [2, 17, 43, 47]),
];

fn shape(lengths: &[usize]) -> Shape {
    Shape::new(lengths).unwrap_or_else(|e| unreachable!("{e}"))
}

/// Shapes for rooms that treat every element alone.
pub(in crate::ops) fn elements() -> impl Iterator<Item = (&'static str, Shape)> {
    ELEMENTS.iter().map(|&(about, x)| (about, shape(x)))
}

/// Shapes of two values that are broadcast to each other.
pub(in crate::ops) fn pairs() -> impl Iterator<Item = (&'static str, Shape, Shape)> {
    PAIRS
        .iter()
        .map(|&(about, a, b)| (about, shape(a), shape(b)))
}

/// An axis, and the shape of a value reduced over it.
pub(in crate::ops) fn rows() -> impl Iterator<Item = (&'static str, usize, Shape)> {
    ROWS.iter().map(|&(about, axis, x)| (about, axis, shape(x)))
}

/// Axes, whether they stay, and the shape of a value reduced over them.
pub(in crate::ops) fn reductions()
-> impl Iterator<Item = (&'static str, &'static [usize], KeepAxes, Shape)> {
    REDUCTIONS
        .iter()
        .map(|&(about, axes, keep, x)| (about, axes, keep, shape(x)))
}

/// Shapes [N, C, …].
pub(in crate::ops) fn channels() -> impl Iterator<Item = (&'static str, Shape)> {
    CHANNELS.iter().map(|&(about, x)| (about, shape(x)))
}

/// Windows, and the [N, C, H, W] over which they lie.
pub(in crate::ops) fn windows() -> impl Iterator<Item = (&'static str, Pooling, [usize; 4])> {
    let sliding = |ceil_mode| {
        move |&(about, ([kernel_size, stride, padding], image)): &(&'static str, Sliding)| {
            let pooling = Pooling::Sliding {
                kernel_size,
                stride,
                padding,
                ceil_mode,
            };
            (about, pooling, image)
        }
    };
    let adaptive = |&(about, output_size, image): &(&'static str, [usize; 2], [usize; 4])| {
        (about, Pooling::Adaptive { output_size }, image)
    };
    let whole = WINDOWS.iter().map(sliding(CeilMode::No));
    let rounded_up = ROUNDED_UP.iter().map(sliding(CeilMode::Yes));
    whole.chain(rounded_up).chain(ADAPTIVE.iter().map(adaptive))
}

/// What it is about, windows, their divisors, and the [N, C, H, W] over which they lie.
pub(in crate::ops) type Averaging = (&'static str, Pooling, CountIncludePad, [usize; 4]);

/// Windows with either divisor, where they differ.
pub(in crate::ops) fn averaging() -> impl Iterator<Item = Averaging> {
    let either = |(about, pooling, image)| {
        let is_padded = matches!(pooling, Pooling::Sliding { padding, .. } if padding != [0, 0]);
        let choices = [CountIncludePad::Yes, CountIncludePad::No];
        let choices = choices.into_iter().take(1 + usize::from(is_padded));
        choices.map(move |count| (about, pooling, count, image))
    };
    windows().flat_map(either)
}
