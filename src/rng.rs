//! Chance without state: a counter-based generator (Philox 4×32, 10 rounds).
//!
//! Every draw is a pure function of (seed, purpose, two coordinates, index of the draw), so that it never depends on
//! which worker draws, or in which order. Ask for a [`Stream`] per sample, never one per worker:
//!
//! ```
//! use axenic::rng::Stream;
//! let mut a = Stream::new(42, "shuffle", 3, 0);
//! let mut b = Stream::new(42, "shuffle", 3, 0);
//! assert_eq!(a.uniform(), b.uniform());
//! ```
//!
//! Reference: Salmon et al., *Parallel Random Numbers: As Easy as 1, 2, 3*, SC 2011.

use std::convert::Infallible;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// One block of four random words for a counter under a key: Philox 4×32 with 10 rounds.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox_side_by_side(counter.map(|word| [word]), key).map(|[word]| word)
}

/// `N` blocks under one key: for each of the four words of a counter or block, those of all. Loops over N vectorise.
pub fn philox_side_by_side<const N: usize>(
    mut counters: [[u32; N]; 4],
    mut key: [u32; 2],
) -> [[u32; N]; 4] {
    for _ in 0..10 {
        let [a, b, c, d] = &mut counters;
        for i in 0..N {
            let low = u64::from(a[i]) * u64::from(MULTIPLIERS[0]);
            let high = u64::from(c[i]) * u64::from(MULTIPLIERS[1]);
            a[i] = (high >> 32) as u32 ^ b[i] ^ key[0];
            b[i] = high as u32;
            c[i] = (low >> 32) as u32 ^ d[i] ^ key[1];
            d[i] = low as u32;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counters
}

/// The key of all streams of (seed, purpose, a): the words from which, with the coordinate b and the index of a draw,
/// anybody can compute what a [`Stream`] gives.
pub fn stream_key(seed: u64, purpose: &str, a: u64) -> [u32; 2] {
    let mut state = philox(
        [seed as u32, (seed >> 32) as u32, a as u32, (a >> 32) as u32],
        [0, 0],
    );
    for (i, chunk) in purpose.as_bytes().chunks(8).enumerate() {
        let mut word = [0u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        let [x, y, z, w] = state;
        state = philox(
            [x ^ word as u32, y ^ (word >> 32) as u32, z, w],
            [i as u32 + 1, chunk.len() as u32],
        );
    }
    [state[0], state[1]]
}

/// The counter of the block number `block` of the stream b: it holds the words 4 · block to 4 · block + 3.
pub fn stream_counter(block: u64, b: u64) -> [u32; 4] {
    [
        block as u32,
        (block >> 32) as u32,
        b as u32,
        (b >> 32) as u32,
    ]
}

/// A sequence of draws that belongs to one (seed, purpose, a, b): for instance a purpose `"augment"`, an epoch `a` and a
/// sample `b`.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Stream {
    /// The stream of a purpose at two coordinates. 2⁶⁶ words long; streams of different arguments are independent.
    pub fn new(seed: u64, purpose: &str, a: u64, b: u64) -> Self {
        // The key absorbs seed, purpose and `a` by chained blocks; `b` and the index of the block are the counter.
        Self {
            key: stream_key(seed, purpose, a),
            counter: stream_counter(0, b),
            block: [0; 4],
            used: 4,
        }
    }

    /// The next 32 random bits.
    pub fn word(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            let (low, carry) = self.counter[0].overflowing_add(1);
            self.counter[0] = low;
            self.counter[1] = self.counter[1].wrapping_add(u32::from(carry));
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        let (high, low) = (self.word(), self.word());
        ((u64::from(high) << 21) | (u64::from(low) >> 11)) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Standard normal (Box–Muller, one of the pair).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Uniform in 0..n, without bias (Lemire's multiplication with rejection).
    ///
    /// # Panics
    /// If `n` is zero: there is nothing to choose from.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "a choice among zero things");
        let n = n as u64;
        let threshold = n.wrapping_neg() % n;
        loop {
            let bits = (u64::from(self.word()) << 32) | u64::from(self.word());
            let product = u128::from(bits) * u128::from(n);
            if product as u64 >= threshold {
                return (product >> 64) as usize;
            }
        }
    }

    /// Puts the items in a random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// Makes the stream usable with the distributions of the `rand_distr` crate.
impl rand_core::TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> std::result::Result<u32, Infallible> {
        Ok(self.word())
    }

    fn try_next_u64(&mut self) -> std::result::Result<u64, Infallible> {
        Ok((u64::from(self.word()) << 32) | u64::from(self.word()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> std::result::Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            let word = self.word().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors of the Random123 library, file `kat_vectors`.
    #[test]
    fn philox_gives_the_published_vectors() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(
            philox(counter, [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn streams_differ_by_every_argument() {
        let draw = |seed, purpose, a, b| Stream::new(seed, purpose, a, b).uniform();
        let base = draw(1, "x", 2, 3);
        for other in [
            draw(2, "x", 2, 3),
            draw(1, "y", 2, 3),
            draw(1, "x", 3, 3),
            draw(1, "x", 2, 4),
            draw(1, "x\0", 2, 3),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut stream = Stream::new(7, "moments", 0, 0);
        let n = 20_000;
        let normal: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = normal.iter().sum::<f64>() / f64::from(n);
        let variance = normal.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04,
            "mean {mean}, variance {variance}"
        );
        let counts = (0..n).fold([0; 5], |mut counts, _| {
            counts[stream.below(5)] += 1;
            counts
        });
        assert!(
            counts.iter().all(|c: &i32| (c - n / 5).abs() < 300),
            "{counts:?}"
        );
    }
}
