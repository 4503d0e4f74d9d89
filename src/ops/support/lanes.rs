//! Long sums on the host: fast, and in an order that the length alone decides.

/// Accumulators side by side: as many as fill the vector registers of common processors.
const LANES: usize = 16;

/// Elements after which the lanes' sums, in f32, go over into double precision: every lane adds 32.
const BLOCK: usize = 32 * LANES;

/// The additions in single precision that a term of [`lane_sums`] passes through; those in double precision are
/// neglected beside them, but for the last rounding.
pub(in crate::ops) const LANE_DEPTH: usize = BLOCK / LANES + 2;

/// `K` sums over the terms `f(a[i], b[i])` of two slices of one length.
#[inline(always)]
pub(in crate::ops) fn lane_sums<const K: usize>(
    a: &[f32],
    b: &[f32],
    f: impl Fn(f32, f32) -> [f32; K],
) -> [f64; K] {
    let mut totals = [[0f64; LANES]; K];
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [[0f32; LANES]; K];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                let terms = f(a[lane], b[lane]);
                (0..K).for_each(|k| lanes[k][lane] += terms[k]);
            }
        }
        for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
            let terms = f(a, b);
            (0..K).for_each(|k| lanes[k][lane] += terms[k]);
        }
        for (totals, lanes) in totals.iter_mut().zip(&lanes) {
            (0..LANES).for_each(|lane| totals[lane] += f64::from(lanes[lane]));
        }
    }
    totals.map(|lanes| lanes.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_counts_once() {
        for length in [0, 1, 15, 16, 17, 511, 512, 513, 1500] {
            let a: Vec<f32> = (0..length).map(|i| (i % 97) as f32).collect();
            let b: Vec<f32> = (0..length).map(|i| (i % 5) as f32).collect();
            let [sum, products] = lane_sums(&a, &b, |a, b| [a, a * b]);
            let expected: f32 = a.iter().sum();
            let expected_products: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(
                (sum as f32, products as f32),
                (expected, expected_products),
                "{length}"
            );
        }
    }
}
