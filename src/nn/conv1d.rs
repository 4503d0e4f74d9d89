//! The one-dimensional convolution: over signals.

use super::default_uniform;
use crate::error::{Error, Result};
use crate::graph::{Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// Settings of a convolution over signals, with the names of `torch.nn.Conv1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv1d {
    /// Channels of the output, K.
    pub out_channels: usize,
    /// Taps of the window, R.
    pub kernel_size: usize,
    /// Steps of the window.
    pub stride: usize,
    /// Zeros around the signal.
    pub padding: Padding,
    /// From one tap to the next.
    pub dilation: usize,
    /// Into how many groups the channels are cut; each sees its own only.
    pub groups: usize,
    /// Whether there is a bias.
    pub bias: Bias,
}

/// Zeros around a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As many as this at either end.
    Both(usize),
    /// (kernel_size − 1)·dilation in front and none behind: nothing depends on what comes later.
    Causal,
}

/// Whether a layer adds a learned number to each of its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// It does.
    Yes,
    /// It does not, as before a normalisation.
    No,
}

impl Conv1d {
    /// A window that moves by one position, without padding, dilation or groups, with a bias.
    pub fn new(out_channels: usize, kernel_size: usize) -> Self {
        Self {
            out_channels,
            kernel_size,
            stride: 1,
            padding: Padding::Both(0),
            dilation: 1,
            groups: 1,
            bias: Bias::Yes,
        }
    }
}

/// x [N, C, T] → [N, K, T']; parameters `weight` [K, C/groups, R] and `bias` `[K]`, uniform in ±1/√(C/groups·R) (the default
/// of `torch.nn.Conv1d`). It is the convolution of images with a single row.
///
/// ```
/// # use axenic::{eval, nn::{self, Conv1d, Padding}, ops};
/// let [y] = eval(|r| {
///     let x = ops::fill(r, [1, 3, 20], 1.0)?;
///     let settings = Conv1d { padding: Padding::Causal, dilation: 4, ..Conv1d::new(8, 3) };
///     Ok([nn::conv1d(&r.scope().name("conv"), x, settings)?])
/// })?;
/// assert_eq!(y.shape(), [1, 8, 20].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has not three axes, the groups do not divide the channels, or the window does not fit.
#[track_caller]
pub fn conv1d<'g>(scope: &Scope<'g>, x: Tensor<'g>, settings: Conv1d) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let &[n, channels, length] = &*x.shape() else {
        let shape = x.shape();
        return Err(Error::shape(format!("conv1d: x {shape} is not [N, C, T]")));
    };
    let Conv1d {
        out_channels: maps,
        kernel_size: taps,
        dilation,
        groups,
        ..
    } = settings;
    let own = channels / groups.max(1);
    let weight = scope.parameter("weight", [maps, own, taps], default_uniform(own * taps))?;
    let weight = ops::reshape(weight, [maps, own, 1, taps])?;
    let bias = match settings.bias {
        Bias::No => None,
        Bias::Yes => Some(scope.parameter("bias", [maps], default_uniform(own * taps))?),
    };
    let x = ops::reshape(x, [n, channels, 1, length])?;
    let (x, padding) = match settings.padding {
        Padding::Both(zeros) => (x, zeros),
        Padding::Causal => {
            let before = taps.saturating_sub(1).saturating_mul(dilation);
            (ops::pad(x, 3, before, 0)?, 0)
        }
    };
    let conv = ops::Conv2d {
        stride: [1, settings.stride],
        padding: [0, padding],
        dilation: [1, dilation],
        groups,
        ..ops::Conv2d::default()
    };
    let y = match bias {
        None => ops::conv2d(x, weight, conv)?,
        Some(bias) => ops::conv2d_bias(x, weight, bias, conv)?,
    }; // [N, K, 1, T']
    ops::reshape(y, [n, maps, y.shape()[3]])
}
