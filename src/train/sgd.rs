//! Stochastic gradient descent, recorded behind a loss: the step is part of the graph.

use crate::autodiff;
use crate::error::{Error, Result};
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

/// The prefix of the momentum buffers' names.
pub(super) const MOMENTUM: &str = "optimizer.momentum.";

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
    let parameters = r.parameters();
    let targets: Vec<Tensor> = parameters.iter().map(|(_, tensor)| *tensor).collect();
    let one = ops::fill(r, loss.shape(), 1.0)?;
    let gradients = autodiff::vector_jacobian(&[(loss, one)], &targets)?;
    let missing = |(name, _): &(String, Tensor)| {
        Error::shape(format!("the parameter {name:?} gets no gradient"))
    };
    let gradients: Vec<Tensor> = gradients
        .into_iter()
        .zip(&parameters)
        .map(|(g, p)| g.ok_or_else(|| missing(p)))
        .collect::<Result<_>>()?;

    let scope = r.scope().name("optimizer");
    let _inside = scope.enter();
    let mut square_sum = ops::fill(r, [], 0.0)?;
    for &gradient in &gradients {
        square_sum = ops::accumulate_square_sum(square_sum, gradient)?;
    }
    let scale = ops::clip_factor(square_sum, settings.clip_norm)?;
    let update = ops::Sgd {
        momentum: settings.momentum,
        weight_decay: settings.weight_decay,
        nesterov: ops::Nesterov::Yes,
    };
    for ((name, parameter), gradient) in parameters.iter().zip(gradients) {
        let buffer_name = format!("{MOMENTUM}{name}");
        let buffer = r
            .scope()
            .state(&buffer_name, parameter.shape(), Init::Constant(0.0))?;
        let (new, new_buffer) = ops::sgd(
            *parameter,
            gradient,
            buffer,
            learning_rate,
            scale,
            update.clone(),
        )?;
        r.assign(name, new)?;
        r.assign(&buffer_name, new_buffer)?;
    }
    Ok(square_sum)
}
