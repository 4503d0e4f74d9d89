//! The linear layer.

use super::{linear_bias, linear_weight};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// y = x · weightᵀ + bias: x [N, D] → [N, K]; parameters `weight` [K, D] and `bias` `[K]`.
///
/// ```
/// # use axenic::{eval, nn, ops};
/// let [y] = eval(|r| Ok([nn::linear(&r.scope().name("fc"), ops::fill(r, [2, 8], 1.0)?, 4)?]))?;
/// assert_eq!(y.shape(), [2, 4].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has not two axes.
#[track_caller]
pub fn linear<'g>(scope: &Scope<'g>, x: Tensor<'g>, out_features: usize) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let features = x.shape().last().copied().unwrap_or(0);
    let weight = scope.parameter("weight", [out_features, features], linear_weight(features))?;
    let bias = scope.parameter("bias", [out_features], linear_bias(features))?;
    let product = ops::matmul(x, weight, ops::Transpose::No, ops::Transpose::Yes)?;
    Ok(scope.tap(ops::add(product, bias)?))
}
