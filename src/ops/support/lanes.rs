//! Long sums on the host: fast, and in an order that the length alone decides.

/// Accumulators side by side: as many as fill the vector registers of common processors.
const LANES: usize = 16;

/// Elements after which the lanes' sums, in f32, go over into double precision: every lane adds 32. Where several sums
/// go over the same slices, such blocks of them stay in the first cache.
pub(in crate::ops) const BLOCK: usize = 32 * LANES;

/// The additions in single precision that a term of a [`LaneSum`] passes through; those in double precision are
/// neglected beside them, but for the last rounding.
pub(in crate::ops) const LANE_DEPTH: usize = BLOCK / LANES + 2;

/// The sum of the terms `f(a[i], b[i])` of two slices of one length.
#[inline(always)]
pub(in crate::ops) fn lane_sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut sum = LaneSum::default();
    sum.add(a, b, f);
    sum.total()
}

/// A sum in progress, over several pairs of slices.
#[derive(Default)]
pub(in crate::ops) struct LaneSum([f64; LANES]);

impl LaneSum {
    /// Adds the terms `f(a[i], b[i])` of two slices of one length.
    #[inline(always)]
    pub(in crate::ops) fn add(&mut self, a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) {
        for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
            // First all terms, then their sums: two loops that compilers turn into vectors, however the terms are made.
            let mut terms = [0f32; BLOCK];
            for (term, (&a, &b)) in terms.iter_mut().zip(a.iter().zip(b)) {
                *term = f(a, b);
            }
            let mut lanes = [0f32; LANES];
            let rows = terms.as_chunks::<LANES>().0.iter();
            for terms in rows.take(a.len().div_ceil(LANES)) {
                for (lane, &term) in lanes.iter_mut().zip(terms) {
                    *lane += term;
                }
            }
            for (total, &lane) in self.0.iter_mut().zip(&lanes) {
                *total += f64::from(lane);
            }
        }
    }

    /// The sum: the lanes joined by halves. Apart from the loops above, lest compilers group lanes by its pairs there.
    #[inline(never)]
    pub(in crate::ops) fn total(&self) -> f64 {
        let mut lanes = self.0;
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
            width /= 2;
        }
        lanes[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_counts_once() {
        for length in [0, 1, 15, 16, 17, 511, 512, 513, 1500] {
            let a: Vec<f32> = (0..length).map(|i| (i % 97) as f32).collect();
            let b: Vec<f32> = (0..length).map(|i| (i % 5) as f32).collect();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(lane_sum(&a, &b, |a, b| a * b) as f32, expected, "{length}");
        }
    }
}
