//! Layer normalisation, over the channels of a token.

use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// Every row of x […, D] with mean 0 and variance 1, then times `weight` `[D]` plus `bias` `[D]`, which start at 1 and 0;
/// `eps` is added to the variance (`torch.nn.LayerNorm`, where it is 1e-5 if nothing is said; transformers have 1e-6).
///
/// ```
/// # use axenic::{eval, nn};
/// let [y] = eval(|r| Ok([nn::layer_norm(&r.scope().name("norm"), r.constant([[1.0, 3.0]]), 0.0)?]))?;
/// assert_eq!(y, [[-1.0, 1.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has no axes or no channels.
#[track_caller]
pub fn layer_norm<'g>(scope: &Scope<'g>, x: Tensor<'g>, eps: f64) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let width = x.shape().last().copied().unwrap_or(0);
    let weight = scope.parameter("weight", [width], Init::Constant(1.0))?;
    let bias = scope.parameter("bias", [width], Init::Constant(0.0))?;
    Ok(scope.tap(ops::layer_norm(x, weight, bias, eps)?))
}
