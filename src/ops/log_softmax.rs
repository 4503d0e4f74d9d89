//! The logarithm of the softmax along an axis.
//!
//! **Definition.** yᵢ = xᵢ − ln Σⱼ exp(xⱼ) along the axis.
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂xᵢ = ∂L/∂yᵢ − exp(yᵢ) · Σⱼ ∂L/∂yⱼ (see `log_softmax_grad`).
//!
//! **Numerics.** The largest x is subtracted first, so that no exponential overflows. Sums have depth ⌈n/256⌉ + 9 on a
//! device; the host accumulates in f64.
//!
//! **Cost.** One exponential an element, counted as five operations in all; a device reads x three times.
//!
//! **Reference.** `torch.log_softmax`.

use super::support::{Rows, expect_axis, largest, normal, outer, shapes, uniform};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::{Real, Sum as _};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "log_softmax",
    text: include_str!("../../shaders/log_softmax.wgsl"),
    uses: &[library::STORE, library::INDEX, library::ROWS],
};

/// The logarithm of the softmax along an axis, see the room's documentation.
#[derive(Clone, Debug)]
pub struct LogSoftmax {
    /// The axis along which the probabilities sum to 1.
    pub axis: usize,
}

/// The logarithm of the softmax along `axis`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::log_softmax(r.constant([7.0, 7.0]), 0)?]))?;
/// assert!((y.to_f64()[1] + 2.0f64.ln()).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The axis does not exist.
#[track_caller]
pub fn log_softmax<'g>(x: Tensor<'g>, axis: usize) -> Result<Tensor<'g>> {
    x.recorder().apply_one(LogSoftmax { axis }, &[x])
}

impl Op for LogSoftmax {
    const NAME: &'static str = "log_softmax";
    const INPUTS: &'static [&'static str] = &["x"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("axis", self.axis)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        expect_axis(Self::NAME, x, self.axis)?;
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None]);
        };
        Ok(vec![Some(super::log_softmax_grad(
            call.outputs[0],
            grad,
            self.axis,
        )?)])
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outer(outputs[0].shape, self.axis)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (x, y) = (inputs[0].real(), outputs[0].real());
        let start = rows.start(&range);
        for row in rows.within(&range) {
            let top = largest(rows.of(x, row));
            let mut sum = R::sum(rows.depth());
            rows.of(x, row).for_each(|x| sum.add((x - top).exp()));
            let log_sum = sum.total().ln();
            rows.offsets(row)
                .for_each(|i| y[i - start] = (x[i] - top) - log_sum);
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let bindings = [Binding::Input(0), Binding::Output(0)];
        Ok(vec![rows.launch(Launch::new(&SHADER, bindings))])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(5 * inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, axis, x| Case::new(about, Self { axis }, vec![x]);
        let mut cases: Vec<_> = shapes::rows()
            .map(|(about, axis, x)| case(about, axis, normal(x, 1)))
            .collect();
        cases.extend([
            case("far apart", 1, uniform([3, 31], -300.0, 300.0, 33)),
            case("far from zero", 0, uniform([17], -101.0, -100.0, 34)),
            case("far below zero", 1, uniform([3, 17], -1e6, -1e6 + 1.0, 35)).without_differences(),
        ]);
        cases
    }
}
