//! The gradients of the Jensen–Shannon divergence between two softmaxes.
//!
//! **Definition.** a_grad = output_grad · p · (u − Σ p u) / τ with u = ½ ln(p/c), b_grad = output_grad · q · (v − Σ q
//! v) / τ with v = ½ ln(q/c), where p = softmax(a / τ), q = softmax(b / τ), c = (p + q) / 2.
//!
//! **Shape.** a and b have the same shape, and so have the results; output_grad lacks the axis.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** u and v are functions of δ = ln(p/q) alone, which is taken from the logits: ½ ln(1 + tanh(δ/2)) for
//! |δ| ≤ ½, else ½ (ln 2 − ln(1 + e^−|δ|)), plus ½δ where δ < 0. Nearly equal distributions keep their relative
//! accuracy, and probabilities too small for single precision do no harm.
//!
//! **Cost.** Twelve exponentials and logarithms an element, counted as sixty operations in all; a device reads the
//! inputs five times.
//!
//! **Reference.** Lin, *Divergence measures based on the Shannon entropy*, IEEE Transactions on Information Theory,
//! 1991.

use super::support::{
    Rows, expect_axis, expect_same, expect_temperature, normal, outer, softmax_pairs, uniform,
};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::{KeepAxes, Shape};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "softmax_js_divergence_grad",
    text: include_str!("../../shaders/softmax_js_divergence_grad.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::ROWS,
        library::EXP_REMAINDER,
        library::LOG_ONE_PLUS,
        library::SOFTMAX_PAIR,
    ],
};

/// The gradients of [`SoftmaxJsDivergence`](super::SoftmaxJsDivergence), see the room's documentation.
#[derive(Clone, Debug)]
pub struct SoftmaxJsDivergenceGrad {
    /// The axis along which the probabilities sum to 1.
    pub axis: usize,
    /// What the logits of both are divided by.
    pub temperature: f64,
}

/// The gradients of a and b for [`softmax_js_divergence`](super::softmax_js_divergence).
///
/// ```
/// # use axenic::{eval, ops};
/// let [a_grad, b_grad] = eval(|r| {
///     let (a, b) = (r.constant([3.0f64.ln(), 0.0]), r.constant([0.0, 3.0f64.ln()]));
///     ops::softmax_js_divergence_grad(a, b, r.constant(1.0), 0, 1.0)
/// })?;
/// assert!((a_grad.to_f64()[0] - 0.09375 * 3.0f64.ln()).abs() < 1e-15);
/// assert!((b_grad.to_f64()[0] + 0.09375 * 3.0f64.ln()).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit, the axis does not exist, or the temperature is not between 1e-30 and 1e30.
#[track_caller]
pub fn softmax_js_divergence_grad<'g>(
    a: Tensor<'g>,
    b: Tensor<'g>,
    output_grad: Tensor<'g>,
    axis: usize,
    temperature: f64,
) -> Result<[Tensor<'g>; 2]> {
    let op = SoftmaxJsDivergenceGrad { axis, temperature };
    let grads = a.recorder().apply(op, &[a, b, output_grad])?;
    Ok([grads[0], grads[1]])
}

impl Op for SoftmaxJsDivergenceGrad {
    const NAME: &'static str = "softmax_js_divergence_grad";
    const INPUTS: &'static [&'static str] = &["a", "b", "output_grad"];

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
        let [a, b, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [a, b], ["a", "b"])?;
        expect_axis(Self::NAME, a, self.axis)?;
        expect_temperature(Self::NAME, "temperature", self.temperature)?;
        let shape = a.reduced(&[self.axis], KeepAxes::No)?;
        expect_same(
            Self::NAME,
            [shape, output_grad],
            ["the shape of the divergences", "output_grad"],
        )?;
        Ok(vec![Spec::real(a); 2])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape(
            "softmax_js_divergence_grad: no second derivative",
        ))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outer(outputs[0].shape, self.axis)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (a, b, output_grad) = (inputs[0].real(), inputs[1].real(), inputs[2].real());
        let scale = R::constant(1.0 / self.temperature);
        let [a_grad, b_grad] = outputs else {
            unreachable!("two outputs")
        };
        let (a_grad, b_grad) = (a_grad.real(), b_grad.real());
        let start = rows.start(&range);
        for row in rows.within(&range) {
            let pairs = softmax_pairs(rows.of(a, row), rows.of(b, row), [scale; 2], rows.depth());
            let slopes: Vec<[R; 2]> = pairs.iter().map(|pair| pair.js_slopes()).collect();
            let mut means = [R::sum(rows.depth()), R::sum(rows.depth())];
            for (pair, slope) in pairs.iter().zip(&slopes) {
                means[0].add(pair.target * slope[0]);
                means[1].add(pair.prediction * slope[1]);
            }
            let (means, grad) = (means.map(|mean| mean.total()), output_grad[row] * scale);
            for (i, (pair, slope)) in rows.offsets(row).zip(pairs.iter().zip(&slopes)) {
                a_grad[i - start] = grad * (pair.target * (slope[0] - means[0]));
                b_grad[i - start] = grad * (pair.prediction * (slope[1] - means[1]));
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
        let launch = rows.launch(Launch::new(&SHADER, bindings));
        Ok(vec![launch.float(1.0 / self.temperature)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(60 * inputs[0].shape.elements(), inputs, &inputs[..2])
    }

    fn cases() -> Vec<Case<Self>> {
        let with = |about, axis, temperature, [a, b]: [Array; 2]| {
            let op = Self { axis, temperature };
            let shape = a.shape();
            let kept = shape.reduced(&[axis], KeepAxes::No).unwrap_or(shape);
            Case::new(about, op, vec![a, b, normal(kept, 60)])
        };
        let case = |about, axis, shape: Shape, seed| {
            with(
                about,
                axis,
                1.0,
                [normal(shape, seed), normal(shape, seed + 1)],
            )
        };
        let map = |shape: [usize; 2], low, high, seed| uniform(shape, low, high, seed);
        vec![
            case("the last axis", 1, [5, 9].into(), 1),
            case("the first axis", 0, [13, 3].into(), 3),
            case("the middle axis", 1, [2, 3, 5, 7].into(), 5),
            case("the second of four", 1, [2, 67, 3, 2].into(), 7),
            case("a long row", 0, [1009].into(), 9),
            case("one less than a workgroup", 1, [3, 255].into(), 25),
            case("one more than a workgroup", 1, [3, 257].into(), 11),
            case("a power of two", 1, [9, 64].into(), 13),
            case("one element", 1, [4, 1].into(), 15),
            case("nothing", 1, [0, 3].into(), 17),
            case("empty rows", 1, [3, 0].into(), 19),
            case("many rows", 1, [700, 7].into(), 21),
            case("a very long row", 1, [1, 3001].into(), 23),
            case("more than 65,535 rows", 1, [65_537, 2].into(), 27),
            with(
                "sharper",
                1,
                0.2,
                [map([5, 14], 0.0, 1.0, 31), map([5, 14], 0.0, 1.0, 41)],
            ),
            with(
                "smoother",
                1,
                5.0,
                [map([5, 7], 0.0, 1.0, 32), map([5, 7], 0.0, 1.0, 42)],
            ),
            with(
                "nearly constant",
                1,
                5.0,
                [map([3, 14], 0.5, 0.501, 33), map([3, 14], 0.5, 0.501, 43)],
            ),
            with(
                "nearly equal",
                1,
                1.0,
                [map([3, 14], 0.5, 0.501, 34), map([3, 14], 0.5, 0.501, 35)],
            ),
            with("equal", 1, 1.0, [normal([2, 14], 36), normal([2, 14], 36)]),
            with(
                "far apart",
                1,
                1.0,
                [map([3, 9], -30.0, 30.0, 37), map([3, 9], -30.0, 30.0, 38)],
            ),
            with(
                "disjoint",
                1,
                0.1,
                [map([3, 9], -30.0, 30.0, 39), map([3, 9], -30.0, 30.0, 40)],
            ),
            with(
                "where the formulas meet",
                1,
                1.0,
                [map([9, 31], 0.0, 1.3, 45), map([9, 31], 0.0, 1.3, 46)],
            ),
        ]
    }
}
