//! The softmax along an axis.
//!
//! **Definition.** yᵢ = exp(xᵢ/τ) / Σⱼ exp(xⱼ/τ) along the axis, τ being the temperature.
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂xᵢ = yᵢ · (∂L/∂yᵢ − Σⱼ yⱼ ∂L/∂yⱼ) / τ (see `softmax_grad`).
//!
//! **Numerics.** The largest x is subtracted first, so that no exponential overflows. Sums have depth ⌈n/256⌉ + 9 on a
//! device; the host accumulates in f64. A row of −∞ alone has no softmax: its result is NaN.
//!
//! **Cost.** One exponential an element, counted as five operations in all; a device reads x three times.
//!
//! **Reference.** `torch.softmax(x / temperature, axis)`.

use super::support::{
    Rows, exp_of_negative, expect_axis, expect_temperature, largest, max_of_run, normal, outer,
    shapes, sum_of_run, uniform,
};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    eval_in_parallel, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "softmax",
    text: include_str!("../../shaders/softmax.wgsl"),
    uses: &[library::STORE, library::INDEX, library::ROWS],
};

/// The softmax along an axis, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Softmax {
    /// The axis along which the results sum to 1.
    pub axis: usize,
    /// What x is divided by first: large for a smoother, small for a sharper result.
    pub temperature: f64,
}

/// The softmax of x / `temperature` along `axis`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::softmax(r.constant([0.0, 3.0f64.ln()]), 0, 1.0)?]))?;
/// assert!((y.to_f64()[1] - 0.75).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The axis does not exist, or the temperature is not between 1e-30 and 1e30.
#[track_caller]
pub fn softmax<'g>(x: Tensor<'g>, axis: usize, temperature: f64) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Softmax { axis, temperature }, &[x])
}

impl Op for Softmax {
    const NAME: &'static str = "softmax";
    const INPUTS: &'static [&'static str] = &["x"];

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
        let [x] = expect_reals(Self::NAME, inputs)?;
        expect_axis(Self::NAME, x, self.axis)?;
        expect_temperature(Self::NAME, "temperature", self.temperature)?;
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
        let x_grad = super::softmax_grad(call.outputs[0], grad, self.axis, self.temperature)?;
        Ok(vec![Some(x_grad)])
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outer(outputs[0].shape, self.axis)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (x, y) = (inputs[0].real(), outputs[0].real());
        let start = rows.start(&range);
        let scale = R::constant(1.0 / self.temperature);
        for row in rows.within(&range) {
            let top = largest(rows.of(x, row));
            let mut sum = R::sum(rows.depth());
            for i in rows.offsets(row) {
                y[i - start] = ((x[i] - top) * scale).exp();
                sum.add(y[i - start]);
            }
            let sum = sum.total();
            rows.offsets(row)
                .for_each(|i| y[i - start] = y[i - start] / sum);
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
        let x = inputs[0].real();
        let scale = (1.0 / self.temperature) as f32;
        let chunk = rows.length * (8192 / rows.length).max(1);
        workers.each_chunk(
            outputs[0].real(),
            chunk,
            #[inline(always)]
            |i, y| {
                let x = x[i * chunk..].chunks_exact(rows.length);
                for (y, x) in y.chunks_exact_mut(rows.length).zip(x) {
                    let top = max_of_run(x);
                    y.iter_mut()
                        .zip(x)
                        .for_each(|(y, &x)| *y = exp_of_negative((x - top) * scale));
                    let inverse = (1.0 / sum_of_run(y)) as f32;
                    y.iter_mut().for_each(|y| *y *= inverse);
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let bindings = [Binding::Input(0), Binding::Output(0)];
        Ok(vec![
            rows.launch(Launch::new(&SHADER, bindings))
                .float(1.0 / self.temperature),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(5 * inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let case =
            |about, axis, temperature, x| Case::new(about, Self { axis, temperature }, vec![x]);
        let mut cases: Vec<_> = shapes::rows()
            .map(|(about, axis, x)| case(about, axis, 1.0, normal(x, 1)))
            .collect();
        cases.extend([
            case("smoother", 1, 5.0, uniform([4, 14], 0.0, 1.0, 31)),
            case("sharper", 1, 0.2, uniform([4, 14], 0.0, 1.0, 32)),
            case("far apart", 1, 1.0, uniform([3, 31], -300.0, 300.0, 33)),
            case("far from zero", 0, 1.0, uniform([17], 100.0, 101.0, 34)),
            case(
                "far below zero",
                1,
                1.0,
                uniform([3, 17], -1e6, -1e6 + 1.0, 35),
            )
            .without_differences(),
        ]);
        cases
    }
}
