//! The gradient of a batch normalisation's input.
//!
//! **Definition.** With s[c] = weight[c] / √(variance[c] + eps) and n = N·H·W:
//! - `statistics=running`: x_grad = s · output_grad;
//! - `statistics=batch`: x_grad = s · (output_grad − bias_grad / n − (x − mean) · weight_grad / (n √(variance + eps))),
//!   which includes the path through mean and variance. Then x, mean, weight_grad and bias_grad (the results of
//!   `batch_norm_affine_grad`) are further inputs. With `activation=relu` output_grad is the gradient of the normalisation's
//!   positive part, and is 0 in the formula where (x − mean) · s + bias is not positive; bias stands behind the mean then.
//!
//! **Shape.** output_grad [N, C, …], x as output_grad; variance, weight, weight_grad, bias_grad [C]; mean [C], or mean and bias
//! [2·C]; x_grad as output_grad.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** Up to ten roundings, in the order of the formula. Where the sign of what was rectified is a matter of
//! rounding, an executor may let output_grad pass or not.
//!
//! **Cost.** Five operations an element, eight with a rectifier; bound by memory.
//!
//! **Reference.** S. Ioffe and C. Szegedy, "Batch normalization", ICML 2015, section 3;
//! `torch.ops.aten.native_batch_norm_backward`.

use super::support::{CHUNK, Channels, WORKGROUP, expect_same, normal, shapes, uniform};
use super::{NormActivation, Statistics};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "batch_norm_input_grad",
    text: include_str!("../../shaders/batch_norm_input_grad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The gradient of the input of [`BatchNorm`](super::BatchNorm), see the room's documentation.
#[derive(Clone, Debug)]
pub struct BatchNormInputGrad {
    /// Added to the variance.
    pub eps: f64,
    /// Whether mean and variance were functions of the input.
    pub statistics: Statistics,
    /// What followed the normalisation. With constants only nothing may have.
    pub activation: NormActivation,
}

/// The gradient of a batch normalisation's input. `batch` is `[x, mean, bias, weight_grad, bias_grad]` if mean and
/// variance were the batch's own, with what followed the normalisation, `None` if they were constants.
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| {
///     let (output_grad, variance, weight) = (r.constant([[1.0], [2.0]]), r.constant([4.0]), r.constant([3.0]));
///     Ok([ops::batch_norm_input_grad(output_grad, variance, weight, None, 0.0)?])
/// })?;
/// assert_eq!(x_grad, [[1.5], [3.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x differs from output_grad in shape, or the numbers of channels differ.
#[track_caller]
pub fn batch_norm_input_grad<'g>(
    output_grad: Tensor<'g>,
    variance: Tensor<'g>,
    weight: Tensor<'g>,
    batch: Option<([Tensor<'g>; 5], NormActivation)>,
    eps: f64,
) -> Result<Tensor<'g>> {
    let mut inputs = vec![output_grad, variance, weight];
    let (statistics, activation) = match batch {
        Some(([x, mean, bias, weight_grad, bias_grad], activation)) => {
            let mean = match activation {
                NormActivation::Identity => mean,
                // In one, for a device binds eight buffers at most.
                NormActivation::Relu => super::concat(&[mean, bias], 0)?,
            };
            inputs.extend([x, mean, weight_grad, bias_grad]);
            (Statistics::Batch, activation)
        }
        None => (Statistics::Running, NormActivation::Identity),
    };
    let op = BatchNormInputGrad {
        eps,
        statistics,
        activation,
    };
    output_grad.recorder().apply_one(op, &inputs)
}

impl BatchNormInputGrad {
    /// Computes the elements of `range`, which are `x_grad`.
    #[inline(always)]
    fn gradient<R: Real>(&self, inputs: &[View<R>], x_grad: &mut [R], range: Range<usize>) {
        let channels = Channels::new(inputs[0].shape);
        let [output_grad, variance, weight] = [0, 1, 2].map(|i| inputs[i].real());
        let start = range.start;
        let (count, eps) = (R::count(channels.count()), R::constant(self.eps));
        for (c, run) in channels.runs(range) {
            let inverse = R::ONE / (variance[c] + eps).sqrt();
            let scale = weight[c] * inverse;
            let x_grad = &mut x_grad[run.start - start..run.end - start];
            let pairs = x_grad.iter_mut().zip(&output_grad[run.clone()]);
            match self.statistics {
                Statistics::Running => pairs.for_each(|(x_grad, &grad)| *x_grad = scale * grad),
                Statistics::Batch => {
                    let [x, means, weight_grad, bias_grad] = [3, 4, 5, 6].map(|i| inputs[i].real());
                    let slope = inverse * weight_grad[c] / count;
                    let (offset, mean) = (bias_grad[c] / count, means[c]);
                    let pairs = pairs.zip(&x[run]);
                    match self.activation {
                        NormActivation::Identity => pairs.for_each(|((x_grad, &grad), &x)| {
                            *x_grad = scale * (grad - offset - (x - mean) * slope);
                        }),
                        NormActivation::Relu => pairs.for_each(|((x_grad, &grad), &x)| {
                            let bias = means[channels.channels + c];
                            let grad = grad.passed((x - mean) * scale + bias);
                            *x_grad = scale * (grad - offset - (x - mean) * slope);
                        }),
                    }
                }
            }
        }
    }
}

impl Op for BatchNormInputGrad {
    const NAME: &'static str = "batch_norm_input_grad";
    const INPUTS: &'static [&'static str] = &["output_grad", "variance", "weight", "batch…"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[1, 2, 4, 5, 6], &[]);

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("eps", self.eps)
            .with("statistics", self.statistics.word())
            .with("activation", self.activation.word())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let statistics =
            attributes.choice("statistics", Statistics::Running, &Statistics::WORDS)?;
        let eps = attributes.float("eps", 1e-5)?;
        let activation = NormActivation::of(attributes)?;
        Ok(Self {
            eps,
            statistics,
            activation,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let output_grad = match self.statistics {
            Statistics::Running if self.activation == NormActivation::Relu => {
                return Err(Error::shape(
                    "batch_norm_input_grad: without the batch's own statistics the rectifier's gradient is a node of its own",
                ));
            }
            Statistics::Running => {
                let [output_grad, variance, weight] = expect_reals(Self::NAME, inputs)?;
                let vectors = [("variance", variance), ("weight", weight)];
                Channels::of(Self::NAME, output_grad)?.expect(Self::NAME, &vectors)?;
                output_grad
            }
            Statistics::Batch => {
                let [
                    output_grad,
                    variance,
                    weight,
                    x,
                    mean,
                    weight_grad,
                    bias_grad,
                ] = expect_reals(Self::NAME, inputs)?;
                let vectors = [
                    ("variance", variance),
                    ("weight", weight),
                    ("weight_grad", weight_grad),
                    ("bias_grad", bias_grad),
                ];
                let channels = Channels::of(Self::NAME, x)?;
                channels.expect(Self::NAME, &vectors)?;
                let means = match self.activation {
                    NormActivation::Identity => channels.channels,
                    NormActivation::Relu => 2 * channels.channels,
                };
                if mean != [means].into() {
                    return Err(Error::shape(format!(
                        "batch_norm_input_grad: mean has shape {mean}, {means} numbers are needed"
                    )));
                }
                expect_same(Self::NAME, [x, output_grad], ["x", "output_grad"])?;
                output_grad
            }
        };
        Ok(vec![Spec::real(output_grad)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("batch_norm_input_grad: no second derivative"))
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        self.gradient(inputs, outputs[0].real(), range);
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        workers.each_chunk(
            outputs[0].real(),
            CHUNK,
            #[inline(always)]
            |i, x_grad| {
                self.gradient(inputs, x_grad, i * CHUNK..i * CHUNK + x_grad.len());
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let channels = Channels::new(inputs[0].shape);
        let n = inputs[0].shape.elements();
        // For running statistics the last four bindings are not read, but something must be bound.
        let order = match self.statistics {
            Statistics::Batch => [0, 1, 2, 3, 4, 5, 6],
            Statistics::Running => [0, 1, 2, 0, 1, 1, 1],
        };
        let mut bindings: Vec<_> = order.into_iter().map(Binding::Input).collect();
        bindings.push(Binding::Output(0));
        let is_batch = self.statistics == Statistics::Batch;
        let is_rectified = self.activation == NormActivation::Relu;
        let launch = Launch::new(&SHADER, bindings)
            .words(&[n, channels.channels, channels.plane, channels.count()])
            .float(self.eps)
            .constant("BATCH", f64::from(u8::from(is_batch)))
            .constant("RECTIFIED", f64::from(u8::from(is_rectified)))
            .elements(n, WORKGROUP);
        Ok(vec![launch])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let operations = match (self.statistics, self.activation) {
            (Statistics::Batch, NormActivation::Identity) => 5,
            (Statistics::Batch, NormActivation::Relu) => 8,
            (Statistics::Running, _) => 1,
        };
        Cost::new(
            operations * inputs[0].shape.elements(),
            inputs,
            &inputs[..1],
        )
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, (statistics, activation), shape: Shape| {
            let vector = |seed| normal([shape[1]], seed);
            let variance = uniform([shape[1]], 0.1, 3.0, 2);
            let mut inputs = vec![normal(shape, 1), variance, vector(3)];
            if statistics == Statistics::Batch {
                let means = match activation {
                    NormActivation::Identity => vector(5),
                    NormActivation::Relu => normal([2 * shape[1]], 5),
                };
                inputs.extend([normal(shape, 4), means, vector(6), vector(7)]);
            }
            let op = Self {
                eps: 1e-5,
                statistics,
                activation,
            };
            Case::new(about, op, inputs)
        };
        let batch = (Statistics::Batch, NormActivation::Identity);
        let running = (Statistics::Running, NormActivation::Identity);
        let rectified = (Statistics::Batch, NormActivation::Relu);
        let mut cases: Vec<_> = shapes::channels()
            .map(|(about, shape)| of(about, batch, shape))
            .collect();
        cases.extend([
            of("images, constants", running, [2, 3, 5, 7].into()),
            of("vectors, constants", running, [17, 5].into()),
            of("nothing, constants", running, [0, 3, 2].into()),
            of("three workgroups, constants", running, [1, 7, 110].into()),
            of("images, rectified", rectified, [2, 3, 5, 7].into()),
            of("vectors, rectified", rectified, [17, 5].into()),
            of("nothing, rectified", rectified, [0, 3, 2].into()),
            of("three workgroups, rectified", rectified, [1, 7, 110].into()),
        ]);
        for choice in [batch, running, rectified] {
            let mut small = of("variances no larger than eps", choice, [2, 3, 5].into());
            small.inputs[1] = uniform([3], 0.0, 2e-5, 9);
            cases.push(small);
        }
        cases
    }
}
