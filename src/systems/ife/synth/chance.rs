//! The few distributions that styles and sera are drawn from, in the renderer's own precision.

use crate::rng::Stream;

/// Uniform in [low, high).
pub(super) fn between(stream: &mut Stream, low: f32, high: f32) -> f32 {
    low + (high - low) * stream.uniform() as f32
}

/// Log-uniform in [low, high): every factor of two is equally likely.
pub(super) fn log_between(stream: &mut Stream, low: f32, high: f32) -> f32 {
    between(stream, low.ln(), high.ln()).exp()
}

/// Normal, cut at two and a half deviations so that no draw leaves the plausible.
pub(super) fn around(stream: &mut Stream, mean: f32, deviation: f32) -> f32 {
    mean + deviation * (stream.normal() as f32).clamp(-2.5, 2.5)
}

/// Log-normal: `median` times or divided by about exp(`spread`).
pub(super) fn spread_around(stream: &mut Stream, median: f32, spread: f32) -> f32 {
    median * around(stream, 0.0, spread).exp()
}

/// One of the items, all equally likely.
pub(super) fn pick<T: Copy>(stream: &mut Stream, items: &[T]) -> T {
    items[stream.below(items.len())]
}

/// An index, drawn in proportion to the weights.
pub(super) fn weighted(stream: &mut Stream, weights: &[f32]) -> usize {
    let mut rest = between(stream, 0.0, weights.iter().sum());
    for (i, &weight) in weights.iter().enumerate() {
        if rest < weight {
            return i;
        }
        rest -= weight;
    }
    weights.len() - 1
}

/// A normal deviate good enough for grain, from the four bytes of one word: at most 3.45 deviations, cheap.
pub(super) fn grain(stream: &mut Stream) -> f32 {
    // The sum of four bytes has mean 510 and variance 4 · (256² − 1) / 12 = 147.8².
    const DEVIATION: f32 = 147.8;
    let sum: u32 = stream
        .word()
        .to_le_bytes()
        .iter()
        .map(|&b| u32::from(b))
        .sum();
    (sum as f32 - 510.0) / DEVIATION
}
