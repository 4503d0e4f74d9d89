//! The transforms, each on as many channels at once as a vector has lanes. Elements of a square stand row by row.

/// The lanes of a vector.
pub(super) const LANES: usize = 16;

/// A number for each lane.
pub(super) type Lanes = [f32; LANES];

/// Applies a transform of one number of each element to every lane: a loop that becomes vector instructions.
#[inline(always)]
pub(super) fn each_lane<const FROM: usize, const TO: usize>(
    from: [&Lanes; FROM],
    to: &mut [Lanes; TO],
    transform: impl Fn([f32; FROM]) -> [f32; TO],
) {
    for lane in 0..LANES {
        let mut numbers = [0.0; FROM];
        for i in 0..FROM {
            numbers[i] = from[i][lane];
        }
        let numbers = transform(numbers);
        for i in 0..TO {
            to[i][lane] = numbers[i];
        }
    }
}

/// Bᵀ d B of a patch.
#[inline(always)]
pub(super) fn of_patch(d: [f32; 16]) -> [f32; 16] {
    square(d, |[a, b, c, d]: [f32; 4]| [a - c, b + c, c - b, b - d])
}

/// G g Gᵀ of a window.
#[inline(always)]
pub(super) fn of_window(g: [f32; 9]) -> [f32; 16] {
    square(g, |[a, b, c]: [f32; 3]| {
        let outer = a + c;
        [a, 0.5 * (outer + b), 0.5 * (outer - b), c]
    })
}

/// A ∂y Aᵀ of the gradient of a tile.
#[inline(always)]
pub(super) fn of_grads(grads: [f32; 4]) -> [f32; 16] {
    square(grads, |[a, b]: [f32; 2]| [a, a + b, a - b, -b])
}

/// Aᵀ m A: the tile of the sums m.
#[inline(always)]
pub(super) fn to_tile(m: [f32; 16]) -> [f32; 4] {
    square(m, |[a, b, c, d]: [f32; 4]| [a + (b + c), b - c - d])
}

/// Gᵀ m G: the gradient of the window of the sums m.
#[inline(always)]
pub(super) fn to_window(m: [f32; 16]) -> [f32; 9] {
    square(m, |[a, b, c, d]: [f32; 4]| {
        let (sum, difference) = (0.5 * (b + c), 0.5 * (b - c));
        [a + sum, difference, sum + d]
    })
}

/// Transforms a square of `IN` × `IN` elements along its rows, then along its columns, to one of `OUT` × `OUT`.
#[inline(always)]
fn square<const IN: usize, const OUT: usize, const FROM: usize, const TO: usize>(
    from: [f32; FROM],
    along: impl Fn([f32; IN]) -> [f32; OUT],
) -> [f32; TO] {
    let mut rows = [[0.0; OUT]; IN];
    for (i, row) in rows.iter_mut().enumerate() {
        let mut own = [0.0; IN];
        for j in 0..IN {
            own[j] = from[i * IN + j];
        }
        *row = along(own);
    }
    let mut to = [0.0; TO];
    for j in 0..OUT {
        let mut column = [0.0; IN];
        for i in 0..IN {
            column[i] = rows[i][j];
        }
        let column = along(column);
        for i in 0..OUT {
            to[i * OUT + j] = column[i];
        }
    }
    to
}

/// Columns of a square, one after the other.
#[inline(always)]
pub(super) fn column(square: &[Lanes; LANES], column: usize) -> Lanes {
    let mut lanes = [0.0; LANES];
    for (lane, row) in lanes.iter_mut().zip(square) {
        *lane = row[column];
    }
    lanes
}
