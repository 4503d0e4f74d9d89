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

/// The same over the channels of images, at every pixel alone: x [N, C, H, W], `weight` and `bias` `[C]`.
///
/// Reference: Liu et al., *A ConvNet for the 2020s*, CVPR 2022, section 2.6; `torchvision.models.convnext.LayerNorm2d`.
///
/// ```
/// # use axenic::{eval, nn};
/// let [y] = eval(|r| {
///     let x = r.constant([[[[1.0, 5.0]], [[3.0, 9.0]]]]); // one row of two pixels with two channels
///     Ok([nn::layer_norm2d(&r.scope().name("norm"), x, 0.0)?])
/// })?;
/// assert_eq!(y, [[[[-1.0, -1.0]], [[1.0, 1.0]]]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has not four axes, or no channels.
#[track_caller]
pub fn layer_norm2d<'g>(scope: &Scope<'g>, x: Tensor<'g>, eps: f64) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let y = layer_norm(scope, ops::transpose(x, &[0, 2, 3, 1])?, eps)?; // [N, H, W, C]
    Ok(scope.tap(ops::transpose(y, &[0, 3, 1, 2])?))
}
