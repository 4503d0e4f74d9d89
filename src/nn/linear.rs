//! The linear layer.

use super::default_uniform;
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// Settings of a linear layer. A number stands for that many outputs and the usual start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// The outputs, K.
    pub out_features: usize,
    /// How the weight starts; if not said, as `torch.nn.Linear`'s, uniform in ±1/√D.
    pub weight_init: Option<Init>,
    /// How the bias starts; if not said, as `torch.nn.Linear`'s, uniform in ±1/√D.
    pub bias_init: Option<Init>,
}

impl From<usize> for Linear {
    fn from(out_features: usize) -> Self {
        Self {
            out_features,
            weight_init: None,
            bias_init: None,
        }
    }
}

/// y = x · weightᵀ + bias over the last axis: x […, D] → […, K]; parameters `weight` [K, D] and `bias` `[K]`.
///
/// ```
/// # use axenic::{eval, nn, ops};
/// let [y] = eval(|r| Ok([nn::linear(&r.scope().name("fc"), ops::fill(r, [2, 8], 1.0)?, 4)?]))?;
/// assert_eq!(y.shape(), [2, 4].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has fewer than two axes, or holds indices.
#[track_caller]
pub fn linear<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    settings: impl Into<Linear>,
) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let settings = settings.into();
    let outputs = settings.out_features;
    let inputs = x.shape().last().copied().unwrap_or(0);
    let init = settings.weight_init.unwrap_or(default_uniform(inputs));
    let weight = scope.parameter("weight", [outputs, inputs], init)?;
    let init = settings.bias_init.unwrap_or(default_uniform(inputs));
    let bias = scope.parameter("bias", [outputs], init)?;
    Ok(scope.tap(ops::linear(x, weight, bias)?))
}
