//! What a transformer does with every token by itself: two linear layers, with something bent between them.

use super::{Linear, linear};
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// Settings of the two layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeedForward {
    /// Channels between the layers.
    pub hidden_features: usize,
    /// How the layers are called: `fc1` and `fc2`, `0` and `3`, `w12` and `w3`.
    pub names: [&'static str; 2],
    /// How both weights start.
    pub weight_init: Init,
    /// How both biases start.
    pub bias_init: Init,
}

impl FeedForward {
    fn layer(&self, out_features: usize) -> Linear {
        Linear {
            out_features,
            weight_init: Some(self.weight_init),
            bias_init: Some(self.bias_init),
        }
    }
}

/// gelu(x · W₁ᵀ + b₁) · W₂ᵀ + b₂ of the tokens x […, D], with H hidden channels: the first layer's weight is [H, D], the
/// second's [D, H]. The unit is the exact one ([`gelu`](ops::gelu)).
///
/// Reference: Dosovitskiy et al. 2021, section 3.1; `timm.layers.Mlp`; `torchvision.ops.MLP`.
///
/// ```
/// # use axenic::{eval, nn::{self, FeedForward}, ops};
/// let (weight_init, bias_init) = (nn::truncated_normal(0.02), nn::truncated_normal(0.02));
/// let settings = FeedForward { hidden_features: 32, names: ["fc1", "fc2"], weight_init, bias_init };
/// let [y] = eval(|r| Ok([nn::mlp(&r.scope().name("mlp"), ops::fill(r, [1, 5, 8], 1.0)?, settings)?]))?;
/// assert_eq!(y.shape(), [1, 5, 8].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has fewer than two axes.
#[track_caller]
pub fn mlp<'g>(scope: &Scope<'g>, x: Tensor<'g>, settings: FeedForward) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let [first, second] = settings.names.map(|name| scope.name(name));
    let width = x.shape().last().copied().unwrap_or(0);
    let hidden = linear(&first, x, settings.layer(settings.hidden_features))?;
    let hidden = ops::gelu(hidden)?; // […, H]
    Ok(scope.tap(linear(&second, hidden, settings.layer(width))?))
}

/// (silu(a) · b) · W₃ᵀ + b₃, where a and b, of H channels each, are the two halves of x · W₁₂ᵀ + b₁₂: of every hidden
/// channel, one number says how much of another goes on. The weights are [2·H, D] and [D, H].
///
/// Reference: Shazeer, *GLU variants improve transformer*, 2020, equation 6, with biases; `SwiGLUFFN` of DINOv2;
/// `timm.layers.SwiGLUPacked`.
///
/// ```
/// # use axenic::{eval, nn::{self, FeedForward}, ops};
/// let (weight_init, bias_init) = (nn::truncated_normal(0.02), nn::truncated_normal(0.02));
/// let settings = FeedForward { hidden_features: 24, names: ["w12", "w3"], weight_init, bias_init };
/// let [y] = eval(|r| Ok([nn::swiglu(&r.scope().name("mlp"), ops::fill(r, [1, 5, 8], 1.0)?, settings)?]))?;
/// assert_eq!(y.shape(), [1, 5, 8].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has fewer than two axes.
#[track_caller]
pub fn swiglu<'g>(scope: &Scope<'g>, x: Tensor<'g>, settings: FeedForward) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let [first, second] = settings.names.map(|name| scope.name(name));
    let width = x.shape().last().copied().unwrap_or(0);
    let half = settings.hidden_features;
    let both = linear(&first, x, settings.layer(2 * half))?; // […, 2·H]
    let axis = both.shape().len() - 1;
    let gate = ops::silu(ops::slice(both, axis, 0, half)?)?;
    let hidden = ops::mul(gate, ops::slice(both, axis, half, half)?)?; // […, H]
    Ok(scope.tap(linear(&second, hidden, settings.layer(width))?))
}
