//! Dynamic loss scaling: in half precision small gradients would vanish, so the loss is multiplied by a factor as large as
//! the gradients' range allows, and the gradients are divided by it where they are used.

use super::optimizer::OPTIMIZER;
use crate::error::Result;
use crate::graph::{Init, Precision, Tensor};
use crate::ops;

/// The scale that a training begins with, as `torch.amp.GradScaler`.
const FIRST: f64 = 65_536.0;

/// Whether the loss is scaled before its gradient is taken.
///
/// Scaled dynamically, the scale halves after every step whose gradients are not all finite, and doubles after 2000 good
/// steps in a row ([`ops::loss_scale_update`]). A step whose gradients are not finite is skipped: parameters and the
/// optimiser's moments stay as they are. Running statistics move, as with PyTorch: they come from the forward pass, which
/// the scale does not touch. The states `optimizer.loss_scale`, `optimizer.good_steps` and `optimizer.skipped_steps` go into
/// checkpoints, so that a resumed training goes on with the same bits; the graph has the outputs `loss_scale` and
/// `skipped_steps`, as they are after the step.
///
/// Reference: Micikevicius et al. 2018, section 3.2; `torch.amp.GradScaler`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossScaling {
    /// It is not.
    #[default]
    Off,
    /// By a factor that adapts itself.
    Dynamic,
}

impl From<Precision> for LossScaling {
    /// What trains well in a precision.
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Full => LossScaling::Off,
            Precision::Mixed | Precision::Half => LossScaling::Dynamic,
        }
    }
}

/// What an optimiser does with gradients that it has the sum of the squares of.
pub(super) struct Unscaled<'g> {
    /// The square of their norm without the loss's scale; 0 if they are not finite.
    pub square_norm: Tensor<'g>,
    /// What they are to be multiplied by to have that norm; 0 if they are not finite.
    pub factor: Tensor<'g>,
    /// 1, or 0 if they are not finite.
    pub is_finite: Tensor<'g>,
}

const NAMES: [&str; 3] = ["loss_scale", "good_steps", "skipped_steps"];

impl LossScaling {
    /// The cotangent of the loss.
    pub(super) fn cotangent<'g>(self, loss: Tensor<'g>) -> Result<Tensor<'g>> {
        let r = loss.recorder();
        match self {
            LossScaling::Off => ops::fill(r, loss.shape(), 1.0),
            LossScaling::Dynamic => {
                let state = |name, first| {
                    let name = format!("{OPTIMIZER}{name}");
                    r.scope().state(&name, [], Init::Constant(first))
                };
                state(NAMES[1], 0.0)?;
                state(NAMES[2], 0.0)?;
                state(NAMES[0], FIRST)
            }
        }
    }

    /// Takes the scale out of the gradients again, and moves it.
    pub(super) fn unscale<'g>(self, square_sum: Tensor<'g>) -> Result<Unscaled<'g>> {
        let r = square_sum.recorder();
        let one = ops::fill(r, [], 1.0)?;
        if self == LossScaling::Off {
            return Ok(Unscaled {
                square_norm: square_sum,
                factor: one,
                is_finite: one,
            });
        }
        let names = NAMES.map(|name| format!("{OPTIMIZER}{name}"));
        let [scale, good, skipped] = [
            r.newest(&names[0])?,
            r.newest(&names[1])?,
            r.newest(&names[2])?,
        ];
        let settings = ops::LossScaleUpdate::default();
        let [new_scale, new_good, is_finite, square_norm] =
            ops::loss_scale_update(scale, good, square_sum, settings)?;
        let new_skipped = ops::add(skipped, ops::sub(one, is_finite)?)?;
        r.assign(&names[0], new_scale)?;
        r.assign(&names[1], new_good)?;
        r.assign(&names[2], new_skipped)?;
        r.output(NAMES[0], new_scale)?;
        r.output(NAMES[2], new_skipped)?;
        Ok(Unscaled {
            square_norm,
            factor: ops::div(is_finite, scale)?,
            is_finite,
        })
    }
}
