//! The gradients of a batch normalisation's weight and bias.
//!
//! **Definition.** weight_grad[c] = Σ output_grad · (x − mean[c]) / √(variance[c] + eps), bias_grad[c] = Σ output_grad,
//! over all elements of channel c. With the further inputs weight and bias it is the normalisation's positive part whose gradient
//! output_grad is: then only elements count where (x − mean) · weight / √(variance + eps) + bias is positive.
//!
//! **Shape.** x [N, C, …], output_grad as x; mean, variance, weight, bias [C]; weight_grad, bias_grad [C].
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** On a device slices of at least 4096 elements are added by 256 invocations, then a tree, then a tree over
//! the slices; on the host 64 sums in f32 side by side go over into f64 after 16 additions, or at the end of a plane.
//! Where the sign of what was rectified is a matter of rounding, an executor may count an element or not.
//!
//! **Cost.** Four operations an element, seven with a rectifier; x and output_grad are read once; bound by memory.
//!
//! **Reference.** `torch.ops.aten.native_batch_norm_backward`.

use super::support::{Channels, LaneSums, expect_same, normal, shapes, uniform};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Target, Tensor,
    View, ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "batch_norm_affine_grad",
    text: include_str!("../../shaders/batch_norm_affine_grad.wgsl"),
    uses: &[library::STORE, library::INDEX, library::REDUCE],
};

static COMBINE: Shader = Shader {
    name: "batch_norm_affine_grad.combine",
    text: include_str!("../../shaders/batch_norm_affine_grad.combine.wgsl"),
    uses: &[library::INDEX, library::REDUCE],
};

/// The gradients of weight and bias of [`BatchNorm`](super::BatchNorm), see the room's documentation.
#[derive(Clone, Debug)]
pub struct BatchNormAffineGrad {
    /// Added to the variance.
    pub eps: f64,
}

/// The gradients (weight_grad, bias_grad) of a batch normalisation; `rectified` are its weight and bias if output_grad is the gradient of
/// what [`batch_norm_relu`](super::batch_norm_relu) gives.
///
/// ```
/// # use axenic::{eval, ops};
/// let [weight_grad, bias_grad] = eval(|r| {
///     let (x, output_grad) = (r.constant([[1.0], [3.0]]), r.constant([[1.0], [2.0]]));
///     let (mean, variance) = (r.constant([2.0]), r.constant([4.0]));
///     let (weight_grad, bias_grad) = ops::batch_norm_affine_grad(x, mean, variance, output_grad, None, 0.0)?;
///     Ok([weight_grad, bias_grad])
/// })?;
/// assert_eq!((weight_grad, bias_grad), ([0.5].into(), [3.0].into()));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// output_grad differs from x in shape, or the numbers of channels differ.
#[track_caller]
pub fn batch_norm_affine_grad<'g>(
    x: Tensor<'g>,
    mean: Tensor<'g>,
    variance: Tensor<'g>,
    output_grad: Tensor<'g>,
    rectified: Option<[Tensor<'g>; 2]>,
    eps: f64,
) -> Result<(Tensor<'g>, Tensor<'g>)> {
    let mut inputs = vec![x, mean, variance, output_grad];
    inputs.extend(rectified.into_iter().flatten());
    let outputs = x.recorder().apply(BatchNormAffineGrad { eps }, &inputs)?;
    Ok((outputs[0], outputs[1]))
}

/// What was rectified, channel by channel.
#[derive(Clone, Copy)]
struct Gates<'a, R> {
    variance: &'a [R],
    weight: &'a [R],
    bias: &'a [R],
    eps: R,
}

impl<'a, R: Real> Gates<'a, R> {
    fn new(inputs: &[View<'a, R>], eps: f64) -> Option<Self> {
        Some(Self {
            variance: inputs[2].real(),
            weight: inputs.get(4)?.real(),
            bias: inputs.get(5)?.real(),
            eps: R::constant(eps),
        })
    }

    /// What was rectified in a channel, as a function of x − mean.
    #[inline(always)]
    fn of(self, c: usize) -> impl Fn(R) -> R + Copy {
        let scale = self.weight[c] * (R::ONE / (self.variance[c] + self.eps).sqrt());
        let bias = self.bias[c];
        #[inline(always)]
        move |centred| centred * scale + bias
    }
}

impl Op for BatchNormAffineGrad {
    const NAME: &'static str = "batch_norm_affine_grad";
    const INPUTS: &'static [&'static str] =
        &["x", "mean", "variance", "output_grad", "weight, bias…"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[1, 2, 4, 5], &[0, 1]);

    fn attributes(&self) -> Attributes {
        Attributes::none().with("eps", self.eps)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let eps = attributes.float("eps", 1e-5)?;
        Ok(Self { eps })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let (own, rectified) = inputs.split_at(inputs.len().min(4));
        let [x, mean, variance, output_grad] = expect_reals(Self::NAME, own)?;
        let channels = Channels::of(Self::NAME, x)?;
        if !rectified.is_empty() {
            let [weight, bias] = expect_reals(Self::NAME, rectified)?;
            channels.expect(Self::NAME, &[("weight", weight), ("bias", bias)])?;
        }
        channels.expect(Self::NAME, &[("mean", mean), ("variance", variance)])?;
        expect_same(Self::NAME, [x, output_grad], ["x", "output_grad"])?;
        Ok(vec![Spec::real([channels.channels]); 2])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("batch_norm_affine_grad: no second derivative"))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outputs[0].shape.elements()
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let channels = Channels::new(inputs[0].shape);
        let [x, mean, variance, output_grad] = [0, 1, 2, 3].map(|i| inputs[i].real());
        let gates = Gates::new(inputs, self.eps);
        let [weight_grads, bias_grads] = outputs else {
            unreachable!("there are two outputs")
        };
        let results = weight_grads.real().iter_mut().zip(bias_grads.real());
        for ((weight_grad, bias_grad), c) in results.zip(range) {
            let (mut products, mut sum) = (R::sum(channels.depth()), R::sum(channels.depth()));
            let gate = gates.map(|gates| gates.of(c));
            for i in channels.planes(c).flatten() {
                let centred = x[i] - mean[c];
                let grad = match gate {
                    Some(gate) => output_grad[i].passed(gate(centred)),
                    None => output_grad[i],
                };
                products.add(grad * centred);
                sum.add(grad);
            }
            *weight_grad =
                products.total() * (R::ONE / (variance[c] + R::constant(self.eps)).sqrt());
            *bias_grad = sum.total();
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let channels = Channels::new(inputs[0].shape);
        let [x, mean, variance, output_grad] = [0, 1, 2, 3].map(|i| inputs[i].real());
        let gates = Gates::new(inputs, self.eps);
        let [weight_grads, bias_grads] = outputs else {
            unreachable!("there are two outputs")
        };
        let run = channels.per_task();
        let tasks = weight_grads
            .real()
            .chunks_mut(run)
            .zip(bias_grads.real().chunks_mut(run));
        workers.each(
            tasks.enumerate(),
            #[inline(always)]
            |(task, (weight_grads, bias_grads))| {
                let group = task * run..task * run + weight_grads.len();
                let mut sums = vec![LaneSums::default(); group.len()];
                channels.each_plane(
                    0..channels.batch,
                    group.clone(),
                    #[inline(always)]
                    |i, plane| {
                        let centre = mean[group.start + i];
                        let (grads, x) = (&output_grad[plane.clone()], &x[plane]);
                        match gates {
                            None => sums[i].add(
                                grads,
                                x,
                                #[inline(always)]
                                |grad, x| [grad * (x - centre), grad],
                            ),
                            Some(gates) => {
                                let gate = gates.of(group.start + i);
                                sums[i].add(
                                    grads,
                                    x,
                                    #[inline(always)]
                                    |grad, x| {
                                        let grad = grad.passed(gate(x - centre));
                                        [grad * (x - centre), grad]
                                    },
                                );
                            }
                        }
                    },
                );
                let results = weight_grads.iter_mut().zip(bias_grads);
                for ((results, sums), &variance) in results.zip(&sums).zip(&variance[group]) {
                    let [products, sum] = sums.totals();
                    let deviation = (f64::from(variance) + self.eps).sqrt();
                    (*results.0, *results.1) = ((products / deviation) as f32, sum as f32);
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let channels = Channels::new(inputs[0].shape);
        let slices = channels.slices().count;
        let [weight_grad, bias_grad] = [Binding::Scratch(0), Binding::Scratch(1)];
        let is_rectified = inputs.len() > 4;
        // Without a rectifier its weight and bias are not read, but something must be bound.
        let affine = if is_rectified { [4, 5] } else { [1, 1] };
        let own = [0, 1, 2, 3].into_iter().chain(affine);
        let mut bindings: Vec<_> = own.map(Binding::Input).collect();
        bindings.extend([weight_grad, bias_grad]);
        let partial = Launch::new(&SHADER, bindings)
            .constant("RECTIFIED", f64::from(u8::from(is_rectified)))
            .groups(channels.channels * slices);
        let results = [
            weight_grad,
            bias_grad,
            Binding::Output(0),
            Binding::Output(1),
        ];
        let combine = Launch::new(&COMBINE, results)
            .words(&[channels.channels, slices])
            .groups(channels.channels);
        Ok(vec![channels.words(partial).float(self.eps), combine])
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        let channels = Channels::new(inputs[0].shape);
        match target {
            Target::Gpu(_) => vec![channels.channels * channels.slices().count; 2],
            Target::Reference | Target::Cpu { .. } => Vec::new(),
        }
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let each = if inputs.len() > 4 { 7 } else { 4 };
        Cost::new(each * inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |(about, shape): (_, Shape)| {
            let variance = uniform([shape[1]], 0.1, 3.0, 3);
            let inputs = vec![
                normal(shape, 1),
                normal([shape[1]], 2),
                variance,
                normal(shape, 4),
            ];
            Case::new(about, Self { eps: 1e-5 }, inputs)
        };
        let mut small = of(("variances no larger than eps", [2, 3, 5].into()));
        small.inputs[2] = uniform([3], 0.0, 2e-5, 9);
        let mut cases: Vec<_> = shapes::channels().map(of).collect();
        cases.extend([small, of(("empty channels", [0, 3, 2].into()))]);
        let rectified = |(about, of)| {
            let case = cases.iter().find(|case: &&Case<Self>| case.about == of);
            let mut case = case.cloned().unwrap_or_else(|| unreachable!("no {of}"));
            let channels = case.inputs[1].shape();
            case.about = about;
            case.inputs
                .extend([normal(channels, 5), normal(channels, 6)]);
            case
        };
        let rectified: Vec<_> = RECTIFIED.map(rectified).into();
        cases.extend(rectified);
        cases
    }
}

/// The cases of a rectified normalisation, and those that they are without it.
const RECTIFIED: [(&str, &str); 5] = [
    ("images, rectified", "images"),
    ("vectors, rectified", "vectors"),
    ("slices across samples, rectified", "slices across samples"),
    (
        "variances no larger than eps, rectified",
        "variances no larger than eps",
    ),
    ("empty channels, rectified", "empty channels"),
];
