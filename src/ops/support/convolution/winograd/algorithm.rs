//! The transforms of the algorithms, along one axis; each is also a matrix, from which the bound of the error follows.

use std::ops::{Add, Mul, Neg, Sub};

/// What is transformed: numbers, or vectors of them.
pub(super) trait Number:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<f32, Output = Self> + Neg<Output = Self>
{
}

impl Number for f32 {}

/// F(`TILE` × `TILE`, 3 × 3): tiles of results that see patches of `SIDE` = `TILE` + 2 rows and columns.
pub(super) trait Algorithm<const TILE: usize, const SIDE: usize> {
    /// Bᵀ.
    const PATCH: [[f64; SIDE]; SIDE];
    /// G.
    const WINDOW: [[f64; 3]; SIDE];
    /// Aᵀ.
    const RESULTS: [[f64; SIDE]; TILE];
    /// Roundings that a term passes through on its way, beside those of the long sum.
    const STEPS: usize;

    /// Bᵀ d.
    fn of_patch<T: Number>(d: [T; SIDE]) -> [T; SIDE];
    /// G g.
    fn of_window<T: Number>(g: [T; 3]) -> [T; SIDE];
    /// A ∂y.
    fn of_grads<T: Number>(grads: [T; TILE]) -> [T; SIDE];
    /// Aᵀ m.
    fn to_tile<T: Number>(m: [T; SIDE]) -> [T; TILE];
    /// Gᵀ m.
    fn to_window<T: Number>(m: [T; SIDE]) -> [T; 3];
}

/// F(2 × 2, 3 × 3), from the points 0, 1, −1 and ∞. A term is rounded at most twice in each of six applications, where an
/// element is a sum of three at most, but that one of them halves exactly, and once in its product.
pub(super) struct Two;

impl Algorithm<2, 4> for Two {
    const PATCH: [[f64; 4]; 4] = [
        [1.0, 0.0, -1.0, 0.0],
        [0.0, 1.0, 1.0, 0.0],
        [0.0, -1.0, 1.0, 0.0],
        [0.0, 1.0, 0.0, -1.0],
    ];
    const WINDOW: [[f64; 3]; 4] = [
        [1.0, 0.0, 0.0],
        [0.5, 0.5, 0.5],
        [0.5, -0.5, 0.5],
        [0.0, 0.0, 1.0],
    ];
    const RESULTS: [[f64; 4]; 2] = [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, -1.0]];
    const STEPS: usize = 11;

    #[inline(always)]
    fn of_patch<T: Number>([a, b, c, d]: [T; 4]) -> [T; 4] {
        [a - c, b + c, c - b, b - d]
    }

    #[inline(always)]
    fn of_window<T: Number>([a, b, c]: [T; 3]) -> [T; 4] {
        let outer = a + c;
        [a, (outer + b) * 0.5, (outer - b) * 0.5, c]
    }

    #[inline(always)]
    fn of_grads<T: Number>([a, b]: [T; 2]) -> [T; 4] {
        [a, a + b, a - b, -b]
    }

    #[inline(always)]
    fn to_tile<T: Number>([a, b, c, d]: [T; 4]) -> [T; 2] {
        [a + (b + c), b - c - d]
    }

    #[inline(always)]
    fn to_window<T: Number>([a, b, c, d]: [T; 4]) -> [T; 3] {
        let (sum, difference) = ((b + c) * 0.5, (b - c) * 0.5);
        [a + sum, difference, sum + d]
    }
}

/// F(4 × 4, 3 × 3), from the points 0, ±5/8, ±3/2 and ∞: with these the matrices are smaller, and so is the error, than
/// with the usual ±1 and ±2. A and B are exact in f32, G is not. A term is rounded at most four times in each application of
/// B, A or G and five times of Gᵀ, those of G's elements counted, and once in its product: 2 · (4 + 4 + 5) + 1.
pub(super) struct Four;

/// The points, their squares and cubes.
const NEAR: f64 = 0.625;
const FAR: f64 = 1.5;
const NEAR_SQUARE: f64 = NEAR * NEAR;
const FAR_SQUARE: f64 = FAR * FAR;
const NEAR_CUBE: f64 = NEAR * NEAR_SQUARE;
const FAR_CUBE: f64 = FAR * FAR_SQUARE;
/// The coefficients of (x² − near²)(x² − far²) = x⁴ − `SUM` x² + `PRODUCT`.
const SUM: f64 = NEAR_SQUARE + FAR_SQUARE;
const PRODUCT: f64 = NEAR_SQUARE * FAR_SQUARE;
/// One over the product of the distances of a point to all others.
const OF_ZERO: f64 = 1.0 / PRODUCT;
const OF_NEAR: f64 = 1.0 / (2.0 * NEAR_SQUARE * (NEAR_SQUARE - FAR_SQUARE));
const OF_FAR: f64 = 1.0 / (2.0 * FAR_SQUARE * (FAR_SQUARE - NEAR_SQUARE));

impl Algorithm<4, 6> for Four {
    const PATCH: [[f64; 6]; 6] = [
        [PRODUCT, 0.0, -SUM, 0.0, 1.0, 0.0],
        [0.0, -NEAR * FAR_SQUARE, -FAR_SQUARE, NEAR, 1.0, 0.0],
        [0.0, NEAR * FAR_SQUARE, -FAR_SQUARE, -NEAR, 1.0, 0.0],
        [0.0, -FAR * NEAR_SQUARE, -NEAR_SQUARE, FAR, 1.0, 0.0],
        [0.0, FAR * NEAR_SQUARE, -NEAR_SQUARE, -FAR, 1.0, 0.0],
        [0.0, PRODUCT, 0.0, -SUM, 0.0, 1.0],
    ];
    const WINDOW: [[f64; 3]; 6] = [
        [OF_ZERO, 0.0, 0.0],
        [OF_NEAR, NEAR * OF_NEAR, NEAR_SQUARE * OF_NEAR],
        [OF_NEAR, -NEAR * OF_NEAR, NEAR_SQUARE * OF_NEAR],
        [OF_FAR, FAR * OF_FAR, FAR_SQUARE * OF_FAR],
        [OF_FAR, -FAR * OF_FAR, FAR_SQUARE * OF_FAR],
        [0.0, 0.0, 1.0],
    ];
    const RESULTS: [[f64; 6]; 4] = [
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        [0.0, NEAR, -NEAR, FAR, -FAR, 0.0],
        [0.0, NEAR_SQUARE, NEAR_SQUARE, FAR_SQUARE, FAR_SQUARE, 0.0],
        [0.0, NEAR_CUBE, -NEAR_CUBE, FAR_CUBE, -FAR_CUBE, 1.0],
    ];
    const STEPS: usize = 27;

    #[inline(always)]
    fn of_patch<T: Number>([a, b, c, d, e, f]: [T; 6]) -> [T; 6] {
        let (even, odd) = (
            [e - c * FAR_SQUARE as f32, e - c * NEAR_SQUARE as f32],
            [
                (d - b * FAR_SQUARE as f32) * NEAR as f32,
                (d - b * NEAR_SQUARE as f32) * FAR as f32,
            ],
        );
        [
            (e - c * SUM as f32) + a * PRODUCT as f32,
            even[0] + odd[0],
            even[0] - odd[0],
            even[1] + odd[1],
            even[1] - odd[1],
            (f - d * SUM as f32) + b * PRODUCT as f32,
        ]
    }

    #[inline(always)]
    fn of_window<T: Number>([a, b, c]: [T; 3]) -> [T; 6] {
        let near = [
            a * OF_NEAR as f32 + c * (NEAR_SQUARE * OF_NEAR) as f32,
            b * (NEAR * OF_NEAR) as f32,
        ];
        let far = [
            a * OF_FAR as f32 + c * (FAR_SQUARE * OF_FAR) as f32,
            b * (FAR * OF_FAR) as f32,
        ];
        [
            a * OF_ZERO as f32,
            near[0] + near[1],
            near[0] - near[1],
            far[0] + far[1],
            far[0] - far[1],
            c,
        ]
    }

    #[inline(always)]
    fn of_grads<T: Number>([a, b, c, d]: [T; 4]) -> [T; 6] {
        let near = [
            a + c * NEAR_SQUARE as f32,
            (b + d * NEAR_SQUARE as f32) * NEAR as f32,
        ];
        let far = [
            a + c * FAR_SQUARE as f32,
            (b + d * FAR_SQUARE as f32) * FAR as f32,
        ];
        [
            a,
            near[0] + near[1],
            near[0] - near[1],
            far[0] + far[1],
            far[0] - far[1],
            d,
        ]
    }

    #[inline(always)]
    fn to_tile<T: Number>([a, b, c, d, e, f]: [T; 6]) -> [T; 4] {
        let (near, far) = ([b + c, b - c], [d + e, d - e]);
        [
            a + (near[0] + far[0]),
            near[1] * NEAR as f32 + far[1] * FAR as f32,
            near[0] * NEAR_SQUARE as f32 + far[0] * FAR_SQUARE as f32,
            (near[1] * NEAR_CUBE as f32 + far[1] * FAR_CUBE as f32) + f,
        ]
    }

    #[inline(always)]
    fn to_window<T: Number>([a, b, c, d, e, f]: [T; 6]) -> [T; 3] {
        let (near, far) = ([b + c, b - c], [d + e, d - e]);
        [
            a * OF_ZERO as f32 + (near[0] * OF_NEAR as f32 + far[0] * OF_FAR as f32),
            near[1] * (NEAR * OF_NEAR) as f32 + far[1] * (FAR * OF_FAR) as f32,
            (near[0] * (NEAR_SQUARE * OF_NEAR) as f32 + far[0] * (FAR_SQUARE * OF_FAR) as f32) + f,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a transform is its matrix, up to the rounding of the matrix's elements.
    fn check<const IN: usize, const OUT: usize>(
        transform: impl Fn([f32; IN]) -> [f32; OUT],
        matrix: impl Fn(usize, usize) -> f64,
    ) {
        for j in 0..IN {
            let unit = std::array::from_fn(|i| if i == j { 1.0 } else { 0.0 });
            for (i, got) in transform(unit).into_iter().enumerate() {
                let expected = matrix(i, j);
                let close = (f64::from(got) - expected).abs() <= 2e-7 * expected.abs();
                assert!(close, "element [{i}, {j}]: {got} for {expected}");
            }
        }
    }

    fn check_all<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>() {
        check(A::of_patch, |i, j| A::PATCH[i][j]);
        check(A::of_window, |i, j| A::WINDOW[i][j]);
        check(A::of_grads, |i, j| A::RESULTS[j][i]);
        check(A::to_tile, |i, j| A::RESULTS[i][j]);
        check(A::to_window, |i, j| A::WINDOW[j][i]);
        // Σ over p of RESULTS[t][p] · WINDOW[p][r] · PATCH[p][d] is 1 where d = t + r, else 0: a convolution.
        for (t, r, d) in (0..TILE * 3 * SIDE).map(|n| (n / SIDE / 3, n / SIDE % 3, n % SIDE)) {
            let terms = (0..SIDE).map(|p| A::RESULTS[t][p] * A::WINDOW[p][r] * A::PATCH[p][d]);
            let sum: f64 = terms.sum();
            let expected = f64::from(u8::from(d == t + r));
            assert!((sum - expected).abs() < 1e-14, "{t} {r} {d}: {sum}");
        }
    }

    #[test]
    fn the_transforms_are_their_matrices_and_together_a_convolution() {
        check_all::<Two, 2, 4>();
        check_all::<Four, 4, 6>();
    }
}
