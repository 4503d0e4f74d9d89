//! The cross-entropy of class labels under the softmax of logits, for each sample.
//!
//! **Definition.** lossₙ = ln Σₖ exp(logitsₙₖ) − logits at labelsₙ. A label that is no class gives NaN for that sample: whoever
//! reads labels checks them first.
//!
//! **Shape.** logits [N, K], labels [N] (indices); the result is [N].
//!
//! **Gradient.** ∂L/∂logitsₙₖ = ∂L/∂lossₙ · (softmax(logitsₙ)ₖ − [k = labelsₙ]) (see `cross_entropy_grad`).
//!
//! **Numerics.** The largest logit is subtracted first, so that no exponential overflows. Sums have depth ⌈K/256⌉ + 9 on a
//! device; the host accumulates in f64.
//!
//! **Cost.** One exponential a logit, counted as four operations in all; a device reads the logits twice.
//!
//! **Reference.** `torch.nn.functional.cross_entropy(…, reduction="none")`.

use super::support::{Rows, array, expect_same, indices, largest, normal, uniform};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_index, expect_inputs, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "cross_entropy",
    text: include_str!("../../shaders/cross_entropy.wgsl"),
    uses: &[library::STORE, library::INDEX, library::ROWS],
};

/// The cross-entropy of labels, see the room's documentation.
#[derive(Clone, Debug)]
pub struct CrossEntropy;

/// The cross-entropy of `labels` `[N]` under the softmax of `logits` [N, K], for each sample.
///
/// ```
/// # use axenic::{Array, eval, ops};
/// let [loss] = eval(|r| Ok([ops::cross_entropy(r.constant([[0.0, 3.0f64.ln()]]), r.constant([1u32]))?]))?;
/// assert!((loss.to_f64()[0] + 0.75f64.ln()).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The logits are not [N, K] with K > 0, or the labels are not N indices.
#[track_caller]
pub fn cross_entropy<'g>(logits: Tensor<'g>, labels: Tensor<'g>) -> Result<Tensor<'g>> {
    logits.recorder().apply_one(CrossEntropy, &[logits, labels])
}

impl Op for CrossEntropy {
    const NAME: &'static str = "cross_entropy";
    const INPUTS: &'static [&'static str] = &["logits", "labels"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [logits, labels] = expect_inputs(Self::NAME, inputs)?;
        let [logits] = expect_reals(Self::NAME, &[logits])?;
        let labels = expect_index(Self::NAME, "labels", labels)?;
        let [n, classes] = *logits else {
            return Err(Error::shape(format!(
                "cross_entropy: logits must have the axes [N, K], got {logits}"
            )));
        };
        if classes == 0 {
            return Err(Error::shape("cross_entropy: there are no classes (K = 0)"));
        }
        expect_same(
            Self::NAME,
            [labels, [n].into()],
            ["labels", "the samples [N]"],
        )?;
        Ok(vec![Spec::real(labels)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None, None]);
        };
        let logits_grad = super::cross_entropy_grad(call.inputs[0], call.inputs[1], grad)?;
        Ok(vec![Some(logits_grad), None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, 1);
        let (logits, labels) = (inputs[0].real(), inputs[1].index());
        for (loss, sample) in outputs[0].real().iter_mut().zip(range) {
            let row = rows.of(logits, sample);
            let top = largest(row.clone());
            let mut sum = R::sum(rows.depth());
            row.clone().for_each(|x| sum.add((x - top).exp()));
            let chosen = row.clone().nth(labels[sample] as usize);
            *loss = chosen.map_or(R::constant(f64::NAN), |x| sum.total().ln() - (x - top));
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, 1);
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        Ok(vec![
            rows.launch(Launch::new(&SHADER, bindings)).float(f64::NAN),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(4 * inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, logits: Array, labels| {
            let n = logits.shape()[0];
            Case::new(about, Self, vec![logits, array([n].into(), labels)])
        };
        let of = |about, [n, classes]: [usize; 2]| {
            Case::new(
                about,
                Self,
                vec![normal([n, classes], 1), indices([n], classes, 2)],
            )
        };
        vec![
            of("nine classes", [8, 9]),
            of("two classes", [31, 2]),
            of("one class", [3, 1]),
            of("one sample", [1, 4]),
            of("no sample", [0, 4]),
            of("a power of two", [5, 64]),
            of("one less than a workgroup", [2, 255]),
            of("one more than a workgroup", [2, 257]),
            of("three thousand classes", [1, 3001]),
            of("many samples", [300, 3]),
            case(
                "the first and the last",
                normal([4, 7], 3),
                vec![0u32, 6, 6, 0],
            ),
            case(
                "far apart",
                uniform([3, 7], -200.0, 200.0, 22),
                vec![3u32, 0, 5],
            ),
            case(
                "far below zero",
                uniform([2, 17], -1e6, -1e6 + 1.0, 23),
                vec![16u32, 1],
            )
            .without_differences(),
            case("a label out of range", normal([2, 3], 25), vec![3u32, 1]),
        ]
    }
}
