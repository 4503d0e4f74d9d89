//! Layer normalisation: every row with mean 0 and variance 1, then a weight and a bias for each place.
//!
//! **Definition.** Over the n elements of a row: mean = Σ x / n, inverse_deviation = 1 / √(Σ (x − mean)² / n + eps)
//! (the biased variance), y = (x − mean) · inverse_deviation · weight + bias. A row runs over the last axes: those that
//! weight has.
//!
//! **Shape.** x […, R…]; weight, bias [R…] with at least one element; y as x; mean, inverse_deviation […].
//!
//! **Gradient.** See `layer_norm_grad` and `layer_norm_affine_grad`, which need mean and inverse_deviation: that is why
//! these are outputs. Their own gradients, where there are any, are ∂L/∂mean / n and −∂L/∂inverse_deviation ·
//! inverse_deviation³ · (x − mean) / n.
//!
//! **Numerics.** Two passes over a row, the mean before the deviations, so that a mean far from 0 costs no digits
//! beyond those that x itself lacks. Sums have depth ⌈n/256⌉ + 9 on a device; on the host 16 sums in f32 side by side
//! go over into f64 after 32 additions.
//!
//! **Cost.** Eight operations an element; x is read three times, after the first from a cache; bound by memory.
//!
//! **Reference.** J. Ba, J. Kiros and G. Hinton, "Layer normalization", 2016; `torch.native_layer_norm`.

use super::support::{LANE_DEPTH, Rows, array, expect_same, lane_sum, normal, sum_of_run, uniform};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::{KeepAxes, Shape};
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "layer_norm",
    text: include_str!("../../shaders/layer_norm.wgsl"),
    uses: &[library::STORE, library::INDEX, library::ROWS],
};

/// Rows with mean 0 and variance 1, see the room's documentation.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: f64,
}

/// x with every row normalised over the last axes, those of `weight` and `bias`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| {
///     let (x, weight, bias) = (r.constant([[1.0, 3.0]]), r.constant([2.0, 2.0]), r.constant([0.0, 1.0]));
///     Ok([ops::layer_norm(x, weight, bias, 0.0)?])
/// })?;
/// assert_eq!(y, [[-2.0, 3.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// weight and bias differ in shape, are not the last axes of x, or have no elements.
#[track_caller]
pub fn layer_norm<'g>(
    x: Tensor<'g>,
    weight: Tensor<'g>,
    bias: Tensor<'g>,
    eps: f64,
) -> Result<Tensor<'g>> {
    Ok(x.recorder().apply(LayerNorm { eps }, &[x, weight, bias])?[0])
}

impl Op for LayerNorm {
    const NAME: &'static str = "layer_norm";
    const INPUTS: &'static [&'static str] = &["x", "weight", "bias"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[1, 2], &[1, 2]);

    fn attributes(&self) -> Attributes {
        Attributes::none().with("eps", self.eps)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let eps = attributes.float("eps", 1e-5)?;
        Ok(Self { eps })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x, weight, bias] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [weight, bias], ["weight", "bias"])?;
        if !x.ends_with(&weight) || weight.elements() == 0 {
            return Err(Error::shape(format!(
                "layer_norm: weight {weight} is not the last axes of x {x}, or has no elements"
            )));
        }
        let rows = Spec::real(Shape::new(&x[..x.len() - weight.len()])?);
        Ok(vec![Spec::real(x), rows, rows])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let [x, weight] = [call.inputs[0], call.inputs[1]];
        let [mean, inverse_deviation] = [call.outputs[1], call.outputs[2]];
        let mut grads = vec![None; 3];
        if let Some(grad) = output_grads[0] {
            let (weight_grad, bias_grad) =
                super::layer_norm_affine_grad(x, mean, inverse_deviation, grad)?;
            let x_grad = super::layer_norm_grad(x, mean, inverse_deviation, weight, grad)?;
            grads = vec![Some(x_grad), Some(weight_grad), Some(bias_grad)];
        }
        let count = weight.shape().elements() as f64;
        if let Some(grad) = output_grads[1] {
            let share = super::mul(grad, super::fill(x.recorder(), Shape::SCALAR, 1.0 / count)?)?;
            let x_grad = super::broadcast(beside(share, x)?, x.shape())?;
            grads[0] = Some(plus(grads[0], x_grad)?);
        }
        if let Some(grad) = output_grads[2] {
            let square = super::mul(inverse_deviation, inverse_deviation)?;
            let slope = super::mul(super::mul(grad, inverse_deviation)?, square)?;
            let share = super::mul(
                slope,
                super::fill(x.recorder(), Shape::SCALAR, -1.0 / count)?,
            )?;
            let deviation = super::sub(x, beside(mean, x)?)?;
            let x_grad = super::mul(deviation, beside(share, x)?)?;
            grads[0] = Some(plus(grads[0], x_grad)?);
        }
        Ok(grads)
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outputs[1].shape.elements()
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::trailing(inputs[0].shape, inputs[1].shape);
        let [x, weight, bias] = [0, 1, 2].map(|i| inputs[i].real());
        let [y, means, inverse_deviations] = outputs else {
            unreachable!("there are three outputs")
        };
        let depth = rows.depth().max(LANE_DEPTH);
        let statistics = means.real().iter_mut().zip(inverse_deviations.real());
        let x = x[rows.start(&range)..].chunks(rows.length);
        for ((y, x), (mean, inverse_deviation)) in
            y.real().chunks_mut(rows.length).zip(x).zip(statistics)
        {
            let mut sum = R::sum(depth);
            x.iter().for_each(|&x| sum.add(x));
            *mean = sum.total() / R::count(rows.length);
            let mut squares = R::sum(depth);
            x.iter()
                .for_each(|&x| squares.add((x - *mean) * (x - *mean)));
            let variance = squares.total() / R::count(rows.length);
            *inverse_deviation = R::ONE / (variance + R::constant(self.eps)).sqrt();
            for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
                *y = (x - *mean) * *inverse_deviation * weight[i] + bias[i];
            }
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let rows = Rows::trailing(inputs[0].shape, inputs[1].shape);
        let [x, weight, bias] = [0, 1, 2].map(|i| inputs[i].real());
        let [y, means, inverse_deviations] = outputs else {
            unreachable!("there are three outputs")
        };
        let run = rows.per_task();
        let statistics = means
            .real()
            .chunks_mut(run)
            .zip(inverse_deviations.real().chunks_mut(run));
        let tasks = y.real().chunks_mut(run * rows.length).zip(statistics);
        workers.each(
            tasks.enumerate(),
            #[inline(always)]
            |(task, (y, (means, inverse_deviations)))| {
                let x = x[task * run * rows.length..].chunks(rows.length);
                let statistics = means.iter_mut().zip(inverse_deviations);
                for ((y, x), (mean, inverse_deviation)) in
                    y.chunks_mut(rows.length).zip(x).zip(statistics)
                {
                    (*mean, *inverse_deviation) = statistics_of(x, self.eps);
                    let (centre, scale) = (*mean, *inverse_deviation);
                    let places = weight.iter().zip(bias);
                    for ((y, &x), (&weight, &bias)) in y.iter_mut().zip(x).zip(places) {
                        *y = (x - centre) * scale * weight + bias;
                    }
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::trailing(inputs[0].shape, inputs[1].shape);
        let mut bindings: Vec<_> = (0..3).map(Binding::Input).collect();
        bindings.extend((0..3).map(Binding::Output));
        Ok(vec![
            rows.launch(Launch::new(&SHADER, bindings)).float(self.eps),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(8 * inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes: [(&str, Shape, Shape); 14] = [
            ("tokens", [2, 5, 16].into(), [16].into()),
            ("one row", [7].into(), [7].into()),
            ("one element a row", [4, 1].into(), [1].into()),
            ("nothing", [0, 3].into(), [3].into()),
            ("two trailing axes", [3, 4, 5].into(), [4, 5].into()),
            ("all axes", [2, 3].into(), [2, 3].into()),
            ("one less than a workgroup", [3, 255].into(), [255].into()),
            ("a workgroup", [2, 256].into(), [256].into()),
            ("one more than a workgroup", [3, 257].into(), [257].into()),
            ("a power of two", [9, 64].into(), [64].into()),
            ("one more than a power of two", [9, 65].into(), [65].into()),
            ("a long row", [1, 3001].into(), [3001].into()),
            ("several pieces of work", [67, 2, 129].into(), [129].into()),
            ("more than 65,535 rows", [65_537, 3].into(), [3].into()),
        ];
        let case = |(i, (about, shape, row)): (usize, (&'static str, Shape, Shape))| {
            let seed = 3 * i as u64;
            let inputs = vec![
                normal(shape, seed),
                uniform(row, 0.5, 1.5, seed + 1),
                normal(row, seed + 2),
            ];
            Case::new(about, Self { eps: 1e-5 }, inputs)
        };
        let mut cases: Vec<_> = shapes.into_iter().enumerate().map(case).collect();
        let of = |about, eps, x: Array| {
            let row = [x.shape()[1]];
            Case::new(
                about,
                Self { eps },
                vec![x, normal(row, 51), normal(row, 52)],
            )
        };
        cases.extend([
            of(
                "a mean far from 0",
                1e-5,
                uniform([5, 33], 1000.0, 1001.0, 53),
            ),
            of("a large eps", 0.5, normal([5, 33], 54)),
            of("without eps", 0.0, normal([5, 33], 55)),
            of("constant rows", 1e-5, array([2, 4].into(), vec![0.1f32; 8])),
            // Differences of 1e-6 are no small part of these numbers.
            of("small numbers", 1e-12, uniform([5, 17], -1e-3, 1e-3, 56)).without_differences(),
        ]);
        cases
    }
}

/// Mean and inverse deviation of a row.
#[inline(always)]
fn statistics_of(x: &[f32], eps: f64) -> (f32, f32) {
    let count = x.len() as f64;
    let mean = sum_of_run(x) / count;
    // Deviations are taken from the mean as f32 holds it; what that shifts is subtracted again.
    let centre = mean as f32;
    let squares = lane_sum(x, x, |x, _| (x - centre) * (x - centre));
    let rounding = mean - f64::from(centre);
    let variance = (squares / count - rounding * rounding).max(0.0);
    (centre, (1.0 / (variance + eps).sqrt()) as f32)
}

/// A number a row in the shape of x, with lengths of 1 in place of the last axes.
fn beside<'g>(rows: Tensor<'g>, x: Tensor<'g>) -> Result<Tensor<'g>> {
    let axes: Vec<usize> = (rows.shape().len()..x.shape().len()).collect();
    super::reshape(rows, x.shape().reduced(&axes, KeepAxes::Yes)?)
}

fn plus<'g>(sum: Option<Tensor<'g>>, term: Tensor<'g>) -> Result<Tensor<'g>> {
    sum.map_or(Ok(term), |sum| super::add(sum, term))
}
