//! Whole pictures to the size and the numbers that a network takes.
//!
//! The filter is an antialiased triangle: linear interpolation whose support grows with the ratio when a picture is made
//! smaller, so that every pixel of the original counts (the "bilinear" of PIL, and of torchvision with `antialias`).
//! Own code rather than the image crate's `resize`: this one keeps fractions instead of rounding to 8 bits, writes the
//! planes directly, and goes through one buffer of a single row, so that vertical sums run over contiguous samples.

use super::Image;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A resized picture as planes of numbers from 0 to 255: [3, H, W].
#[derive(Clone, Debug, PartialEq)]
pub struct Planes {
    /// Rows of a plane.
    pub height: usize,
    /// Columns of a plane.
    pub width: usize,
    /// Red, green and blue plane, row by row.
    pub values: Vec<f32>,
}

/// Mean and standard deviation per channel, of samples scaled to 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Subtracted from each channel.
    pub mean: [f32; 3],
    /// Each channel is divided by it; positive.
    pub std: [f32; 3],
}

impl Planes {
    /// (v / 255 − mean) / std, in the order [C, H, W].
    pub fn normalised(mut self, by: &Normalisation) -> Vec<f32> {
        let area = (self.height * self.width).max(1);
        let planes = self.values.chunks_exact_mut(area);
        for ((plane, mean), std) in planes.zip(by.mean).zip(by.std) {
            for value in plane {
                *value = (*value / 255.0 - mean) / std;
            }
        }
        self.values
    }
}

/// Resizes the whole picture to `height` × `width`; the aspect ratio is not kept.
///
/// # Errors
/// A side of the target is zero.
pub fn resize(picture: &Image, height: usize, width: usize) -> Result<Planes> {
    let area = height.checked_mul(width).and_then(|n| n.checked_mul(3));
    let Some(length) = area.filter(|&n| n > 0) else {
        return Err(Error::input(format!(
            "a picture cannot be resized to {width}×{height} pixels"
        )));
    };
    let rows = filter(picture.height(), height);
    let columns = filter(picture.width(), width);
    let mut values = vec![0.0; length];
    let (red, rest) = values.split_at_mut(height * width);
    let (green, blue) = rest.split_at_mut(height * width);
    let mut row = vec![0.0; 3 * picture.width()]; // [W, 3]: one output row, not yet resized horizontally
    for (y, taps) in rows.iter().enumerate() {
        row.fill(0.0);
        for (source, weight) in (taps.first..).zip(&taps.weights) {
            for (sum, &sample) in row.iter_mut().zip(picture.row(source)) {
                *sum += weight * f32::from(sample);
            }
        }
        for (x, taps) in columns.iter().enumerate() {
            let mut sums = [0.0; 3];
            let pixels = row[3 * taps.first..].chunks_exact(3);
            for (pixel, weight) in pixels.zip(&taps.weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += weight * value;
                }
            }
            let at = y * width + x;
            [red[at], green[at], blue[at]] = sums;
        }
    }
    Ok(Planes {
        height,
        width,
        values,
    })
}

/// The samples that one output sample is made of: consecutive ones from `first`, with weights that sum to 1.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// The taps of each of `to` outputs over `from` inputs.
fn filter(from: usize, to: usize) -> Vec<Taps> {
    let ratio = from as f64 / to as f64;
    let support = ratio.max(1.0); // half the width of the triangle, in input samples
    let taps = |i: usize| {
        let centre = (i as f64 + 0.5) * ratio;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - centre) / support).abs()).max(0.0);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        Taps {
            first,
            weights: weights.iter().map(|w| (w / sum) as f32).collect(),
        }
    };
    (0..to).map(taps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use proptest::prelude::*;

    fn grey(width: usize, samples: &[u8]) -> Image {
        let rgb = samples.iter().flat_map(|&v| [v; 3]).collect();
        Image::new(samples.len() / width, width, rgb).expect("a picture")
    }

    fn noise(height: usize, width: usize) -> Image {
        let mut stream = Stream::new(1, "noise", 0, 0);
        let samples = (0..3 * height * width)
            .map(|_| stream.below(256) as u8)
            .collect();
        Image::new(height, width, samples).expect("a picture")
    }

    #[test]
    fn hand_worked_rows() {
        let resized = |samples: &[u8], to| {
            resize(&grey(samples.len(), samples), 1, to)
                .expect("resizes")
                .values
        };
        // Twice as wide: centres at 0.25, 0.75, 1.25, 1.75 lie a quarter off the samples' at 0.5 and 1.5.
        assert_eq!(resized(&[0, 100], 4)[..4], [0.0, 25.0, 75.0, 100.0]);
        // Half as wide: the triangle of half-width 2 around 1 weighs the samples at 0.5, 1.5, 2.5 by 3/4, 3/4, 1/4.
        let [first, second] = resized(&[70, 140, 210, 0], 2)[..2] else {
            panic!("two columns")
        };
        assert!(
            (first - (3.0 * 70.0 + 3.0 * 140.0 + 210.0) / 7.0).abs() < 1e-4,
            "{first}"
        );
        assert!(
            (second - (140.0 + 3.0 * 210.0) / 7.0).abs() < 1e-4,
            "{second}"
        );
        // The same size: the same numbers, plane by plane.
        let one = Image::new(1, 2, vec![1, 2, 3, 4, 5, 6]).expect("a picture");
        assert_eq!(
            resize(&one, 1, 2).expect("resizes").values,
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
    }

    /// Numbers of Pillow 13.0 for a picture of floats, `resize((3, 2), Image.Resampling.BILINEAR)`.
    #[test]
    fn agrees_with_pillow() {
        let samples: Vec<u8> = (0..35).map(|i| ((i * 53) % 251) as u8).collect();
        let ours = resize(&grey(7, &samples), 2, 3).expect("resizes").values;
        for (ours, pillow) in ours.iter().zip(PILLOW) {
            assert!((ours - pillow).abs() < 1e-3, "{ours} and {pillow}");
        }
    }
    const PILLOW: [f32; 6] = [117.3474, 121.9572, 102.4545, 134.8701, 115.6551, 125.6818];

    #[test]
    fn normalisation_is_per_channel() {
        let planes = Planes {
            height: 1,
            width: 1,
            values: vec![0.0, 127.5, 255.0],
        };
        let by = Normalisation {
            mean: [0.5, 0.5, 0.0],
            std: [0.5, 0.25, 2.0],
        };
        assert_eq!(planes.normalised(&by), [-1.0, 0.0, 0.5]);
    }

    #[test]
    fn empty_targets_are_refused() {
        for (height, width) in [(0, 5), (5, 0), (usize::MAX, 2)] {
            assert!(resize(&noise(3, 3), height, width).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Averages stay between the extremes, and a flat picture stays flat, for any sizes.
        #[test]
        fn stays_in_range(h in 1..40usize, w in 1..40usize, to_h in 1..40usize, to_w in 1..40usize) {
            let flat = resize(&grey(w, &vec![77; h * w]), to_h, to_w).expect("resizes");
            prop_assert_eq!(flat.values.len(), 3 * to_h * to_w);
            prop_assert!(flat.values.iter().all(|v| (v - 77.0).abs() < 1e-3));
            let noisy = resize(&noise(h, w), to_h, to_w).expect("resizes");
            prop_assert!(noisy.values.iter().all(|v| (-1e-3..255.001).contains(v)));
        }

        /// Mirroring commutes with resizing, up to rounding.
        #[test]
        fn mirrors(w in 1..40usize, to in 1..40usize) {
            let picture = noise(1, w);
            let mirrored: Vec<u8> = picture.samples().chunks(3).rev().flatten().copied().collect();
            let there = resize(&picture, 1, to).expect("resizes").values;
            let back = resize(&Image::new(1, w, mirrored).expect("a picture"), 1, to).expect("resizes").values;
            for plane in 0..3 {
                for x in 0..to {
                    let (a, b) = (there[plane * to + x], back[plane * to + to - 1 - x]);
                    prop_assert!((a - b).abs() < 1e-2, "{} {}", a, b);
                }
            }
        }
    }
}
