//! The embedding layer: a learned row for every index.

use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// The rows of the parameter `weight` [V, D] whose numbers are `indices` […], as […, D]; V = `num_embeddings`, D =
/// `embedding_dim`. The weight starts normal with standard deviation 1 (`torch.nn.Embedding`).
///
/// ```
/// # use axenic::{eval, nn};
/// let [y] = eval(|r| Ok([nn::embedding(&r.scope().name("tokens"), r.constant([3u32, 0, 3]), 5, 8)?]))?;
/// assert_eq!(y.shape(), [3, 8].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The indices are real, or have more than five axes.
#[track_caller]
pub fn embedding<'g>(
    scope: &Scope<'g>,
    indices: Tensor<'g>,
    num_embeddings: usize,
    embedding_dim: usize,
) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let shape = [num_embeddings, embedding_dim];
    let weight = scope.parameter("weight", shape, Init::Normal { std: 1.0 })?;
    ops::gather(weight, indices)
}
