//! Batch normalisation over images, with its running statistics.

use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// Where a batch norm takes its statistics from. Chosen per layer: a frozen one in a training graph is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNormMode {
    /// From the batch at hand; the running statistics move towards them.
    Batch,
    /// From the running statistics, which stay.
    Running,
}

/// Settings of a batch norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm2d {
    /// Where the statistics come from.
    pub mode: BatchNormMode,
    /// Added to the variance.
    pub eps: f64,
    /// The share of the batch in the updated running statistics.
    pub momentum: f64,
    /// How the weight starts: 1, or 0 for the last norm of a residual branch that is to start as nothing.
    pub weight_init: f64,
}

impl BatchNorm2d {
    /// The usual settings: eps 1e-5, momentum 0.1, weight 1.
    pub fn new(mode: BatchNormMode) -> Self {
        Self {
            mode,
            eps: 1e-5,
            momentum: 0.1,
            weight_init: 1.0,
        }
    }
}

/// y = (x − mean) / √(variance + eps) · weight + bias per channel; x [N, C, H, W].
///
/// Parameters `weight` and `bias` `[C]`, states `running_mean` and `running_var` `[C]`. The batch is normalised with its
/// biased variance; the running variance moves towards the unbiased one. A channel with a single value has variance 0 and
/// gives its bias; PyTorch refuses it.
///
/// Reference: Ioffe and Szegedy 2015, algorithm 1; `torch.nn.BatchNorm2d`.
///
/// ```
/// # use axenic::{eval, nn, ops};
/// let [y] = eval(|r| {
///     let x = ops::fill(r, [2, 3, 4, 4], 5.0)?;
///     Ok([nn::batch_norm2d(&r.scope().name("bn1"), x, nn::BatchNorm2d::new(nn::BatchNormMode::Batch))?])
/// })?;
/// assert!(y.to_f64().iter().all(|y| *y == 0.0));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has fewer than two axes.
#[track_caller]
pub fn batch_norm2d<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    settings: BatchNorm2d,
) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    Ok(scope.tap(Norm::declare(scope, x, settings)?.apply(ops::batch_norm)?))
}

/// The positive part of what [`batch_norm2d`] gives, in one pass over memory. What the scope gives to taps is what the
/// rectifier sees, as elsewhere.
///
/// ```
/// # use axenic::{eval, nn, ops};
/// let [y] = eval(|r| {
///     let x = ops::fill(r, [2, 3, 4, 4], -5.0)?;
///     let settings = nn::BatchNorm2d::new(nn::BatchNormMode::Running);
///     Ok([nn::batch_norm2d_relu(&r.scope().name("bn1"), x, settings)?])
/// })?;
/// assert!(y.to_f64().iter().all(|y| *y == 0.0));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has fewer than two axes.
#[track_caller]
pub fn batch_norm2d_relu<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    settings: BatchNorm2d,
) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let norm = Norm::declare(scope, x, settings)?;
    // A node that nothing needs unless it is tapped.
    scope.tap(norm.apply(ops::batch_norm)?);
    norm.apply(ops::batch_norm_relu)
}

/// The positive part of what [`batch_norm2d`] gives plus `residual`, in one pass over memory: the end of a residual block.
/// What the scope gives to taps is what is added to the residual.
///
/// ```
/// # use axenic::{eval, nn, ops};
/// let [y] = eval(|r| {
///     let (x, residual) = (ops::fill(r, [2, 3, 4, 4], 5.0)?, ops::fill(r, [2, 3, 4, 4], 1.5)?);
///     let settings = nn::BatchNorm2d::new(nn::BatchNormMode::Batch);
///     Ok([nn::batch_norm2d_add_relu(&r.scope().name("bn2"), x, residual, settings)?])
/// })?;
/// assert!(y.to_f64().iter().all(|y| *y == 1.5));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has fewer than two axes, or residual has another shape.
#[track_caller]
pub fn batch_norm2d_add_relu<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    residual: Tensor<'g>,
    settings: BatchNorm2d,
) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let norm = Norm::declare(scope, x, settings)?;
    scope.tap(norm.apply(ops::batch_norm)?);
    let (eps, statistics) = (norm.eps, norm.statistics);
    ops::batch_norm_add_relu(x, norm.moments, norm.affine, residual, eps, statistics)
}

/// A batch norm with its parameters and statistics.
struct Norm<'g> {
    x: Tensor<'g>,
    /// Mean and variance.
    moments: [Tensor<'g>; 2],
    /// Weight and bias.
    affine: [Tensor<'g>; 2],
    eps: f64,
    statistics: ops::Statistics,
}

/// An operation on x, mean, variance, weight, bias, eps.
type Normalise<'g> = fn(
    Tensor<'g>,
    Tensor<'g>,
    Tensor<'g>,
    Tensor<'g>,
    Tensor<'g>,
    f64,
    ops::Statistics,
) -> Result<Tensor<'g>>;

impl<'g> Norm<'g> {
    /// Declares the parameters, and lets the running statistics move.
    fn declare(scope: &Scope<'g>, x: Tensor<'g>, settings: BatchNorm2d) -> Result<Self> {
        let channels = x.shape().get(1).copied().unwrap_or(0);
        let weight = scope.parameter("weight", [channels], Init::Constant(settings.weight_init))?;
        let bias = scope.parameter("bias", [channels], Init::Constant(0.0))?;
        let running_mean = scope.state("running_mean", [channels], Init::Constant(0.0))?;
        let running_var = scope.state("running_var", [channels], Init::Constant(1.0))?;
        let (moments, statistics) = match settings.mode {
            BatchNormMode::Running => ([running_mean, running_var], ops::Statistics::Running),
            BatchNormMode::Batch => {
                let (mean, variance) = ops::batch_statistics(x)?;
                // M values a channel; their unbiased variance is M / (M − 1) times the biased one.
                let count = x.shape().elements() as f64 / channels as f64;
                let unbiased = count / (count - 1.0).max(1.0);
                scope.assign(
                    "running_mean",
                    ops::running_update(running_mean, mean, settings.momentum, 1.0)?,
                )?;
                scope.assign(
                    "running_var",
                    ops::running_update(running_var, variance, settings.momentum, unbiased)?,
                )?;
                ([mean, variance], ops::Statistics::Batch)
            }
        };
        Ok(Self {
            x,
            moments,
            affine: [weight, bias],
            eps: settings.eps,
            statistics,
        })
    }

    fn apply(&self, normalise: Normalise<'g>) -> Result<Tensor<'g>> {
        let ([mean, variance], [weight, bias]) = (self.moments, self.affine);
        normalise(
            self.x,
            mean,
            variance,
            weight,
            bias,
            self.eps,
            self.statistics,
        )
    }
}
