//! The two-dimensional convolution without bias, as it stands before a batch norm.

use super::he_normal;
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// Settings of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Channels of the output, K.
    pub out_channels: usize,
    /// Height and width of the window.
    pub kernel_size: [usize; 2],
    /// Steps of the window.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: [usize; 2],
}

impl Conv2d {
    /// A square window with the padding that keeps the size at stride 1.
    pub fn square(out_channels: usize, kernel_size: usize, stride: usize) -> Self {
        let padding = [kernel_size / 2; 2];
        Self {
            out_channels,
            kernel_size: [kernel_size; 2],
            stride: [stride; 2],
            padding,
        }
    }
}

/// x [N, C, H, W] → [N, K, H', W']; parameter `weight` [K, C, R, S], He-normal.
///
/// ```
/// # use axenic::{eval, nn, ops};
/// let [y] = eval(|r| {
///     let x = ops::fill(r, [1, 3, 8, 8], 1.0)?;
///     Ok([nn::conv2d(&r.scope().name("conv1"), x, nn::Conv2d::square(16, 3, 2))?])
/// })?;
/// assert_eq!(y.shape(), [1, 16, 4, 4].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has not four axes, or the window does not fit.
#[track_caller]
pub fn conv2d<'g>(scope: &Scope<'g>, x: Tensor<'g>, settings: Conv2d) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let Conv2d {
        out_channels,
        kernel_size: [r, s],
        stride,
        padding,
    } = settings;
    let channels = x.shape().get(1).copied().unwrap_or(0);
    let weight = scope.parameter(
        "weight",
        [out_channels, channels, r, s],
        he_normal(out_channels * r * s),
    )?;
    ops::conv2d(
        x,
        weight,
        ops::Conv2d {
            stride,
            padding,
            ..Default::default()
        },
    )
}
