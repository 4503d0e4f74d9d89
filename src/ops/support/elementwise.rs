//! Element-by-element operations on the host in f32, and the shapes they are checked on.

use super::combine;
use crate::error::{Error, Result};
use crate::graph::{View, ViewMut};
use crate::shape::Shape;
use crate::workers::Workers;

/// Elements of a piece of work worth sharing out.
pub(in crate::ops) const CHUNK: usize = 8192;

/// Computes `y[i] = f(x[i])`; `f` should be free of branches and calls, and always inlined, so that the loop vectorises.
pub(in crate::ops) fn unary_cpu(
    inputs: &[View<f32>],
    outputs: &mut [ViewMut<f32>],
    workers: &Workers,
    f: impl Fn(f32) -> f32 + Send + Sync,
) {
    let x = inputs[0].real();
    workers.each_chunk(
        outputs[0].real(),
        CHUNK,
        #[inline(always)]
        |i, y| {
            for (y, &x) in y.iter_mut().zip(&x[i * CHUNK..]) {
                *y = f(x);
            }
        },
    );
}

/// Computes `y[i] = f(a[i], b[i])` of two inputs of one shape; else as [`unary_cpu`].
pub(in crate::ops) fn binary_cpu(
    inputs: &[View<f32>],
    outputs: &mut [ViewMut<f32>],
    workers: &Workers,
    f: impl Fn(f32, f32) -> f32 + Send + Sync,
) {
    let (a, b) = (inputs[0].real(), inputs[1].real());
    workers.each_chunk(
        outputs[0].real(),
        CHUNK,
        #[inline(always)]
        |i, y| {
            for (y, (&a, &b)) in y.iter_mut().zip(a[i * CHUNK..].iter().zip(&b[i * CHUNK..])) {
                *y = f(a, b);
            }
        },
    );
}

/// Computes `y[i] = f(a[i], b[i])`, both operands broadcast to the output's shape; else as [`unary_cpu`].
pub(in crate::ops) fn broadcasting_cpu(
    inputs: &[View<f32>],
    outputs: &mut [ViewMut<f32>],
    workers: &Workers,
    f: impl Fn(f32, f32) -> f32 + Send + Sync,
) {
    let (shape, operands) = (outputs[0].shape, [inputs[0], inputs[1]]);
    workers.each_chunk(
        outputs[0].real(),
        CHUNK,
        #[inline(always)]
        |i, y| combine(shape, operands, i * CHUNK, y, &f),
    );
}

/// Shapes that an element-by-element operation is checked on, with what each is about.
pub(in crate::ops) fn elementwise_shapes() -> [(&'static str, Shape); 9] {
    [
        ("a few", [3, 5, 7].into()),
        ("scalar", Shape::SCALAR),
        ("nothing", [2, 0].into()),
        ("one", [1].into()),
        ("one less than a workgroup", [255].into()),
        ("a workgroup", [256].into()),
        ("one more than a workgroup", [257].into()),
        ("a prime number", [1009].into()),
        ("more than a piece of work", [3, 2741].into()),
    ]
}

/// That borders are numbers in order.
pub(in crate::ops) fn borders(name: &str, min: f64, max: f64) -> Result<()> {
    if min <= max {
        Ok(())
    } else {
        Err(Error::shape(format!(
            "{name}: min {min} must not be more than max {max}"
        )))
    }
}
