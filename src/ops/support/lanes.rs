//! Long sums on the host: fast, and in an order that the length alone decides.

/// Accumulators side by side: as many as fill a vector register of common processors.
const LANES: usize = 16;

/// Chains of such accumulators, so that an addition need not wait for the one before.
const CHAINS: usize = 4;

/// Elements of a step of all chains.
const WIDE: usize = CHAINS * LANES;

/// Elements after which the lanes' sums, in f32, go over into double precision: every lane of a chain adds 16.
const BLOCK: usize = 16 * WIDE;

/// The additions in single precision that a term of [`LaneSums`] passes through. At most those of a chain, two that join
/// chains, and those of what is left for a single chain, CHAINS − 1 vectors and an incomplete one, if the last step of all
/// chains is missing: BLOCK / WIDE − 1 + 2 + CHAINS. Those in double precision are neglected beside them, but for one, and
/// the last rounding.
pub(in crate::ops) const LANE_DEPTH: usize = BLOCK / WIDE + CHAINS + 3;

/// The sum of the terms `f(a[i], b[i])` of two slices of one length.
#[inline(always)]
pub(in crate::ops) fn lane_sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut sums = LaneSums::default();
    sums.add(
        a,
        b,
        #[inline(always)]
        |a, b| [f(a, b)],
    );
    let [sum] = sums.totals();
    sum
}

/// K sums in progress over the same pairs of slices.
#[derive(Clone, Copy)]
pub(in crate::ops) struct LaneSums<const K: usize>([[f64; LANES]; K]);

impl<const K: usize> Default for LaneSums<K> {
    fn default() -> Self {
        Self([[0.0; LANES]; K])
    }
}

impl<const K: usize> LaneSums<K> {
    /// Adds the terms `f(a[i], b[i])` of two slices of one length.
    #[inline(always)]
    pub(in crate::ops) fn add(&mut self, a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> [f32; K]) {
        for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
            self.add_block(a, b, &f);
        }
    }

    /// Adds the terms of a block: by all chains, then by one.
    #[inline(always)]
    fn add_block(&mut self, a: &[f32], b: &[f32], f: &impl Fn(f32, f32) -> [f32; K]) {
        let ends = (a.last_chunk::<LANES>(), b.last_chunk::<LANES>());
        let mut lanes = [[0f32; LANES]; K];
        let ((wide_a, a), (wide_b, b)) = (a.as_chunks::<WIDE>(), b.as_chunks::<WIDE>());
        if !wide_a.is_empty() {
            let mut chains = [[0f32; WIDE]; K];
            for (a, b) in wide_a.iter().zip(wide_b) {
                add_terms(&mut chains, a, b, f);
            }
            for (lanes, chains) in lanes.iter_mut().zip(&chains) {
                for (i, lane) in lanes.iter_mut().enumerate() {
                    let [a, b, c, d] = [0, 1, 2, 3].map(|chain| chains[chain * LANES + i]);
                    *lane = (a + b) + (c + d);
                }
            }
        }
        let ((rows_a, a), (rows_b, b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in rows_a.iter().zip(rows_b) {
            add_terms(&mut lanes, a, b, f);
        }
        match ends {
            _ if a.is_empty() => {}
            (Some(last_a), Some(last_b)) => add_new(&mut lanes, [last_a, last_b], a.len(), f),
            _ => self.add_few(a, b, f),
        }
        for (totals, lanes) in self.0.iter_mut().zip(&lanes) {
            for (total, &lane) in totals.iter_mut().zip(lanes) {
                *total += f64::from(lane);
            }
        }
    }

    /// Adds the terms of slices that do not fill a vector.
    #[inline(always)]
    fn add_few(&mut self, a: &[f32], b: &[f32], f: &impl Fn(f32, f32) -> [f32; K]) {
        for (lane, (&a, &b)) in a.iter().zip(b).enumerate() {
            for (totals, term) in self.0.iter_mut().zip(f(a, b)) {
                totals[lane] += f64::from(term);
            }
        }
    }

    /// The sums: the lanes joined by halves. Apart from the loops above, lest compilers group lanes by its pairs there.
    #[inline(never)]
    pub(in crate::ops) fn totals(&self) -> [f64; K] {
        self.0.map(|mut lanes| {
            let mut width = LANES / 2;
            while width > 0 {
                for lane in 0..width {
                    lanes[lane] += lanes[lane + width];
                }
                width /= 2;
            }
            lanes[0]
        })
    }
}

/// Adds the terms of `a[i]` and `b[i]` to the i-th lanes.
#[inline(always)]
fn add_terms<const K: usize, const N: usize>(
    lanes: &mut [[f32; N]; K],
    a: &[f32; N],
    b: &[f32; N],
    f: &impl Fn(f32, f32) -> [f32; K],
) {
    for i in 0..N {
        let terms = f(a[i], b[i]);
        for (lanes, term) in lanes.iter_mut().zip(terms) {
            lanes[i] += term;
        }
    }
}

/// Adds the terms of the last `new` elements of a pair of vectors. The others are computed too, and become 0 without a
/// branch: the whole stays a handful of instructions on vectors.
#[inline(always)]
fn add_new<const K: usize>(
    lanes: &mut [[f32; LANES]; K],
    [a, b]: [&[f32; LANES]; 2],
    new: usize,
    f: &impl Fn(f32, f32) -> [f32; K],
) {
    for i in 0..LANES {
        let mask = if i + new < LANES { 0 } else { u32::MAX };
        let terms = f(a[i], b[i]);
        for (lanes, term) in lanes.iter_mut().zip(terms) {
            lanes[i] += f32::from_bits(term.to_bits() & mask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_counts_once() {
        for length in [
            0, 1, 15, 16, 17, 63, 64, 65, 79, 127, 1023, 1024, 1025, 1039, 1041, 3000,
        ] {
            let a: Vec<f32> = (0..length).map(|i| (i % 97) as f32).collect();
            let b: Vec<f32> = (0..length).map(|i| (i % 5) as f32).collect();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(lane_sum(&a, &b, |a, b| a * b) as f32, expected, "{length}");
        }
    }
}
