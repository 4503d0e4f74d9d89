//! Vectors of channels, and transforms of squares of them.

use crate::product::square::{Lanes, SIDE};

/// The lanes of a vector.
pub(super) const LANES: usize = SIDE;

/// As many lanes as full vectors have.
pub(super) fn padded(planes: usize) -> usize {
    planes.next_multiple_of(LANES)
}

/// The vector at the start of a slice, which holds one.
#[inline(always)]
pub(super) fn lanes(slice: &[f32]) -> &Lanes {
    slice
        .first_chunk()
        .unwrap_or_else(|| unreachable!("{} elements left", slice.len()))
}

/// Applies a transform of one number of each vector to every lane: a loop that becomes vector instructions.
#[inline(always)]
fn each_lane<const IN: usize, const OUT: usize>(
    from: [&Lanes; IN],
    to: &mut [Lanes; OUT],
    transform: impl Fn([f32; IN]) -> [f32; OUT],
) {
    for lane in 0..LANES {
        let mut numbers = [0.0; IN];
        for i in 0..IN {
            numbers[i] = from[i][lane];
        }
        let numbers = transform(numbers);
        for i in 0..OUT {
            to[i][lane] = numbers[i];
        }
    }
}

/// Memory for a square whose rows are transformed.
pub(super) type Half<const IN: usize, const OUT: usize> = [[Lanes; OUT]; IN];

/// Transforms a square of `IN` × `IN` vectors along its rows, then along its columns, to one of `OUT` × `OUT`: gives each
/// with its place, row by row.
#[inline(always)]
pub(super) fn around<'a, const IN: usize, const OUT: usize>(
    half: &mut Half<IN, OUT>,
    square: impl Fn(usize, usize) -> &'a Lanes,
    along: impl Fn([f32; IN]) -> [f32; OUT],
    mut put: impl FnMut(usize, &Lanes),
) {
    for (i, row) in half.iter_mut().enumerate() {
        let mut own = [&[0.0; LANES]; IN];
        for (j, own) in own.iter_mut().enumerate() {
            *own = square(i, j);
        }
        each_lane(own, row, &along);
    }
    for j in 0..OUT {
        let mut own = [&[0.0; LANES]; IN];
        for (own, row) in own.iter_mut().zip(&*half) {
            *own = &row[j];
        }
        let mut column = [[0.0; LANES]; OUT];
        each_lane(own, &mut column, &along);
        for (i, values) in column.iter().enumerate() {
            put(i * OUT + j, values);
        }
    }
}
