//! A learned factor for every channel of a residual branch.

use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// x […, D] times the parameter `gamma` `[D]`, which starts at `init`: small, so that a deep network starts near the
/// identity.
///
/// Reference: Touvron et al., *Going deeper with image transformers*, ICCV 2021, equation 4; `timm.layers.LayerScale`.
///
/// ```
/// # use axenic::{eval, nn};
/// let [y] = eval(|r| Ok([nn::layer_scale(&r.scope().name("ls1"), r.constant([[1.0, 3.0]]), 0.5)?]))?;
/// assert_eq!(y, [[0.5, 1.5]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds indices.
#[track_caller]
pub fn layer_scale<'g>(scope: &Scope<'g>, x: Tensor<'g>, init: f64) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let width = x.shape().last().copied().unwrap_or(0);
    let gamma = scope.parameter("gamma", [width], Init::Constant(init))?;
    Ok(scope.tap(ops::mul(x, gamma)?))
}
