//! The gradient of the cross-entropy of class labels.
//!
//! **Definition.** logits_gradₙₖ = output_gradₙ · (softmax(logitsₙ)ₖ − [k = labelsₙ]). A label that is no class gives NaN for
//! all of that sample.
//!
//! **Shape.** logits [N, K], labels [N] (indices), output_grad [N]; the result is [N, K].
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** The largest logit is subtracted first, so that no exponential overflows. Sums have depth ⌈K/256⌉ + 9 on a
//! device; the host accumulates in f64.
//!
//! **Cost.** One exponential a logit, counted as six operations in all; a device reads the logits three times.
//!
//! **Reference.** `torch.nn.functional.cross_entropy(…, reduction="none")`, backward.

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
    name: "cross_entropy_grad",
    text: include_str!("../../shaders/cross_entropy_grad.wgsl"),
    uses: &[library::STORE, library::INDEX, library::ROWS],
};

/// The gradient of [`CrossEntropy`](super::CrossEntropy), see the room's documentation.
#[derive(Clone, Debug)]
pub struct CrossEntropyGrad;

/// The gradient of the logits for [`cross_entropy`](super::cross_entropy).
///
/// ```
/// # use axenic::{Array, eval, ops};
/// let [grad] = eval(|r| {
///     let (logits, labels) = (r.constant([[5.0, 5.0]]), r.constant([1u32]));
///     Ok([ops::cross_entropy_grad(logits, labels, r.constant([2.0]))?])
/// })?;
/// assert_eq!(grad, [[1.0, -1.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The logits are not [N, K] with K > 0, the labels are not N indices, or output_grad is not `[N]`.
#[track_caller]
pub fn cross_entropy_grad<'g>(
    logits: Tensor<'g>,
    labels: Tensor<'g>,
    output_grad: Tensor<'g>,
) -> Result<Tensor<'g>> {
    logits
        .recorder()
        .apply_one(CrossEntropyGrad, &[logits, labels, output_grad])
}

impl Op for CrossEntropyGrad {
    const NAME: &'static str = "cross_entropy_grad";
    const INPUTS: &'static [&'static str] = &["logits", "labels", "output_grad"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [logits, labels, output_grad] = expect_inputs(Self::NAME, inputs)?;
        let [logits, output_grad] = expect_reals(Self::NAME, &[logits, output_grad])?;
        let labels = expect_index(Self::NAME, "labels", labels)?;
        let [n, classes] = *logits else {
            return Err(Error::shape(format!(
                "cross_entropy_grad: logits must have the axes [N, K], got {logits}"
            )));
        };
        if classes == 0 {
            return Err(Error::shape(
                "cross_entropy_grad: there are no classes (K = 0)",
            ));
        }
        expect_same(
            Self::NAME,
            [labels, [n].into()],
            ["labels", "the samples [N]"],
        )?;
        expect_same(
            Self::NAME,
            [output_grad, [n].into()],
            ["output_grad", "the samples [N]"],
        )?;
        Ok(vec![Spec::real(logits)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("cross_entropy_grad: no second derivative"))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outputs[0].shape[0]
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, 1);
        let (logits, labels, output_grad) = (inputs[0].real(), inputs[1].index(), inputs[2].real());
        let logits_grad = outputs[0].real();
        for (sample, logits_grad) in range.zip(logits_grad.chunks_mut(rows.length)) {
            let (row, label) = (rows.of(logits, sample), labels[sample] as usize);
            if label >= rows.length {
                logits_grad.fill(R::constant(f64::NAN));
                continue;
            }
            let top = largest(row.clone());
            let mut sum = R::sum(rows.depth());
            row.clone().for_each(|x| sum.add((x - top).exp()));
            let sum = sum.total();
            for (k, (logit_grad, x)) in logits_grad.iter_mut().zip(row).enumerate() {
                let probability = (x - top).exp() / sum;
                let excess = if k == label {
                    probability - R::ONE
                } else {
                    probability
                };
                *logit_grad = output_grad[sample] * excess;
            }
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, 1);
        let bindings = [
            Binding::Input(0),
            Binding::Input(1),
            Binding::Input(2),
            Binding::Output(0),
        ];
        Ok(vec![
            rows.launch(Launch::new(&SHADER, bindings)).float(f64::NAN),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(6 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, logits: Array, labels| {
            let n = logits.shape()[0];
            Case::new(
                about,
                Self,
                vec![logits, array([n].into(), labels), normal([n], 26)],
            )
        };
        let of = |about, [n, classes]: [usize; 2]| {
            Case::new(
                about,
                Self,
                vec![
                    normal([n, classes], 1),
                    indices([n], classes, 2),
                    normal([n], 3),
                ],
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
            ),
            case("a label out of range", normal([2, 3], 25), vec![3u32, 1]),
        ]
    }
}
