//! The gradient of a batch's statistics.
//!
//! **Definition.** x_grad = (mean_grad[c] + 2 variance_grad[c] · (x − mean[c])) / n, with n = N·H·W.
//!
//! **Shape.** x [N, C, …]; mean, mean_grad, variance_grad [C]; x_grad as x.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** Six roundings.
//!
//! **Cost.** Three operations an element; bound by memory.
//!
//! **Reference.** The derivative of `torch.var_mean`.

use super::support::{Channels, WORKGROUP, normal, shapes};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "batch_statistics_grad",
    text: include_str!("../../shaders/batch_statistics_grad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The gradient of [`BatchStatistics`](super::BatchStatistics), see the room's documentation.
#[derive(Clone, Debug)]
pub struct BatchStatisticsGrad;

/// What gradients of mean and variance mean for x.
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| {
///     let x = r.constant([[1.0], [3.0]]);
///     let [mean, mean_grad, variance_grad] = [r.constant([2.0]), r.constant([4.0]), r.constant([1.0])];
///     Ok([ops::batch_statistics_grad(x, mean, mean_grad, variance_grad)?])
/// })?;
/// assert_eq!(x_grad, [[1.0], [3.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The numbers of channels differ.
#[track_caller]
pub fn batch_statistics_grad<'g>(
    x: Tensor<'g>,
    mean: Tensor<'g>,
    mean_grad: Tensor<'g>,
    variance_grad: Tensor<'g>,
) -> Result<Tensor<'g>> {
    let inputs = [x, mean, mean_grad, variance_grad];
    x.recorder().apply_one(BatchStatisticsGrad, &inputs)
}

impl Op for BatchStatisticsGrad {
    const NAME: &'static str = "batch_statistics_grad";
    const INPUTS: &'static [&'static str] = &["x", "mean", "mean_grad", "variance_grad"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[1, 2, 3], &[]);

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x, mean, mean_grad, variance_grad] = expect_reals(Self::NAME, inputs)?;
        let vectors = [
            ("mean", mean),
            ("mean_grad", mean_grad),
            ("variance_grad", variance_grad),
        ];
        Channels::of(Self::NAME, x)?.expect(Self::NAME, &vectors)?;
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("batch_statistics_grad: no second derivative"))
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let channels = Channels::new(inputs[0].shape);
        let [x, mean, mean_grad, variance_grad] = [0, 1, 2, 3].map(|i| inputs[i].real());
        let (x_grad, start) = (outputs[0].real(), range.start);
        let count = R::count(channels.count());
        for (c, run) in channels.runs(range) {
            let offset = mean_grad[c] / count;
            let slope = (variance_grad[c] + variance_grad[c]) / count;
            let out = &mut x_grad[run.start - start..run.end - start];
            out.iter_mut().zip(&x[run]).for_each(|(x_grad, &x)| {
                *x_grad = offset + slope * (x - mean[c]);
            });
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let channels = Channels::new(inputs[0].shape);
        let n = inputs[0].shape.elements();
        let mut bindings: Vec<_> = (0..4).map(Binding::Input).collect();
        bindings.push(Binding::Output(0));
        let launch = Launch::new(&SHADER, bindings)
            .words(&[n, channels.channels, channels.plane, channels.count()])
            .elements(n, WORKGROUP);
        Ok(vec![launch])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(3 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |(about, x): (_, Shape)| {
            let vector = |seed| normal([x[1]], seed);
            Case::new(
                about,
                Self,
                vec![normal(x, 1), vector(2), vector(3), vector(4)],
            )
        };
        let mut cases: Vec<_> = shapes::channels().map(of).collect();
        cases.push(of(("nothing", [0, 3, 2].into())));
        cases
    }
}
