//! The gradients of the Kullback–Leibler divergence between two softmaxes.
//!
//! **Definition.** target_grad = output_grad · t · (ln(t / p) − y) / τ₁ and prediction_grad = output_grad · (p − t) / τ₂, where
//! t = softmax(target / τ₁), p = softmax(prediction / τ₂), and y = Σ t ln(t / p) is the divergence.
//!
//! **Shape.** target and prediction have the same shape, and so have the results; output_grad lacks the axis.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** As `softmax_kl_divergence`; with δ = ln(t / p), p − t = t · (e⁻ᵟ − 1), by the series for |δ| ≤ ½: nearly equal
//! distributions keep their relative accuracy.
//!
//! **Cost.** Eight exponentials an element, counted as forty operations in all; a device reads the inputs five times.
//!
//! **Reference.** `torch.nn.functional.kl_div(log_softmax(prediction / τ₂), softmax(target / τ₁))`, backward.

use super::support::{
    Rows, expect_axis, expect_same, expect_temperature, normal, outer, shapes, softmax_pairs,
    uniform,
};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::KeepAxes;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "softmax_kl_divergence_grad",
    text: include_str!("../../shaders/softmax_kl_divergence_grad.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::ROWS,
        library::EXP_REMAINDER,
        library::LOG_ONE_PLUS,
        library::SOFTMAX_PAIR,
    ],
};

/// The gradients of [`SoftmaxKlDivergence`](super::SoftmaxKlDivergence), see the room's documentation.
#[derive(Clone, Debug)]
pub struct SoftmaxKlDivergenceGrad {
    /// The axis along which the probabilities sum to 1.
    pub axis: usize,
    /// What the target's logits are divided by.
    pub target_temperature: f64,
    /// What the prediction's logits are divided by.
    pub prediction_temperature: f64,
}

/// The gradients of target and prediction for [`softmax_kl_divergence`](super::softmax_kl_divergence); `temperatures` are
/// the target's and the prediction's.
///
/// ```
/// # use axenic::{eval, ops};
/// let [_, prediction_grad] = eval(|r| {
///     let (target, prediction) = (r.constant([3.0f64.ln(), 0.0]), r.constant([1.0, 1.0]));
///     ops::softmax_kl_divergence_grad(target, prediction, r.constant(1.0), 0, [1.0, 1.0])
/// })?;
/// assert!((prediction_grad.to_f64()[0] + 0.25).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit, the axis does not exist, or a temperature is not between 1e-30 and 1e30.
#[track_caller]
pub fn softmax_kl_divergence_grad<'g>(
    target: Tensor<'g>,
    prediction: Tensor<'g>,
    output_grad: Tensor<'g>,
    axis: usize,
    temperatures: [f64; 2],
) -> Result<[Tensor<'g>; 2]> {
    let [target_temperature, prediction_temperature] = temperatures;
    let op = SoftmaxKlDivergenceGrad {
        axis,
        target_temperature,
        prediction_temperature,
    };
    let grads = target
        .recorder()
        .apply(op, &[target, prediction, output_grad])?;
    Ok([grads[0], grads[1]])
}

impl Op for SoftmaxKlDivergenceGrad {
    const NAME: &'static str = "softmax_kl_divergence_grad";
    const INPUTS: &'static [&'static str] = &["target", "prediction", "output_grad"];

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
        let [target, prediction, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [target, prediction], ["target", "prediction"])?;
        expect_axis(Self::NAME, target, self.axis)?;
        expect_temperature(Self::NAME, "target_temperature", self.target_temperature)?;
        expect_temperature(
            Self::NAME,
            "prediction_temperature",
            self.prediction_temperature,
        )?;
        let shape = target.reduced(&[self.axis], KeepAxes::No)?;
        expect_same(
            Self::NAME,
            [shape, output_grad],
            ["the shape of the divergences", "output_grad"],
        )?;
        Ok(vec![Spec::real(target); 2])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape(
            "softmax_kl_divergence_grad: no second derivative",
        ))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outer(outputs[0].shape, self.axis)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (target, prediction, output_grad) =
            (inputs[0].real(), inputs[1].real(), inputs[2].real());
        let scales =
            [self.target_temperature, self.prediction_temperature].map(|t| R::constant(1.0 / t));
        let [target_grad, prediction_grad] = outputs else {
            unreachable!("two outputs")
        };
        let (target_grad, prediction_grad) = (target_grad.real(), prediction_grad.real());
        let start = rows.start(&range);
        for row in rows.within(&range) {
            let pairs = softmax_pairs(
                rows.of(target, row),
                rows.of(prediction, row),
                scales,
                rows.depth(),
            );
            let mut sum = R::sum(rows.depth());
            pairs.iter().for_each(|pair| sum.add(pair.divergence()));
            let (divergence, grad) = (sum.total(), output_grad[row]);
            for (i, pair) in rows.offsets(row).zip(&pairs) {
                let surprise = pair.log_ratio - divergence;
                target_grad[i - start] = grad * (pair.target * surprise) * scales[0];
                prediction_grad[i - start] = grad * pair.excess() * scales[1];
            }
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let bindings = [
            Binding::Input(0),
            Binding::Input(1),
            Binding::Input(2),
            Binding::Output(0),
            Binding::Output(1),
        ];
        let launch = rows.launch(Launch::new(&SHADER, bindings));
        Ok(vec![
            launch
                .float(1.0 / self.target_temperature)
                .float(1.0 / self.prediction_temperature),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(40 * inputs[0].shape.elements(), inputs, &inputs[..2])
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
            let shape = maps[0].shape();
            let kept = shape.reduced(&[axis], KeepAxes::No).unwrap_or(shape);
            let mut inputs = Vec::from(maps);
            inputs.push(normal(kept, 3));
            Case::new(about, op, inputs)
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
            ),
        ]);
        cases
    }
}
