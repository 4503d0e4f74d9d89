//! Stochastic gradient descent, recorded behind a loss: the step is part of the graph.

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
}

/// Records the gradient of `loss` with respect to every parameter declared so far, clips it, and assigns every parameter
/// and its momentum buffer (a state named `optimizer.momentum.<parameter>`) their new values. Gives the gradient's norm
/// before clipping, squared.
///
/// Reference: Sutskever et al. 2013; clipping as in Pascanu et al. 2013; `torch.optim.SGD(nesterov=True)`.
///
/// # Errors
/// A parameter gets no gradient; the error names it. Declare it as travelling, or leave it out.
pub fn record_sgd<'g>(
    r: &'g Recorder,
    loss: Tensor<'g>,
    learning_rate: Tensor<'g>,
    settings: Sgd,
) -> Result<Tensor<'g>> {
    let Gradients {
        each,
        square_norm,
        scale,
    } = record_gradients(r, loss, settings.clip_norm)?;
    let scope = r.scope().name("optimizer");
    let _inside = scope.enter();
    let update = ops::Sgd {
        momentum: settings.momentum,
        weight_decay: settings.weight_decay,
        nesterov: ops::Nesterov::Yes,
    };
    for (name, parameter, gradient) in each {
        let buffer_name = format!("{OPTIMIZER}momentum.{name}");
        let buffer = r
            .scope()
            .state(&buffer_name, parameter.shape(), Init::Constant(0.0))?;
        let (new, new_buffer) = ops::sgd(
            parameter,
            gradient,
            buffer,
            learning_rate,
            scale,
            update.clone(),
        )?;
        r.assign(&name, new)?;
        r.assign(&buffer_name, new_buffer)?;
    }
    Ok(square_norm)
}
