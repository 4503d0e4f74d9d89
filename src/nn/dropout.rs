//! Dropout, whose stream of chance is that of its place in the model.

use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::ops::{self, Noise};
use crate::rng::stream_key;
use std::panic::Location;

/// x with numbers dropped with probability `p`, the others divided by 1 − p. `noise` says what is dropped together:
/// elements (dropout), channels (two-dimensional dropout), or samples (stochastic depth, of a residual branch x).
///
/// `key` `[2]` is [`stream_key`] of the seed, a purpose and the step: an input of the graph. The scope's path chooses the
/// stream within it, so every layer needs a scope of its own; two calls under one path drop the same places.
///
/// Where nothing is to be dropped (at inference), do not record it. For Monte Carlo samples, do.
///
/// ```
/// # use axenic::{eval, nn, ops::{self, Noise}, rng::stream_key};
/// let [y] = eval(|r| {
///     let (x, key) = (ops::fill(r, [3, 4], 1.0)?, r.constant(stream_key(42, "dropout", 0)));
///     Ok([nn::dropout(&r.scope().name("head").name("drop"), x, key, 0.5, Noise::Element)?])
/// })?;
/// assert!(y.to_f64().iter().all(|&y| y == 0.0 || y == 2.0));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// p is not between 0 and 1, or the key is no pair of indices.
#[track_caller]
pub fn dropout<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    key: Tensor<'g>,
    p: f64,
    noise: Noise,
) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let stream = stream_key(0, scope.path(), 0)[0] as usize;
    ops::dropout(x, key, ops::Dropout { p, noise, stream })
}
