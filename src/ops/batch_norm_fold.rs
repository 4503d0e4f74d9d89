//! What a normalisation by constants does to each channel: a factor and a bias.
//!
//! **Definition.** y[0, c] = weight[c] / √(variance[c] + eps), and y[1, c] = bias[c] − mean[c] · y[0, c]. With these
//! `batch_norm` of x is x · y[0, c] + y[1, c], which a convolution computes where it writes its sums.
//!
//! **Shape.** mean, variance, weight, bias `[C]`; y `[2, C]`.
//!
//! **Gradient.** ∂L/∂weight is the sum over both rows of ∂L/∂y times what weight 1 and bias 0 would give; ∂L/∂bias is the second row
//! of ∂L/∂y. Mean and variance are constants.
//!
//! **Numerics.** Four roundings of the factor, two more of the bias. Where a mean is far from 0 against its deviation, bias and
//! x · y[0, c] cancel each other, as `batch_norm` itself avoids; but a convolution's own sum has lost those digits before:
//! its terms are as large as its mean. In mixed precision the result is halves, as the biases of all products are.
//!
//! **Cost.** Five operations a channel.
//!
//! **Reference.** Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*,
//! CVPR 2018, section 3.2.

use super::support::{WORKGROUP, expect_same, normal, uniform};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::{KeepAxes, Shape};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "batch_norm_fold",
    text: include_str!("../../shaders/batch_norm_fold.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// Factors and biases of a normalisation by constants, see the room's documentation.
#[derive(Clone, Debug)]
pub struct BatchNormFold {
    /// Added to the variance.
    pub eps: f64,
}

/// The factors and biases `[2, C]` of a normalisation by `mean` and `variance`, times `weight`, plus `bias`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| {
///     let (mean, variance) = (r.constant([1.0]), r.constant([4.0]));
///     Ok([ops::batch_norm_fold(mean, variance, r.constant([3.0]), r.constant([0.5]), 0.0)?])
/// })?;
/// assert_eq!(y, [[1.5], [-1.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// They are no vectors of one length.
#[track_caller]
pub fn batch_norm_fold<'g>(
    mean: Tensor<'g>,
    variance: Tensor<'g>,
    weight: Tensor<'g>,
    bias: Tensor<'g>,
    eps: f64,
) -> Result<Tensor<'g>> {
    let op = BatchNormFold { eps };
    mean.recorder()
        .apply_one(op, &[mean, variance, weight, bias])
}

impl Op for BatchNormFold {
    const NAME: &'static str = "batch_norm_fold";
    const INPUTS: &'static [&'static str] = &["mean", "variance", "weight", "bias"];

    const HALVES: Halves = Halves::ALWAYS.except(&[0, 1, 2, 3], &[]);

    fn attributes(&self) -> Attributes {
        Attributes::none().with("eps", self.eps)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            eps: attributes.float("eps", 1e-5)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [mean, variance, weight, bias] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [mean, variance], ["mean", "variance"])?;
        expect_same(Self::NAME, [mean, weight], ["mean", "weight"])?;
        expect_same(Self::NAME, [mean, bias], ["mean", "bias"])?;
        if mean.len() != 1 {
            return Err(Error::shape(format!(
                "batch_norm_fold: one number for each channel is needed, mean is {mean}"
            )));
        }
        Ok(vec![Spec::real([2, mean[0]])])
    }

    fn constant_inputs(&self) -> &'static [usize] {
        &[0, 1]
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None; 4]);
        };
        let (mean, variance) = (call.inputs[0], call.inputs[1]);
        let channels = mean.shape()[0];
        let of = |value| super::fill(grad.recorder(), [channels], value);
        let of_one = super::batch_norm_fold(mean, variance, of(1.0)?, of(0.0)?, self.eps)?;
        let weight_grad = super::sum(super::mul(grad, of_one)?, &[0], KeepAxes::No)?;
        let bias_grad = super::reshape(super::slice(grad, 0, 1, 1)?, [channels])?;
        Ok(vec![None, None, Some(weight_grad), Some(bias_grad)])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let [mean, variance, weight, bias] = [0, 1, 2, 3].map(|i| inputs[i].real());
        let eps = R::constant(self.eps);
        for (y, index) in outputs[0].real().iter_mut().zip(range) {
            let c = index % mean.len();
            let factor = weight[c] / (variance[c] + eps).sqrt();
            *y = match index / mean.len() {
                0 => factor,
                _ => bias[c] - mean[c] * factor,
            };
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let channels = inputs[0].shape.elements();
        let mut bindings: Vec<_> = (0..4).map(Binding::Input).collect();
        bindings.push(Binding::Output(0));
        let launch = Launch::new(&SHADER, bindings)
            .word(channels)
            .float(self.eps)
            .elements(channels, WORKGROUP);
        Ok(vec![launch])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let channels = inputs[0].shape.elements();
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(5 * channels, inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, channels: usize, [least, most]: [f64; 2]| {
            let vector = |seed| normal(Shape::from([channels]), seed);
            let variance: Array = uniform([channels], least, most, 2);
            let inputs = vec![vector(1), variance, vector(3), vector(4)];
            Case::new(about, Self { eps: 1e-5 }, inputs)
        };
        let mut shifted = of("means far from 0", 9, [0.5, 1.0]);
        shifted.inputs[0] = uniform([9], 1e3, 2e3, 5);
        let mut ordinary: Vec<_> = [
            ("one channel", 1),
            ("two channels", 2),
            ("a vector of channels", 16),
            ("a vector and one", 17),
            ("a stem's channels", 64),
            ("a workgroup of channels", 256),
            ("a workgroup and one", 257),
            ("many channels", 2048),
        ]
        .into_iter()
        .map(|(about, channels)| of(about, channels, [0.1, 3.0]))
        .collect();
        ordinary.extend([
            shifted,
            of("variances no larger than eps", 7, [0.0, 2e-5]),
            of("large variances", 7, [1e4, 1e5]),
            of("no channels", 0, [0.1, 3.0]),
        ]);
        ordinary
    }
}
