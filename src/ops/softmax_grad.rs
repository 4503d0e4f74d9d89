//! The gradient of the softmax along an axis.
//!
//! **Definition.** x_gradᵢ = yᵢ · (output_gradᵢ − Σⱼ yⱼ output_gradⱼ) / τ; y is the softmax, τ the temperature.
//!
//! **Shape.** y and output_grad have the same shape, and so has the result.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** The sum has depth ⌈n/256⌉ + 9 on a device; the host accumulates in f64.
//!
//! **Cost.** Five operations an element; a device reads both inputs twice.
//!
//! **Reference.** `torch.ops.aten._softmax_backward_data`, divided by the temperature.

use super::support::{
    Rows, expect_axis, expect_same, expect_temperature, normal, outer, shapes, sum_of_run, uniform,
};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    eval_in_parallel, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "softmax_grad",
    text: include_str!("../../shaders/softmax_grad.wgsl"),
    uses: &[library::STORE, library::INDEX, library::ROWS],
};

/// The gradient of [`Softmax`](super::Softmax), see the room's documentation.
#[derive(Clone, Debug)]
pub struct SoftmaxGrad {
    /// The axis of the softmax.
    pub axis: usize,
    /// What the softmax divides by first.
    pub temperature: f64,
}

/// The gradient of x for the output `y` of [`softmax`](super::softmax).
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| {
///     let (y, output_grad) = (r.constant([0.5, 0.5]), r.constant([4.0, 0.0]));
///     Ok([ops::softmax_grad(y, output_grad, 0, 1.0)?])
/// })?;
/// assert_eq!(x_grad, [1.0, -1.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, the axis does not exist, or the temperature is not between 1e-30 and 1e30.
#[track_caller]
pub fn softmax_grad<'g>(
    y: Tensor<'g>,
    output_grad: Tensor<'g>,
    axis: usize,
    temperature: f64,
) -> Result<Tensor<'g>> {
    y.recorder()
        .apply_one(SoftmaxGrad { axis, temperature }, &[y, output_grad])
}

impl Op for SoftmaxGrad {
    const NAME: &'static str = "softmax_grad";
    const INPUTS: &'static [&'static str] = &["y", "output_grad"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("axis", self.axis)
            .with("temperature", self.temperature)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
            temperature: attributes.float("temperature", 1.0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [y, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [y, output_grad], ["y", "output_grad"])?;
        expect_axis(Self::NAME, y, self.axis)?;
        expect_temperature(Self::NAME, "temperature", self.temperature)?;
        Ok(vec![Spec::real(y)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("softmax_grad: no second derivative"))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outer(outputs[0].shape, self.axis)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (y, grad) = (inputs[0].real(), inputs[1].real());
        let x_grad = outputs[0].real();
        let start = rows.start(&range);
        let scale = R::constant(1.0 / self.temperature);
        for row in rows.within(&range) {
            let mut dot = R::sum(rows.depth());
            rows.offsets(row).for_each(|i| dot.add(y[i] * grad[i]));
            let dot = dot.total();
            rows.offsets(row)
                .for_each(|i| x_grad[i - start] = y[i] * (grad[i] - dot) * scale);
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        if rows.inner != 1 || rows.length == 0 {
            return eval_in_parallel(self, inputs, outputs, workers);
        }
        let (y, grad) = (inputs[0].real(), inputs[1].real());
        let scale = (1.0 / self.temperature) as f32;
        let chunk = rows.length * (8192 / rows.length).max(1);
        workers.each_chunk(
            outputs[0].real(),
            chunk,
            #[inline(always)]
            |i, x_grad| {
                let y = y[i * chunk..].chunks_exact(rows.length);
                let grad = grad[i * chunk..].chunks_exact(rows.length);
                for ((x_grad, y), grad) in x_grad.chunks_exact_mut(rows.length).zip(y).zip(grad) {
                    let pairs = y.iter().zip(grad);
                    // The products wait where the result will be.
                    x_grad
                        .iter_mut()
                        .zip(pairs.clone())
                        .for_each(|(x_grad, (&y, &grad))| *x_grad = y * grad);
                    let dot = sum_of_run(x_grad) as f32;
                    x_grad
                        .iter_mut()
                        .zip(pairs)
                        .for_each(|(x_grad, (&y, &grad))| *x_grad = y * (grad - dot) * scale);
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        Ok(vec![
            rows.launch(Launch::new(&SHADER, bindings))
                .float(1.0 / self.temperature),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(5 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, axis, temperature, y| {
            Case::new(
                about,
                Self { axis, temperature },
                vec![uniform(y, 0.0, 0.2, 1), normal(y, 2)],
            )
        };
        let mut cases: Vec<_> = shapes::rows()
            .map(|(about, axis, y)| case(about, axis, 1.0, y))
            .collect();
        cases.extend([
            case("smoother", 1, 5.0, [4, 14].into()),
            case("sharper", 1, 0.2, [4, 14].into()),
        ]);
        cases
    }
}
