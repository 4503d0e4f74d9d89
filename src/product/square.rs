//! Squares of numbers as wide as the widest vectors, and turning them: how matrices change between rows and columns.

/// The side of a square: the lanes of the widest vectors.
pub(crate) const SIDE: usize = 16;

/// A vector of the widest machines.
pub(crate) type Lanes = [f32; SIDE];

/// A square, row by row.
pub(crate) type Square = [Lanes; SIDE];

/// A square of zeros.
pub(crate) const ZEROS: Square = [[0.0; SIDE]; SIDE];

/// The square whose rows are the columns of this one.
#[inline(always)]
pub(crate) fn turned(square: &Square) -> Square {
    #[cfg(target_arch = "x86_64")]
    if let Some(v4) = *wide::V4 {
        return wide::turned(v4, square);
    }
    turned_anywhere(square)
}

/// The same on any machine.
#[inline(always)]
fn turned_anywhere(square: &Square) -> Square {
    let mut turned = ZEROS;
    for (i, row) in square.iter().enumerate() {
        for (j, x) in row.iter().enumerate() {
            turned[j][i] = *x;
        }
    }
    turned
}

/// Writes the first rows of a square: up to 16 numbers from the start of each slice, then zeros. The other rows stay as they
/// are.
#[inline(always)]
pub(crate) fn gather<'a>(square: &mut Square, count: usize, row: impl Fn(usize) -> &'a [f32]) {
    for (i, to) in square.iter_mut().enumerate().take(count) {
        let from = row(i);
        match from.first_chunk() {
            Some(from) => *to = *from,
            None => {
                for (i, to) in to.iter_mut().enumerate() {
                    *to = from.get(i).copied().unwrap_or(0.0);
                }
            }
        }
    }
}

/// Copies a vector, or the start of it, to a slice that may be shorter.
#[inline(always)]
pub(crate) fn write(from: &Lanes, to: &mut [f32]) {
    match to.first_chunk_mut() {
        Some(to) => *to = *from,
        None => to.iter_mut().zip(from).for_each(|(to, x)| *to = *x),
    }
}

/// With vectors of 16 lanes: left to itself the compiler moves one number at a time.
#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{SIDE, Square};
    use core::arch::x86_64::{__m512, __m512d};
    use std::sync::LazyLock;

    /// The instructions, if this machine has them.
    pub(super) static V4: LazyLock<Option<pulp::x86::V4>> = LazyLock::new(pulp::x86::V4::try_new);

    /// Squares of 2 × 2 numbers are turned by pairs of rows, then squares of 2 × 2 pairs, then of 2 × 2 quads, then of
    /// 2 × 2 eights.
    #[inline(always)]
    pub(super) fn turned(v4: pulp::x86::V4, square: &Square) -> Square {
        let avx = v4.avx512f;
        let rows: [__m512; SIDE] = bytemuck::must_cast(*square);
        let mut pairs = rows;
        for i in (0..SIDE).step_by(2) {
            pairs[i] = avx._mm512_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = avx._mm512_unpackhi_ps(rows[i], rows[i + 1]);
        }
        let pairs: [__m512d; SIDE] = bytemuck::must_cast(pairs);
        let mut quads = pairs;
        for i in (0..SIDE).step_by(4) {
            quads[i] = avx._mm512_unpacklo_pd(pairs[i], pairs[i + 2]);
            quads[i + 1] = avx._mm512_unpackhi_pd(pairs[i], pairs[i + 2]);
            quads[i + 2] = avx._mm512_unpacklo_pd(pairs[i + 1], pairs[i + 3]);
            quads[i + 3] = avx._mm512_unpackhi_pd(pairs[i + 1], pairs[i + 3]);
        }
        // The quad number j of quads[4 · i + c] is column 4 · j + c of the rows from 4 · i on.
        let quads: [__m512; SIDE] = bytemuck::must_cast(quads);
        let mut turned = quads;
        for c in 0..4 {
            let [a, b, d, e] = [quads[c], quads[4 + c], quads[8 + c], quads[12 + c]];
            let even = [
                avx._mm512_shuffle_f32x4::<0x88>(a, b),
                avx._mm512_shuffle_f32x4::<0x88>(d, e),
            ];
            let odd = [
                avx._mm512_shuffle_f32x4::<0xdd>(a, b),
                avx._mm512_shuffle_f32x4::<0xdd>(d, e),
            ];
            turned[c] = avx._mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
            turned[4 + c] = avx._mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
            turned[8 + c] = avx._mm512_shuffle_f32x4::<0xdd>(even[0], even[1]);
            turned[12 + c] = avx._mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]);
        }
        bytemuck::must_cast(turned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let mut square = [[0.0; SIDE]; SIDE];
        for (i, x) in square.as_flattened_mut().iter_mut().enumerate() {
            *x = i as f32;
        }
        for turned in [turned(&square), turned_anywhere(&square)] {
            for (i, j) in (0..SIDE).flat_map(|i| (0..SIDE).map(move |j| (i, j))) {
                assert_eq!(turned[i][j], square[j][i], "[{i}, {j}]");
            }
        }
    }
}
