//! Normalisation of every channel by a mean and a variance, with weight and bias.
//!
//! **Definition.** y = (x − mean[c]) · weight[c] / √(variance[c] + eps) + bias[c], plus residual if there is such an input;
//! with `activation=relu` the positive part of that.
//!
//! **Shape.** x [N, C, …]; mean, variance, weight, bias [C]; residual and y as x.
//!
//! **Gradient.** weight and bias: `batch_norm_affine_grad`. x: `batch_norm_input_grad`. What mean and variance are to the
//! gradient is the attribute `statistics`: with `running` they are constants, with `batch` they are x's own
//! (`batch_statistics`), and x's gradient includes the path through them. In both cases none is sent to mean and variance
//! themselves, so that it is counted once. The rectifier's part is `relu_grad` of y, as if it were a node of its own; what it
//! lets through is also residual's gradient. Without a residual, and with the batch's statistics, both gradients compute it from x
//! on the way instead.
//!
//! **Numerics.** Five roundings, a sixth with a residual; x − mean comes first, so that a mean far from 0 costs no digits.
//! The rectifier is exact.
//!
//! **Cost.** Three operations an element, four with a residual; bound by memory.
//!
//! **Reference.** S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
//! covariate shift", ICML 2015; `torch.nn.functional.batch_norm`. With residual and rectifier it is the end of a residual
//! block: K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", CVPR 2016, figure 2.

use super::support::{CHUNK, Channels, WORKGROUP, array, expect_same, normal, shapes, uniform};
use crate::array::{Array, Spec};
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "batch_norm",
    text: include_str!("../../shaders/batch_norm.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// What the mean and the variance of a normalisation are to its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// The batch's own: functions of x.
    Batch,
    /// Running ones: constants.
    Running,
}

impl Statistics {
    /// The words that stand for the choice in attributes.
    pub const WORDS: [(&'static str, Statistics); 2] = [
        ("batch", Statistics::Batch),
        ("running", Statistics::Running),
    ];

    /// The word that stands for this choice in attributes.
    pub fn word(self) -> &'static str {
        match self {
            Statistics::Batch => "batch",
            Statistics::Running => "running",
        }
    }
}

impl NormActivation {
    const WORDS: [(&'static str, Self); 2] = [("identity", Self::Identity), ("relu", Self::Relu)];

    /// What the attributes say.
    pub(in crate::ops) fn of(attributes: &Attributes) -> Result<Self> {
        attributes.choice("activation", Self::Identity, &Self::WORDS)
    }

    /// The word that stands for this choice in attributes.
    pub(in crate::ops) fn word(self) -> &'static str {
        match self {
            NormActivation::Identity => "identity",
            NormActivation::Relu => "relu",
        }
    }
}

/// What follows a normalisation in the same pass over memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormActivation {
    /// Nothing.
    Identity,
    /// The rectifier.
    Relu,
}

/// Normalisation by channel, see the room's documentation.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f64,
    /// What mean and variance are to the gradient.
    pub statistics: Statistics,
    /// What follows.
    pub activation: NormActivation,
}

/// x normalised by `mean` and `variance`, times `weight`, plus `bias`, channel by channel.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| {
///     let x = r.constant([[1.0], [3.0]]);
///     let (mean, variance) = ops::batch_statistics(x)?;
///     let (weight, bias) = (r.constant([2.0]), r.constant([0.5]));
///     Ok([ops::batch_norm(x, mean, variance, weight, bias, 0.0, ops::Statistics::Batch)?])
/// })?;
/// assert_eq!(y, [[-1.5], [2.5]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has fewer than two axes, or the numbers of channels differ.
#[track_caller]
pub fn batch_norm<'g>(
    x: Tensor<'g>,
    mean: Tensor<'g>,
    variance: Tensor<'g>,
    weight: Tensor<'g>,
    bias: Tensor<'g>,
    eps: f64,
    statistics: Statistics,
) -> Result<Tensor<'g>> {
    let op = BatchNorm {
        eps,
        statistics,
        activation: NormActivation::Identity,
    };
    x.recorder()
        .apply_one(op, &[x, mean, variance, weight, bias])
}

/// The positive part of what [`batch_norm`] gives, in one pass over memory.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| {
///     let x = r.constant([[1.0], [3.0]]);
///     let (mean, variance) = ops::batch_statistics(x)?;
///     let (weight, bias) = (r.constant([2.0]), r.constant([0.5]));
///     Ok([ops::batch_norm_relu(x, mean, variance, weight, bias, 0.0, ops::Statistics::Batch)?])
/// })?;
/// assert_eq!(y, [[0.0], [2.5]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// As [`batch_norm`].
#[track_caller]
pub fn batch_norm_relu<'g>(
    x: Tensor<'g>,
    mean: Tensor<'g>,
    variance: Tensor<'g>,
    weight: Tensor<'g>,
    bias: Tensor<'g>,
    eps: f64,
    statistics: Statistics,
) -> Result<Tensor<'g>> {
    let op = BatchNorm {
        eps,
        statistics,
        activation: NormActivation::Relu,
    };
    x.recorder()
        .apply_one(op, &[x, mean, variance, weight, bias])
}

/// The positive part of what [`batch_norm`] gives plus `residual`, in one pass over memory: the end of a residual block.
/// `moments` are mean and variance, `affine` weight and bias.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| {
///     let (x, residual) = (r.constant([[1.0], [3.0]]), r.constant([[4.0], [-9.0]]));
///     let (mean, variance) = ops::batch_statistics(x)?;
///     let affine = [r.constant([2.0]), r.constant([0.5])];
///     Ok([ops::batch_norm_add_relu(x, [mean, variance], affine, residual, 0.0, ops::Statistics::Batch)?])
/// })?;
/// assert_eq!(y, [[2.5], [0.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// As [`batch_norm`], or residual differs from x in shape.
#[track_caller]
pub fn batch_norm_add_relu<'g>(
    x: Tensor<'g>,
    moments: [Tensor<'g>; 2],
    affine: [Tensor<'g>; 2],
    residual: Tensor<'g>,
    eps: f64,
    statistics: Statistics,
) -> Result<Tensor<'g>> {
    let op = BatchNorm {
        eps,
        statistics,
        activation: NormActivation::Relu,
    };
    let ([mean, variance], [weight, bias]) = (moments, affine);
    x.recorder()
        .apply_one(op, &[x, mean, variance, weight, bias, residual])
}

impl BatchNorm {
    /// Computes the elements of `range`, which are `y`.
    #[inline(always)]
    fn normalise<R: Real>(&self, inputs: &[View<R>], y: &mut [R], range: Range<usize>) {
        let channels = Channels::new(inputs[0].shape);
        let [x, mean, variance, weight, bias] = [0, 1, 2, 3, 4].map(|i| inputs[i].real());
        let (start, eps) = (range.start, R::constant(self.eps));
        for (c, run) in channels.runs(range) {
            let (mean, bias) = (mean[c], bias[c]);
            let scale = weight[c] * (R::ONE / (variance[c] + eps).sqrt());
            let y = &mut y[run.start - start..run.end - start];
            let pairs = y.iter_mut().zip(&x[run.clone()]);
            let residual = inputs.get(5).map(|residual| &residual.real()[run]);
            match (self.activation, residual) {
                (NormActivation::Identity, None) => {
                    pairs.for_each(|(y, &x)| *y = (x - mean) * scale + bias);
                }
                (NormActivation::Relu, None) => {
                    pairs.for_each(|(y, &x)| *y = ((x - mean) * scale + bias).max(R::ZERO));
                }
                (NormActivation::Identity, Some(residual)) => pairs
                    .zip(residual)
                    .for_each(|((y, &x), &other)| *y = (x - mean) * scale + bias + other),
                (NormActivation::Relu, Some(residual)) => {
                    pairs.zip(residual).for_each(|((y, &x), &other)| {
                        *y = ((x - mean) * scale + bias + other).max(R::ZERO);
                    });
                }
            }
        }
    }
}

impl Op for BatchNorm {
    const NAME: &'static str = "batch_norm";
    const INPUTS: &'static [&'static str] =
        &["x", "mean", "variance", "weight", "bias", "residual…"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[1, 2, 3, 4], &[]);

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("eps", self.eps)
            .with("statistics", self.statistics.word())
            .with("activation", self.activation.word())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let statistics =
            attributes.choice("statistics", Statistics::Running, &Statistics::WORDS)?;
        let activation = NormActivation::of(attributes)?;
        let eps = attributes.float("eps", 1e-5)?;
        Ok(Self {
            eps,
            statistics,
            activation,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let (own, residual) = inputs.split_at(inputs.len().min(5));
        let [x, mean, variance, weight, bias] = expect_reals(Self::NAME, own)?;
        let vectors = [
            ("mean", mean),
            ("variance", variance),
            ("weight", weight),
            ("bias", bias),
        ];
        Channels::of(Self::NAME, x)?.expect(Self::NAME, &vectors)?;
        if !residual.is_empty() {
            let [residual] = expect_reals(Self::NAME, residual)?;
            expect_same(Self::NAME, [x, residual], ["x", "residual"])?;
        }
        Ok(vec![Spec::real(x)])
    }

    fn constant_inputs(&self) -> &'static [usize] {
        match self.statistics {
            Statistics::Running => &[1, 2],
            Statistics::Batch => &[],
        }
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None; call.inputs.len()]);
        };
        let [x, mean, variance, weight, bias] = [0, 1, 2, 3, 4].map(|i| call.inputs[i]);
        let is_alone = self.statistics == Statistics::Batch && call.inputs.len() == 5;
        let (grad, activation) = match self.activation {
            NormActivation::Relu if !is_alone => (
                super::relu_grad(call.outputs[0], grad)?,
                NormActivation::Identity,
            ),
            activation => (grad, activation),
        };
        let rectified = match activation {
            NormActivation::Identity => None,
            NormActivation::Relu => Some([weight, bias]),
        };
        let (weight_grad, bias_grad) =
            super::batch_norm_affine_grad(x, mean, variance, grad, rectified, self.eps)?;
        let batch = match self.statistics {
            Statistics::Batch => Some(([x, mean, bias, weight_grad, bias_grad], activation)),
            Statistics::Running => None,
        };
        let x_grad = super::batch_norm_input_grad(grad, variance, weight, batch, self.eps)?;
        let affine = [Some(weight_grad), Some(bias_grad)];
        let mut grads = vec![Some(x_grad), None, None];
        grads.extend(affine);
        grads.extend(call.inputs[5..].iter().map(|_| Some(grad)));
        Ok(grads)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        self.normalise(inputs, outputs[0].real(), range);
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
            |i, y| {
                self.normalise(inputs, y, i * CHUNK..i * CHUNK + y.len());
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let channels = Channels::new(inputs[0].shape);
        let n = inputs[0].shape.elements();
        // Without a residual its binding is not read, but something must be bound.
        let residual = if inputs.len() > 5 { 5 } else { 0 };
        let mut bindings: Vec<_> = (0..5).chain([residual]).map(Binding::Input).collect();
        bindings.push(Binding::Output(0));
        let rectifies = self.activation == NormActivation::Relu;
        let launch = Launch::new(&SHADER, bindings)
            .words(&[n, channels.channels, channels.plane])
            .float(self.eps)
            .constant("RELU", f64::from(u8::from(rectifies)))
            .constant("RESIDUAL", f64::from(u8::from(residual > 0)))
            .elements(n, WORKGROUP);
        Ok(vec![launch])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let operations = if inputs.len() > 5 { 4 } else { 3 };
        Cost::new(
            operations * inputs[0].shape.elements(),
            inputs,
            &inputs[..1],
        )
    }

    fn cases() -> Vec<Case<Self>> {
        let running = |(about, shape): (_, Shape)| {
            let op = Self {
                eps: 1e-5,
                statistics: Statistics::Running,
                activation: NormActivation::Identity,
            };
            let vector = |seed| normal([shape[1]], seed);
            let variance = uniform([shape[1]], 0.1, 3.0, 3);
            Case::new(
                about,
                op,
                vec![normal(shape, 1), vector(2), variance, vector(4), vector(5)],
            )
        };
        let batch = |about, shape: Shape| {
            let op = Self {
                eps: 1e-3,
                statistics: Statistics::Batch,
                activation: NormActivation::Identity,
            };
            let vector = |seed| normal([shape[1]], seed);
            let x = normal(shape, 6);
            let mut inputs = vec![x, vector(0), vector(0), vector(7), vector(8)];
            follow_batch(&mut inputs);
            // The f32 that an executor would compute.
            for statistic in &mut inputs[1..3] {
                *statistic = array(statistic.shape(), statistic.to_f32().into_owned());
            }
            Case::new(about, op, inputs).linked(follow_batch)
        };
        let rectified = |mut case: Case<Self>| {
            case.op.activation = NormActivation::Relu;
            case
        };
        let with_residual = |mut case: Case<Self>| {
            case.inputs.push(normal(case.inputs[0].shape(), 10));
            case
        };
        let mut small = running(("variances no larger than eps", [2, 3, 5].into()));
        small.inputs[2] = uniform([3], 0.0, 2e-5, 9);
        let mut cases: Vec<_> = shapes::channels().map(running).collect();
        cases.extend([
            small,
            running(("nothing", [0, 3, 2].into())),
            running(("planes that straddle pieces", [3, 2, 90, 91].into())),
            batch("the batch's statistics", [4, 3, 5, 7].into()),
            batch("the batch's statistics of vectors", [9, 4].into()),
            batch("more than a slice of a channel", [2, 2, 50, 47].into()),
            rectified(running(("images, rectified", [2, 3, 5, 7].into()))),
            rectified(running(("nothing, rectified", [0, 3, 2].into()))),
            rectified(running(("pieces, rectified", [3, 2, 90, 91].into()))),
            rectified(batch("the batch's, rectified", [4, 3, 5, 7].into())),
            with_residual(running(("images and a residual", [2, 3, 5, 7].into()))),
            with_residual(running(("nothing and a residual", [0, 3, 2].into()))),
            with_residual(batch("the batch's and a residual", [4, 3, 5, 7].into())),
            rectified(with_residual(running((
                "pieces and a residual, rectified",
                [3, 2, 90, 91].into(),
            )))),
            rectified(with_residual(batch(
                "the batch's and a residual, rectified",
                [4, 3, 5, 7].into(),
            ))),
        ]);
        cases
    }
}

/// Computes the second and third input, mean and variance, from the first.
fn follow_batch(inputs: &mut [Array]) {
    let x = inputs[0].to_f64();
    let channels = Channels::new(inputs[0].shape());
    let average = |channel: usize, f: &dyn Fn(f64) -> f64| {
        let elements = channels.planes(channel).flat_map(|plane| &x[plane]);
        elements.map(|&x| f(x)).sum::<f64>() / channels.count() as f64
    };
    let means: Vec<f64> = (0..channels.channels).map(|c| average(c, &|x| x)).collect();
    let variances: Vec<f64> = (0..channels.channels)
        .map(|c| average(c, &|x| (x - means[c]).powi(2)))
        .collect();
    let shape = Shape::from([channels.channels]);
    (inputs[1], inputs[2]) = (array(shape, means), array(shape, variances));
}
