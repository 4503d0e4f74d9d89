//! Stochastic gradient descent, recorded behind a loss: the step is part of the graph.

use super::groups::Groups;
use super::loss_scale::LossScaling;
use super::optimizer::{Gradients, OPTIMIZER, record_gradients};
use crate::error::Result;
use crate::graph::{Init, Recorder, Tensor};
use crate::ops;

/// Settings of the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The share of the old direction that is kept (Nesterov's momentum).
    pub momentum: f64,
    /// Decay of all parameters, added to the gradient.
    pub weight_decay: f64,
    /// The norm at which the whole gradient is clipped.
    pub clip_norm: f64,
    /// Whether the loss is scaled.
    pub loss_scaling: LossScaling,
}

/// Records the gradient of `loss` with respect to every parameter declared so far that its group does not freeze, clips
/// it, and assigns each and its momentum buffer (a state named `optimizer.momentum.<parameter>`) their new values. Gives the gradient's norm
/// before clipping, squared; 0 if the step is skipped, see [`LossScaling`].
///
/// Reference: Sutskever et al. 2013; clipping as in Pascanu et al. 2013; `torch.optim.SGD(nesterov=True)`.
///
/// # Errors
/// A parameter gets no gradient; the error names it. Declare it as travelling, freeze it, or leave it out. A group's
/// pattern covers no parameter.
pub fn record_sgd<'g>(
    r: &'g Recorder,
    loss: Tensor<'g>,
    learning_rate: Tensor<'g>,
    settings: Sgd,
    groups: &Groups,
) -> Result<Tensor<'g>> {
    let Gradients {
        each,
        square_norm,
        scale,
        ..
    } = record_gradients(
        r,
        loss,
        learning_rate,
        groups,
        settings.clip_norm,
        settings.loss_scaling,
    )?;
    let scope = r.scope().name("optimizer");
    let _inside = scope.enter();
    for update in each {
        let (name, parameter) = (update.name, update.parameter);
        let buffer_name = format!("{OPTIMIZER}momentum.{name}");
        let buffer = r
            .scope()
            .state(&buffer_name, parameter.shape(), Init::Constant(0.0))?;
        let (new, new_buffer) = ops::sgd(
            parameter,
            update.gradient,
            buffer,
            update.learning_rate,
            scale,
            ops::Sgd {
                momentum: settings.momentum,
                weight_decay: settings.weight_decay * update.decay,
                nesterov: ops::Nesterov::Yes,
            },
        )?;
        r.assign(&name, new)?;
        r.assign(&buffer_name, new_buffer)?;
    }
    Ok(square_norm)
}
