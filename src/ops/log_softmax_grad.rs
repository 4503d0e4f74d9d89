//! The gradient of the logarithm of the softmax along an axis.
//!
//! **Definition.** x_gradᵢ = output_gradᵢ − exp(yᵢ) · Σⱼ output_gradⱼ; y is the logarithm of the softmax.
//!
//! **Shape.** y and output_grad have the same shape, and so has the result.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** The sum has depth ⌈n/256⌉ + 9 on a device; the host accumulates in f64.
//!
//! **Cost.** One exponential an element, counted as four operations in all; a device reads output_grad twice.
//!
//! **Reference.** `torch.ops.aten._log_softmax_backward_data`.

use super::support::{Rows, expect_axis, expect_same, normal, outer, shapes, uniform};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "log_softmax_grad",
    text: include_str!("../../shaders/log_softmax_grad.wgsl"),
    uses: &[library::STORE, library::INDEX, library::ROWS],
};

/// The gradient of [`LogSoftmax`](super::LogSoftmax), see the room's documentation.
#[derive(Clone, Debug)]
pub struct LogSoftmaxGrad {
    /// The axis along which the probabilities sum to 1.
    pub axis: usize,
}

/// The gradient of x for the output `y` of [`log_softmax`](super::log_softmax).
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| {
///     let y = ops::log_softmax(r.constant([7.0, 7.0]), 0)?;
///     Ok([ops::log_softmax_grad(y, r.constant([4.0, 0.0]), 0)?])
/// })?;
/// assert!((x_grad.to_f64()[0] - 2.0).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, or the axis does not exist.
#[track_caller]
pub fn log_softmax_grad<'g>(
    y: Tensor<'g>,
    output_grad: Tensor<'g>,
    axis: usize,
) -> Result<Tensor<'g>> {
    y.recorder()
        .apply_one(LogSoftmaxGrad { axis }, &[y, output_grad])
}

impl Op for LogSoftmaxGrad {
    const NAME: &'static str = "log_softmax_grad";
    const INPUTS: &'static [&'static str] = &["y", "output_grad"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("axis", self.axis)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [y, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [y, output_grad], ["y", "output_grad"])?;
        expect_axis(Self::NAME, y, self.axis)?;
        Ok(vec![Spec::real(y)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("log_softmax_grad: no second derivative"))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outer(outputs[0].shape, self.axis)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (y, grad) = (inputs[0].real(), inputs[1].real());
        let x_grad = outputs[0].real();
        let start = rows.start(&range);
        for row in rows.within(&range) {
            let mut sum = R::sum(rows.depth());
            rows.of(grad, row).for_each(|grad| sum.add(grad));
            let sum = sum.total();
            rows.offsets(row)
                .for_each(|i| x_grad[i - start] = grad[i] - y[i].exp() * sum);
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        Ok(vec![rows.launch(Launch::new(&SHADER, bindings))])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(4 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, axis, y: Shape, low, high| {
            Case::new(
                about,
                Self { axis },
                vec![uniform(y, low, high, 1), normal(y, 2)],
            )
        };
        let mut cases: Vec<_> = shapes::rows()
            .map(|(about, axis, y)| case(about, axis, y, -8.0, 0.0))
            .collect();
        cases.push(case("improbable", 1, [3, 31].into(), -300.0, -50.0));
        cases
    }
}
