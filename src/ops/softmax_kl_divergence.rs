//! The Kullback–Leibler divergence between the softmaxes of two values along an axis.
//!
//! **Definition.** y = Σ t · ln(t / p) along the axis, t = softmax(target / τ₁), p = softmax(prediction / τ₂).
//!
//! **Shape.** target and prediction (logits, not probabilities) have the same shape; the result lacks the axis.
//!
//! **Gradient.** ∂L/∂target = ∂L/∂y · t · (ln(t / p) − y) / τ₁ and ∂L/∂prediction = ∂L/∂y · (p − t) / τ₂ (see
//! `softmax_kl_divergence_grad`).
//!
//! **Numerics.** Σ t ln(t/p) cancels: its terms are of the size of δ = ln(t/p), the sum of that of δ². Since t and p sum to one,
//! y = Σ t ln(t/p) − t + p = Σ t · (e⁻ᵟ − 1 + δ), whose terms are not negative and of the size of δ²; the factor has a series for
//! |δ| ≤ ½. δ itself is taken from the logits, not from t and p: the difference of the shifted logits less the logarithm of the
//! ratio of the sums of exponentials, which is ln(1 + Σ p · (e^difference − 1)). So nearly equal distributions keep their
//! relative accuracy, and equal ones give 0 exactly. Sums have depth ⌈n/256⌉ + 9 on a device; the host accumulates in f64.
//!
//! **Cost.** Six exponentials an element, counted as thirty operations in all; a device reads the inputs four times.
//!
//! **Reference.** `torch.nn.functional.kl_div(log_softmax(prediction / τ₂), softmax(target / τ₁), reduction="none").sum(axis)`.

use super::support::{
    Rows, expect_axis, expect_same, expect_temperature, normal, shapes, softmax_pairs, uniform,
};
use crate::array::{Array, Spec};
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::KeepAxes;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "softmax_kl_divergence",
    text: include_str!("../../shaders/softmax_kl_divergence.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::ROWS,
        library::EXP_REMAINDER,
        library::LOG_ONE_PLUS,
        library::SOFTMAX_PAIR,
    ],
};

/// The divergence between two softmaxes, see the room's documentation.
#[derive(Clone, Debug)]
pub struct SoftmaxKlDivergence {
    /// The axis along which the probabilities sum to 1.
    pub axis: usize,
    /// What the target's logits are divided by.
    pub target_temperature: f64,
    /// What the prediction's logits are divided by.
    pub prediction_temperature: f64,
}

/// KL(softmax(`target` / `target_temperature`) ‖ softmax(`prediction` / `prediction_temperature`)) along `axis`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| {
///     let (target, prediction) = (r.constant([3.0f64.ln(), 0.0]), r.constant([1.0, 1.0]));
///     Ok([ops::softmax_kl_divergence(target, prediction, 0, 1.0, 1.0)?])
/// })?;
/// assert!((y.to_f64()[0] - (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln())).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, the axis does not exist, or a temperature is not between 1e-30 and 1e30.
#[track_caller]
pub fn softmax_kl_divergence<'g>(
    target: Tensor<'g>,
    prediction: Tensor<'g>,
    axis: usize,
    target_temperature: f64,
    prediction_temperature: f64,
) -> Result<Tensor<'g>> {
    let op = SoftmaxKlDivergence {
        axis,
        target_temperature,
        prediction_temperature,
    };
    target.recorder().apply_one(op, &[target, prediction])
}

impl Op for SoftmaxKlDivergence {
    const NAME: &'static str = "softmax_kl_divergence";
    const INPUTS: &'static [&'static str] = &["target", "prediction"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("axis", self.axis)
            .with("target_temperature", self.target_temperature)
            .with("prediction_temperature", self.prediction_temperature)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
            target_temperature: attributes.float("target_temperature", 1.0)?,
            prediction_temperature: attributes.float("prediction_temperature", 1.0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [target, prediction] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [target, prediction], ["target", "prediction"])?;
        expect_axis(Self::NAME, target, self.axis)?;
        expect_temperature(Self::NAME, "target_temperature", self.target_temperature)?;
        expect_temperature(
            Self::NAME,
            "prediction_temperature",
            self.prediction_temperature,
        )?;
        let shape = target.reduced(&[self.axis], KeepAxes::No)?;
        Ok(vec![Spec::real(shape)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None, None]);
        };
        let temperatures = [self.target_temperature, self.prediction_temperature];
        let (target, prediction) = (call.inputs[0], call.inputs[1]);
        let grads =
            super::softmax_kl_divergence_grad(target, prediction, grad, self.axis, temperatures)?;
        Ok(grads.into_iter().map(Some).collect())
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (target, prediction) = (inputs[0].real(), inputs[1].real());
        let scales =
            [self.target_temperature, self.prediction_temperature].map(|t| R::constant(1.0 / t));
        for (y, row) in outputs[0].real().iter_mut().zip(range) {
            let pairs = softmax_pairs(
                rows.of(target, row),
                rows.of(prediction, row),
                scales,
                rows.depth(),
            );
            let mut sum = R::sum(rows.depth());
            pairs.iter().for_each(|pair| sum.add(pair.divergence()));
            *y = sum.total();
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        let launch = rows.launch(Launch::new(&SHADER, bindings));
        Ok(vec![
            launch
                .float(1.0 / self.target_temperature)
                .float(1.0 / self.prediction_temperature),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(30 * inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let with = |about,
                    axis,
                    [target_temperature, prediction_temperature]: [f64; 2],
                    maps: [Array; 2]| {
            let op = Self {
                axis,
                target_temperature,
                prediction_temperature,
            };
            Case::new(about, op, maps.into())
        };
        let case = |(about, axis, x)| with(about, axis, [1.0, 1.0], [normal(x, 1), normal(x, 2)]);
        let maps = |shape: [usize; 2], low, high, seeds: [u64; 2]| {
            seeds.map(|seed| uniform(shape, low, high, seed))
        };
        let mut cases: Vec<_> = shapes::rows().map(case).collect();
        cases.extend([
            with(
                "a sharper target",
                1,
                [0.2, 1.0],
                maps([5, 14], 0.0, 1.0, [31, 31]),
            ),
            with(
                "a smoother target",
                1,
                [5.0, 1.0],
                maps([5, 7], 0.0, 1.0, [32, 32]),
            ),
            with(
                "two temperatures",
                1,
                [0.5, 3.0],
                maps([5, 7], -1.0, 1.0, [39, 40]),
            ),
            with(
                "nearly constant",
                1,
                [5.0, 1.0],
                maps([3, 14], 0.5, 0.501, [33, 33]),
            ),
            with(
                "nearly equal",
                1,
                [1.0, 1.0],
                maps([1, 14], 0.5, 0.501, [34, 35]),
            ),
            with("equal", 1, [1.0, 1.0], maps([1, 14], -1.0, 1.0, [36, 36])),
            with(
                "far apart",
                1,
                [1.0, 1.0],
                maps([3, 9], -30.0, 30.0, [37, 38]),
            ),
            with(
                "far below zero",
                1,
                [1.0, 1.0],
                maps([3, 17], -1e6, -1e6 + 1.0, [41, 42]),
            )
            .without_differences(),
        ]);
        cases
    }
}
