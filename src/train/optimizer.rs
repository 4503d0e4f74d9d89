//! What the optimisers share: the gradients of all parameters, and the factor that clips them together.

use crate::autodiff;
use crate::error::{Error, Result};
use crate::graph::{Recorder, Tensor};
use crate::ops;

/// The prefix of the names of an optimiser's states.
pub(super) const OPTIMIZER: &str = "optimizer.";

/// The gradients of a loss.
pub(super) struct Gradients<'g> {
    /// Every parameter declared so far: name, value, gradient.
    pub each: Vec<(String, Tensor<'g>, Tensor<'g>)>,
    /// The square of the norm of all gradients together.
    pub square_norm: Tensor<'g>,
    /// What the gradients are to be multiplied by, so that the norm stays below the limit.
    pub scale: Tensor<'g>,
}

/// Records the gradients of `loss` with respect to every parameter declared so far. Clipping as in Pascanu et al. 2013;
/// `torch.nn.utils.clip_grad_norm_`.
///
/// # Errors
/// A parameter gets no gradient; the error names it.
pub(super) fn record_gradients<'g>(
    r: &'g Recorder,
    loss: Tensor<'g>,
    clip_norm: f64,
) -> Result<Gradients<'g>> {
    let one = ops::fill(r, loss.shape(), 1.0)?;
    let each = gradients_of(&[(loss, one)], r.parameters())?;
    let scope = r.scope().name("optimizer");
    let _inside = scope.enter();
    let mut square_norm = ops::fill(r, [], 0.0)?;
    for (_, _, gradient) in &each {
        square_norm = ops::accumulate_square_sum(square_norm, *gradient)?;
    }
    Ok(Gradients {
        each,
        square_norm,
        scale: ops::clip_factor(square_norm, clip_norm)?,
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
