//! The gradients of the Kullback–Leibler divergence of probabilities.
//!
//! **Definition.** target_grad = output_grad · (ln(target / prediction) + 1) and prediction_grad = −output_grad · target /
//! prediction; both are 0 where the target is 0, whose own derivative would be −∞.
//!
//! **Shape.** target and prediction have the same shape, and so have the results; output_grad lacks the axis.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** As `kl_divergence`; no sums.
//!
//! **Cost.** One logarithm and one division an element, counted as six operations in all; bound by memory.
//!
//! **Reference.** `torch.nn.functional.kl_div`, backward.

use super::support::{
    Rows, array, expect_axis, expect_same, ln_ratio, normal, outer, shapes, uniform,
};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;
use crate::shape::{KeepAxes, Shape};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "kl_divergence_grad",
    text: include_str!("../../shaders/kl_divergence_grad.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::ROWS,
        library::LOG_ONE_PLUS,
    ],
};

/// The gradients of [`KlDivergence`](super::KlDivergence), see the room's documentation.
#[derive(Clone, Debug)]
pub struct KlDivergenceGrad {
    /// The axis along which the probabilities sum to 1.
    pub axis: usize,
}

/// The gradients of target and prediction for [`kl_divergence`](super::kl_divergence).
///
/// ```
/// # use axenic::{eval, ops};
/// let [target_grad, prediction_grad] = eval(|r| {
///     let (target, prediction) = (r.constant([0.0, 1.0]), r.constant([0.5, 0.5]));
///     ops::kl_divergence_grad(target, prediction, r.constant(1.0), 0)
/// })?;
/// assert_eq!(prediction_grad, [0.0, -2.0].into());
/// assert!((target_grad.to_f64()[1] - 2.0f64.ln() - 1.0).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit, or the axis does not exist.
#[track_caller]
pub fn kl_divergence_grad<'g>(
    target: Tensor<'g>,
    prediction: Tensor<'g>,
    output_grad: Tensor<'g>,
    axis: usize,
) -> Result<[Tensor<'g>; 2]> {
    let inputs = [target, prediction, output_grad];
    let grads = target
        .recorder()
        .apply(KlDivergenceGrad { axis }, &inputs)?;
    Ok([grads[0], grads[1]])
}

impl Op for KlDivergenceGrad {
    const NAME: &'static str = "kl_divergence_grad";
    const INPUTS: &'static [&'static str] = &["target", "prediction", "output_grad"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("axis", self.axis)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [target, prediction, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [target, prediction], ["target", "prediction"])?;
        expect_axis(Self::NAME, target, self.axis)?;
        let shape = target.reduced(&[self.axis], KeepAxes::No)?;
        expect_same(
            Self::NAME,
            [shape, output_grad],
            ["the shape of the divergences", "output_grad"],
        )?;
        Ok(vec![Spec::real(target); 2])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("kl_divergence_grad: no second derivative"))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outer(outputs[0].shape, self.axis)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (target, prediction, output_grad) =
            (inputs[0].real(), inputs[1].real(), inputs[2].real());
        let [target_grad, prediction_grad] = outputs else {
            unreachable!("two outputs")
        };
        let (target_grad, prediction_grad) = (target_grad.real(), prediction_grad.real());
        let start = rows.start(&range);
        for row in rows.within(&range) {
            for i in rows.offsets(row) {
                let (t, p, grad) = (target[i], prediction[i], output_grad[row]);
                let takes_part = t > R::ZERO;
                target_grad[i - start] = if takes_part {
                    grad * (ln_ratio(t, p) + R::ONE)
                } else {
                    R::ZERO
                };
                prediction_grad[i - start] = if takes_part {
                    -(grad * (t / p))
                } else {
                    R::ZERO
                };
            }
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let bindings = [
            Binding::Input(0),
            Binding::Input(1),
            Binding::Input(2),
            Binding::Output(0),
            Binding::Output(1),
        ];
        Ok(vec![rows.launch(Launch::new(&SHADER, bindings))])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(6 * inputs[0].shape.elements(), inputs, &inputs[..2])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |(about, axis, shape): (_, _, Shape)| {
            let kept = shape.reduced(&[axis], KeepAxes::No).unwrap_or(shape);
            let map = |seed| uniform(shape, 0.05, 1.0, seed);
            Case::new(about, Self { axis }, vec![map(1), map(2), normal(kept, 3)])
        };
        let of = |about, a: Vec<f32>, b: Vec<f32>| {
            let shape: Shape = [a.len()].into();
            Case::new(
                about,
                Self { axis: 0 },
                vec![
                    array(shape, a),
                    array(shape, b),
                    array(Shape::SCALAR, vec![2.0f32]),
                ],
            )
        };
        let mut cases: Vec<_> = shapes::rows().map(case).collect();
        cases.extend([
            of(
                "zeros in the target",
                vec![0.0, 0.5, 0.5, 0.0],
                vec![0.25; 4],
            ),
            of("zeros in both", vec![0.0, 1.0], vec![0.0, 1.0]),
            of("equal", vec![0.2, 0.3, 0.5], vec![0.2, 0.3, 0.5]),
            of(
                "nearly equal",
                vec![0.250_01, 0.249_99, 0.5],
                vec![0.25, 0.25, 0.5],
            ),
            of("far apart", vec![1e-6, 0.999, 1e-3], vec![0.9, 1e-7, 0.1]),
        ]);
        cases
    }
}
