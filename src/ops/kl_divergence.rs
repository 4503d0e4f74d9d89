//! The Kullback–Leibler divergence of probabilities along an axis.
//!
//! **Definition.** y = Σ target · ln(target / prediction) along the axis, where 0 · ln 0 = 0; +∞ where the prediction alone is 0
//! (on a device: anything large). The inputs are probabilities: not negative.
//!
//! **Shape.** target and prediction have the same shape; the result lacks the axis.
//!
//! **Gradient.** ∂L/∂target = ∂L/∂y · (ln(target / prediction) + 1) and ∂L/∂prediction = −∂L/∂y · target / prediction (see
//! `kl_divergence_grad`).
//!
//! **Numerics.** Where the ratio lies in [½, 2], ln(1 + (target − prediction) / prediction), whose argument is accurate. The
//! terms still cancel in the sum: for softmaxes use `softmax_kl_divergence`. Depth ⌈n/256⌉ + 9 on a device; f64 on the host.
//!
//! **Cost.** One logarithm an element, counted as five operations in all; bound by memory.
//!
//! **Reference.** `torch.nn.functional.kl_div(prediction.log(), target, reduction="none").sum(axis)`.

use super::support::{Rows, array, expect_axis, expect_same, ln_ratio, shapes, uniform};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::{KeepAxes, Shape};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "kl_divergence",
    text: include_str!("../../shaders/kl_divergence.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::ROWS,
        library::LOG_ONE_PLUS,
    ],
};

/// The divergence of a prediction from a target, see the room's documentation.
#[derive(Clone, Debug)]
pub struct KlDivergence {
    /// The axis along which the probabilities sum to 1.
    pub axis: usize,
}

/// KL(target ‖ prediction) of probabilities along `axis`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::kl_divergence(r.constant([0.0, 1.0]), r.constant([0.5, 0.5]), 0)?]))?;
/// assert!((y.to_f64()[0] - 2.0f64.ln()).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, or the axis does not exist.
#[track_caller]
pub fn kl_divergence<'g>(
    target: Tensor<'g>,
    prediction: Tensor<'g>,
    axis: usize,
) -> Result<Tensor<'g>> {
    target
        .recorder()
        .apply_one(KlDivergence { axis }, &[target, prediction])
}

impl Op for KlDivergence {
    const NAME: &'static str = "kl_divergence";
    const INPUTS: &'static [&'static str] = &["target", "prediction"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("axis", self.axis)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [target, prediction] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [target, prediction], ["target", "prediction"])?;
        expect_axis(Self::NAME, target, self.axis)?;
        let shape = target.reduced(&[self.axis], KeepAxes::No)?;
        Ok(vec![Spec::real(shape)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None, None]);
        };
        let grads = super::kl_divergence_grad(call.inputs[0], call.inputs[1], grad, self.axis)?;
        Ok(grads.into_iter().map(Some).collect())
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (target, prediction) = (inputs[0].real(), inputs[1].real());
        for (y, row) in outputs[0].real().iter_mut().zip(range) {
            let mut sum = R::sum(rows.depth());
            let pairs = rows.of(target, row).zip(rows.of(prediction, row));
            pairs
                .filter(|(t, _)| *t > R::ZERO)
                .for_each(|(t, p)| sum.add(t * ln_ratio(t, p)));
            *y = sum.total();
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        Ok(vec![rows.launch(Launch::new(&SHADER, bindings))])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(5 * inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |(about, axis, shape): (_, _, Shape)| {
            let map = |seed| uniform(shape, 0.05, 1.0, seed);
            Case::new(about, Self { axis }, vec![map(1), map(2)])
        };
        let of = |about, a: Vec<f32>, b: Vec<f32>| {
            let shape: Shape = [a.len()].into();
            Case::new(
                about,
                Self { axis: 0 },
                vec![array(shape, a), array(shape, b)],
            )
        };
        let mut cases: Vec<_> = shapes::rows().map(case).collect();
        cases.extend([
            of("equal", vec![0.2, 0.3, 0.5], vec![0.2, 0.3, 0.5]),
            of(
                "nearly equal",
                vec![0.250_01, 0.249_99, 0.5],
                vec![0.25, 0.25, 0.5],
            ),
            of("far apart", vec![0.02, 0.9, 0.08], vec![0.9, 0.02, 0.08]),
            of(
                "at the ends of the series",
                vec![0.5, 0.51, 0.49],
                vec![0.25, 0.25, 0.99],
            ),
            of(
                "zeros in the target",
                vec![0.0, 0.5, 0.5],
                vec![0.4, 0.3, 0.3],
            )
            .without_differences(),
            of("zeros in both", vec![0.0, 1.0], vec![0.0, 1.0]).without_differences(),
        ]);
        cases
    }
}
