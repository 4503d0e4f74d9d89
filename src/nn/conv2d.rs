//! The two-dimensional convolution.

use super::{Bias, default_uniform, kaiming_normal};
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// Settings of a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// Channels of the output, K.
    pub out_channels: usize,
    /// Height and width of the window.
    pub kernel_size: [usize; 2],
    /// Steps of the window.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: [usize; 2],
    /// Distance between the taps of the window.
    pub dilation: [usize; 2],
    /// Into how many groups the channels are cut; as many as there are channels for a depthwise convolution.
    pub groups: usize,
    /// Whether a number is added to every channel.
    pub bias: Bias,
    /// How the weight starts; if not said, He-normal over the outgoing connections.
    pub weight_init: Option<Init>,
    /// How the bias starts; if not said, as `torch.nn.Conv2d`'s, uniform in ±1/√(the inputs of an output).
    pub bias_init: Option<Init>,
}

impl Conv2d {
    /// A square window with the padding that keeps the size at stride 1, without bias, as it stands before a batch norm.
    pub fn square(out_channels: usize, kernel_size: usize, stride: usize) -> Self {
        Self {
            out_channels,
            kernel_size: [kernel_size; 2],
            stride: [stride; 2],
            padding: [kernel_size / 2; 2],
            dilation: [1; 2],
            groups: 1,
            bias: Bias::No,
            weight_init: None,
            bias_init: None,
        }
    }
}

/// x [N, C, H, W] → [N, K, H', W']; parameters `weight` [K, C/groups, R, S] and, if asked for, `bias` `[K]`.
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
/// x has not four axes, the groups do not divide the channels, or the window does not fit.
#[track_caller]
pub fn conv2d<'g>(scope: &Scope<'g>, x: Tensor<'g>, settings: Conv2d) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let (k, [r, s]) = (settings.out_channels, settings.kernel_size);
    let channels = x.shape().get(1).copied().unwrap_or(0) / settings.groups.max(1);
    let init = settings.weight_init.unwrap_or(kaiming_normal(k * r * s));
    let weight = scope.parameter("weight", [k, channels, r, s], init)?;
    let window = ops::Conv2d {
        stride: settings.stride,
        padding: settings.padding,
        dilation: settings.dilation,
        groups: settings.groups,
        ..ops::Conv2d::default()
    };
    if settings.bias == Bias::No {
        return Ok(scope.tap(ops::conv2d(x, weight, window)?));
    }
    let init = settings.bias_init;
    let bias = scope.parameter(
        "bias",
        [k],
        init.unwrap_or(default_uniform(channels * r * s)),
    )?;
    Ok(scope.tap(ops::conv2d_bias(x, weight, bias, window)?))
}
