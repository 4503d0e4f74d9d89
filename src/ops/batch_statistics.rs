//! The mean and the variance of every channel over a batch.
//!
//! **Definition.** With n = N·H·W elements a channel: mean[c] = Σ x[·, c, ·] / n, variance[c] = Σ (x[·, c, ·] − mean[c])² / n
//! (the biased variance).
//!
//! **Shape.** x [N, C, …] with at least one element a channel; mean [C], variance [C].
//!
//! **Gradient.** ∂L/∂x = (∂L/∂mean + 2 ∂L/∂variance · (x − mean)) / n, see `batch_statistics_grad`. `batch_norm` with
//! batch statistics does not come this way: its own rule includes the path through mean and variance.
//!
//! **Numerics.** Slices (on a device at least 4096 elements each, on the host so many planes as stay in the cache) are
//! treated in two passes, mean before deviations, and joined by Chan's formula; so a mean far from 0 costs no digits of the
//! variance beyond those that x itself lacks. Against two passes over the whole channel this adds, to first order in the error of a mean, at
//! most that error's effect once more, and the depth of a mean's sum twice to that of the squares: the bound says so.
//!
//! **Cost.** Four operations an element; x is read from memory once, the second time from a cache; bound by memory.
//!
//! **Reference.** `torch.batch_norm_stats`; T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the
//! sample variance", *The American Statistician* 37 (1983).

use super::support::{Channels, LaneSums, array, normal, shapes, uniform};
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
    name: "batch_statistics",
    text: include_str!("../../shaders/batch_statistics.wgsl"),
    uses: &[library::STORE, library::INDEX, library::REDUCE],
};

static COMBINE: Shader = Shader {
    name: "batch_statistics.combine",
    text: include_str!("../../shaders/batch_statistics.combine.wgsl"),
    uses: &[library::INDEX, library::REDUCE],
};

/// Mean and variance by channel, see the room's documentation.
#[derive(Clone, Debug)]
pub struct BatchStatistics;

/// The mean `[C]` and the biased variance `[C]` of x [N, C, …] over all axes but the second.
///
/// ```
/// # use axenic::{eval, ops};
/// let [mean, variance] = eval(|r| {
///     let (mean, variance) = ops::batch_statistics(r.constant([[1.0, 5.0], [3.0, 5.0]]))?;
///     Ok([mean, variance])
/// })?;
/// assert_eq!((mean, variance), ([2.0, 5.0].into(), [1.0, 0.0].into()));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has fewer than two axes, or its channels have no elements.
#[track_caller]
pub fn batch_statistics<'g>(x: Tensor<'g>) -> Result<(Tensor<'g>, Tensor<'g>)> {
    let outputs = x.recorder().apply(BatchStatistics, &[x])?;
    Ok((outputs[0], outputs[1]))
}

impl Op for BatchStatistics {
    const NAME: &'static str = "batch_statistics";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[], &[0, 1]);

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        let channels = Channels::of(Self::NAME, x)?;
        if channels.count() == 0 {
            return Err(Error::shape(format!(
                "batch_statistics: a channel of x {x} has no elements"
            )));
        }
        Ok(vec![Spec::real([channels.channels]); 2])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let (x, mean) = (call.inputs[0], call.outputs[0]);
        let or_zero = |grad: Option<Tensor<'g>>| match grad {
            Some(grad) => Ok(grad),
            None => super::fill(x.recorder(), mean.shape(), 0.0),
        };
        let (mean_grad, variance_grad) = (or_zero(output_grads[0])?, or_zero(output_grads[1])?);
        let x_grad = super::batch_statistics_grad(x, mean, mean_grad, variance_grad)?;
        Ok(vec![Some(x_grad)])
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outputs[0].shape.elements()
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let channels = Channels::new(inputs[0].shape);
        let (x, count) = (inputs[0].real(), R::count(channels.count()));
        // Beside the additions: division by a slice's length and multiplication by it.
        let depth = channels.depth() + 6;
        let [means, variances] = outputs else {
            unreachable!("there are two outputs")
        };
        let results = means.real().iter_mut().zip(variances.real());
        for ((mean, variance), channel) in results.zip(range) {
            let elements = || channels.planes(channel).flat_map(|plane| &x[plane]);
            let mut sum = R::sum(depth);
            elements().for_each(|&x| sum.add(x));
            *mean = sum.total() / count;
            // The same number with its error counted once more: that of a slice's mean, see Numerics.
            let same = *mean;
            let centre = *mean + (*mean - same);
            let mut squares = R::sum(3 * depth);
            elements().for_each(|&x| squares.add((x - centre) * (x - centre)));
            *variance = squares.total() / count;
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
        let x = inputs[0].real();
        let [means, variances] = outputs else {
            unreachable!("there are two outputs")
        };
        let run = channels.per_task();
        let tasks = means
            .real()
            .chunks_mut(run)
            .zip(variances.real().chunks_mut(run));
        workers.each(
            tasks.enumerate(),
            #[inline(always)]
            |(task, (means, variances))| {
                let group = task * run..task * run + means.len();
                let results = means.iter_mut().zip(variances);
                for ((mean, variance), moments) in results.zip(moments(x, &channels, group)) {
                    *mean = moments.mean as f32;
                    *variance = (moments.squares / moments.count).max(0.0) as f32;
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let channels = Channels::new(inputs[0].shape);
        let [mean, variance] = [Binding::Scratch(0), Binding::Scratch(1)];
        let slices = Launch::new(&SHADER, [Binding::Input(0), mean, variance])
            .groups(channels.channels * channels.slices().count);
        let results = [mean, variance, Binding::Output(0), Binding::Output(1)];
        let combine = Launch::new(&COMBINE, results).groups(channels.channels);
        Ok(vec![channels.words(slices), channels.words(combine)])
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
        Cost::new(4 * inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |(about, shape): (_, Shape)| Case::new(about, Self, vec![normal(shape, 1)]);
        let mut cases: Vec<_> = shapes::channels().map(case).collect();
        cases.push(Case::new(
            "a mean far from 0",
            Self,
            vec![uniform([4, 2, 40, 41], 998.0, 1002.0, 9)],
        ));
        // Planes of different means, so that joining them counts. An element's part is too small for differences.
        let mut x = uniform([5, 1, 130, 131], -1.0, 1.0, 10).into_f32();
        x.iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x += (i / (130 * 131)) as f32);
        let x = array([5, 1, 130, 131].into(), x);
        let slices = Case::new("several slices of the host", Self, vec![x]);
        cases.push(slices.without_differences());
        cases
    }
}

/// The moments of some elements of a channel.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    /// The sum of the squares of the deviations from the mean.
    squares: f64,
}

impl Moments {
    /// Of both sets of elements: Chan's formula.
    fn joined(self, other: Self) -> Self {
        let count = self.count + other.count;
        let (share, distance) = (other.count / count, other.mean - self.mean);
        Self {
            count,
            mean: self.mean + distance * share,
            squares: self.squares + other.squares + distance * distance * self.count * share,
        }
    }
}

/// The moments of a group of channels: two passes over as many samples as stay in the cache, in the order of memory.
#[inline(always)]
fn moments(x: &[f32], channels: &Channels, group: Range<usize>) -> Vec<Moments> {
    let mut moments = vec![Moments::default(); group.len()];
    for samples in channels.cached_samples() {
        let count = (samples.len() * channels.plane) as f64;
        let mut sums = vec![LaneSums::default(); group.len()];
        channels.each_plane(
            samples.clone(),
            group.clone(),
            #[inline(always)]
            |i, plane| sums[i].add(&x[plane.clone()], &x[plane], |x, _| [x]),
        );
        let means: Vec<f64> = sums.iter().map(|sum| sum.totals()[0] / count).collect();
        sums.fill(LaneSums::default());
        channels.each_plane(
            samples,
            group.clone(),
            #[inline(always)]
            |i, plane| {
                // Deviations are taken from the mean as f32 holds it; what that shifts is subtracted again.
                let centre = means[i] as f32;
                sums[i].add(&x[plane.clone()], &x[plane], |x, _| {
                    [(x - centre) * (x - centre)]
                });
            },
        );
        for ((moments, sum), mean) in moments.iter_mut().zip(&sums).zip(means) {
            let ([squares], rounding) = (sum.totals(), mean - f64::from(mean as f32));
            *moments = moments.joined(Moments {
                count,
                mean,
                squares: squares - count * rounding * rounding,
            });
        }
    }
    moments
}
