//! Test inputs of the losses of yes-or-no targets.

use super::{array, elementwise_shapes, indices, uniform};
use crate::array::Array;
use crate::shape::Shape;

/// Targets that are labels: 0 or 1.
pub(in crate::ops) fn labels(shape: impl Into<Shape>, seed: u64) -> Array {
    let labels = indices(shape, 2, seed);
    let reals: Vec<f32> = labels.to_f64().iter().map(|&x| x as f32).collect();
    array(labels.shape(), reals)
}

/// Logits and targets worth checking, with what each pair is about: targets between 0 and 1 in all shapes, then labels.
pub(in crate::ops) fn logits_and_targets() -> Vec<(&'static str, Array, Array)> {
    let shapes = elementwise_shapes().into_iter().zip(0..);
    let mut pairs: Vec<_> = shapes
        .map(|((about, shape), i)| {
            let logits = uniform(shape, -4.0, 4.0, 2 * i);
            (about, logits, uniform(shape, 0.0, 1.0, 2 * i + 1))
        })
        .collect();
    let labelled = |about, radius: f64, seed| {
        let logits = uniform([31, 3], -radius, radius, seed);
        (about, logits, labels([31, 3], seed + 1))
    };
    pairs.extend([
        labelled("labels", 4.0, 60),
        labelled("far from zero", 60.0, 62),
        labelled("very far from zero", 1000.0, 64),
        labelled("near zero", 1e-5, 66),
        (
            "smoothed labels, far from zero",
            uniform([31, 2], -30.0, 30.0, 68),
            uniform([31, 2], 0.05, 0.95, 69),
        ),
    ]);
    pairs
}
