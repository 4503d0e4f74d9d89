//! What the optimisers share: the gradients of the parameters that learn, and the factor that clips them together.

use super::groups::Groups;
use super::loss_scale::{LossScaling, Unscaled};
use crate::autodiff;
use crate::error::{Error, Result};
use crate::graph::{Recorder, Tensor};
use crate::ops;

/// The prefix of the names of an optimiser's states.
pub(super) const OPTIMIZER: &str = "optimizer.";

/// What updates a parameter.
pub(super) struct Update<'g> {
    /// Its name.
    pub name: String,
    /// Its value.
    pub parameter: Tensor<'g>,
    /// The gradient of the loss.
    pub gradient: Tensor<'g>,
    /// Its group's learning rate.
    pub learning_rate: Tensor<'g>,
    /// Its group's factor on the weight decay.
    pub decay: f64,
}

/// The gradients of a loss.
pub(super) struct Gradients<'g> {
    /// Every parameter declared so far that is not frozen.
    pub each: Vec<Update<'g>>,
    /// The square of the norm of all gradients together; 0 if the step is skipped.
    pub square_norm: Tensor<'g>,
    /// What the gradients are to be multiplied by, so that the norm stays below the limit; 0 if the step is skipped.
    pub scale: Tensor<'g>,
    /// How many steps this is: 1, or 0 if it is skipped.
    pub steps: Tensor<'g>,
}

/// Records the gradients of `loss` with respect to every parameter declared so far that is not frozen. Clipping as in
/// Pascanu et al. 2013; `torch.nn.utils.clip_grad_norm_`.
///
/// # Errors
/// A parameter gets no gradient, and the error names it; all are frozen; or the groups do not fit the model.
pub(super) fn record_gradients<'g>(
    r: &'g Recorder,
    loss: Tensor<'g>,
    learning_rate: Tensor<'g>,
    groups: &Groups,
    clip_norm: f64,
    loss_scaling: LossScaling,
) -> Result<Gradients<'g>> {
    let settings = groups.settings(r)?;
    let learning = r.parameters().into_iter().zip(settings);
    let learning = learning.filter_map(|(parameter, settings)| Some((parameter, settings?)));
    let (targets, settings): (Vec<_>, Vec<_>) = learning.unzip();
    if targets.is_empty() {
        return Err(Error::input(
            "every parameter is frozen: there is nothing to learn",
        ));
    }
    let cotangent = loss_scaling.cotangent(loss)?;
    let gradients = gradients_of(&[(loss, cotangent)], targets)?;
    let scope = r.scope().name("optimizer");
    let _inside = scope.enter();
    let mut square_sum = ops::fill(r, [], 0.0)?;
    let mut each = Vec::with_capacity(gradients.len());
    for ((name, parameter, gradient), settings) in gradients.into_iter().zip(settings) {
        square_sum = ops::accumulate_square_sum(square_sum, gradient)?;
        let learning_rate = if settings.rate == 1.0 {
            learning_rate
        } else {
            ops::mul(learning_rate, ops::fill(r, [], settings.rate)?)?
        };
        each.push(Update {
            name,
            parameter,
            gradient,
            learning_rate,
            decay: settings.decay,
        });
    }
    let Unscaled {
        square_norm,
        factor,
        is_finite,
    } = loss_scaling.unscale(square_sum)?;
    let clip = ops::clip_factor(square_norm, clip_norm)?;
    Ok(Gradients {
        each,
        square_norm,
        scale: match loss_scaling {
            LossScaling::Off => clip,
            LossScaling::Dynamic => ops::mul(clip, factor)?,
        },
        steps: is_finite,
    })
}

/// For every target by its name: itself, and its gradient from the cotangents of the outputs.
///
/// # Errors
/// A target gets no gradient; the error names it.
pub(super) fn gradients_of<'g>(
    outputs: &[(Tensor<'g>, Tensor<'g>)],
    targets: Vec<(String, Tensor<'g>)>,
) -> Result<Vec<(String, Tensor<'g>, Tensor<'g>)>> {
    let tensors: Vec<Tensor> = targets.iter().map(|(_, tensor)| *tensor).collect();
    let gradients = autodiff::vector_jacobian(outputs, &tensors)?;
    let each = targets.into_iter().zip(gradients);
    each.map(|((name, target), gradient)| match gradient {
        Some(gradient) => Ok((name, target, gradient)),
        None => Err(Error::shape(format!("{name:?} gets no gradient"))),
    })
    .collect()
}
