//! What a step of mixed precision learns from its gradients about the scale of its loss.
//!
//! **Definition.** Where square_sum, that of the gradients of loss_scale · loss, is a finite number: is_finite = 1,
//! square_norm = square_sum / loss_scale², and good_steps' = good_steps + 1, loss_scale' = loss_scale; but if that makes
//! `growth_interval` good steps, good_steps' = 0, loss_scale' = loss_scale · `growth_factor`, unless this leaves f32's
//! range. Where it is not: is_finite = 0, square_norm = 0, good_steps' = 0, loss_scale' = loss_scale · `backoff_factor`,
//! at least 2⁻¹²⁶.
//!
//! **Shape.** loss_scale, good_steps and square_sum are scalars, and so are the results loss_scale', good_steps',
//! is_finite and square_norm.
//!
//! **Gradient.** None: it serves the optimiser.
//!
//! **Numerics.** Two divisions; the rest is exact where the factors are powers of two.
//!
//! **Cost.** None to speak of.
//!
//! **Reference.** P. Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2; `torch.amp.GradScaler`.

use super::support::array;
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "loss_scale_update",
    text: include_str!("../../shaders/loss_scale_update.wgsl"),
    uses: &[library::STORE],
};

/// How a loss scale moves, see the room's documentation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScaleUpdate {
    /// What the scale is multiplied by after so many good steps.
    pub growth_factor: f64,
    /// What it is multiplied by after a step whose gradients are not finite.
    pub backoff_factor: f64,
    /// The good steps, one after the other, that make it grow; up to 2²⁴.
    pub growth_interval: usize,
}

impl Default for LossScaleUpdate {
    /// PyTorch's: 2, ½ and 2000.
    fn default() -> Self {
        Self {
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
        }
    }
}

/// The new loss scale, the good steps since it last moved, whether the gradients are finite (1 or 0), and the square of
/// their norm without the scale.
///
/// ```
/// # use axenic::{eval, ops};
/// let [scale, good, is_finite, norm] = eval(|r| {
///     let [scale, good, sum] = [4.0, 7.0, f64::INFINITY].map(|x| r.constant(x));
///     ops::loss_scale_update(scale, good, sum, ops::LossScaleUpdate::default())
/// })?;
/// assert_eq!([scale, good, is_finite, norm], [2.0, 0.0, 0.0, 0.0].map(Into::into));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// An input is not a scalar.
#[track_caller]
pub fn loss_scale_update<'g>(
    loss_scale: Tensor<'g>,
    good_steps: Tensor<'g>,
    square_sum: Tensor<'g>,
    settings: LossScaleUpdate,
) -> Result<[Tensor<'g>; 4]> {
    let inputs = [loss_scale, good_steps, square_sum];
    let outputs = loss_scale.recorder().apply(settings, &inputs)?;
    Ok([outputs[0], outputs[1], outputs[2], outputs[3]])
}

impl LossScaleUpdate {
    /// The largest scale that still grows.
    fn limit(&self) -> f64 {
        f64::from(f32::MAX) / self.growth_factor.max(1.0)
    }
}

impl Op for LossScaleUpdate {
    const NAME: &'static str = "loss_scale_update";
    const INPUTS: &'static [&'static str] = &["loss_scale", "good_steps", "square_sum"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("growth_factor", self.growth_factor)
            .with("backoff_factor", self.backoff_factor)
            .with("growth_interval", self.growth_interval)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let usual = Self::default();
        Ok(Self {
            growth_factor: attributes.float("growth_factor", usual.growth_factor)?,
            backoff_factor: attributes.float("backoff_factor", usual.backoff_factor)?,
            growth_interval: attributes.int("growth_interval", usual.growth_interval)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let shapes: [Shape; 3] = expect_reals(Self::NAME, inputs)?;
        match shapes.iter().find(|shape| **shape != Shape::SCALAR) {
            Some(shape) => Err(Error::shape(format!(
                "loss_scale_update: an input has shape {shape}, scalars are needed"
            ))),
            None => Ok(vec![Spec::real(Shape::SCALAR); 4]),
        }
    }

    fn constant_inputs(&self) -> &'static [usize] {
        &[0, 1, 2]
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None; 3])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], _range: Range<usize>) {
        let [scale, good, sum] = [0, 1, 2].map(|i: usize| inputs[i].real()[0]);
        let results = if sum.value().is_finite() {
            let good = good + R::ONE;
            let norm = sum / scale / scale;
            if good < R::count(self.growth_interval) {
                [scale, good, R::ONE, norm]
            } else if scale > R::constant(self.limit()) {
                [scale, R::ZERO, R::ONE, norm]
            } else {
                let grown = scale * R::constant(self.growth_factor);
                [grown, R::ZERO, R::ONE, norm]
            }
        } else {
            let least = R::constant(f64::from(f32::MIN_POSITIVE));
            let smaller = scale * R::constant(self.backoff_factor);
            [smaller.max(least), R::ZERO, R::ZERO, R::ZERO]
        };
        for (output, result) in outputs.iter_mut().zip(results) {
            output.real()[0] = result;
        }
    }

    fn launches(&self, _inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let inputs = (0..3).map(Binding::Input);
        let bindings: Vec<_> = inputs.chain((0..4).map(Binding::Output)).collect();
        let launch = Launch::new(&SHADER, bindings)
            .float(self.growth_factor)
            .float(self.backoff_factor)
            .float(self.growth_interval as f64)
            .float(self.limit());
        Ok(vec![launch])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(6, inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let usual = Self::default();
        let of = |about, op: Self, numbers: [f32; 3]| {
            let inputs = numbers.map(|x| array(Shape::SCALAR, vec![x]));
            Case::new(about, op, inputs.to_vec())
        };
        let soon = Self {
            growth_factor: 3.0,
            backoff_factor: 0.3,
            growth_interval: 2,
        };
        let start = 65_536.0;
        vec![
            of("a good step", usual, [start, 0.0, 3.7e9]),
            of("one more is needed", usual, [start, 1998.0, 1e6]),
            of("the last that is needed", usual, [start, 1999.0, 1e6]),
            of("none is needed any more", usual, [start, 2000.0, 1e6]),
            of("too large to grow", usual, [2e38, 1999.0, 1e6]),
            of("no gradient", usual, [start, 5.0, 0.0]),
            of("a large sum", usual, [1.0, 5.0, f32::MAX]),
            of("infinity", usual, [start, 1234.0, f32::INFINITY]),
            of("no number", usual, [start, 1999.0, f32::NAN]),
            of(
                "as small as it gets",
                usual,
                [f32::MIN_POSITIVE, 0.0, f32::INFINITY],
            ),
            of("other settings, growing", soon, [7.0, 1.0, 5.0]),
            of("other settings, not yet", soon, [7.0, 0.0, 5.0]),
            of(
                "other settings, backing off",
                soon,
                [7.0, 1.0, f32::INFINITY],
            ),
        ]
    }
}
