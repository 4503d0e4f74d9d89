//! The Jensen–Shannon divergence between the softmaxes of two values along an axis.
//!
//! **Definition.** y = ½ Σ p ln(p/c) + ½ Σ q ln(q/c) along the axis, p = softmax(a / τ), q = softmax(b / τ), c = (p +
//! q) / 2. It is symmetric, and lies between 0 (for equal softmaxes) and ln 2.
//!
//! **Shape.** a and b (logits, not probabilities) have the same shape; the result lacks the axis.
//!
//! **Gradient.** ∂L/∂a = ∂L/∂y · p · (u − Σ p u) / τ with u = ½ ln(p/c), and alike for b (see
//! `softmax_js_divergence_grad`).
//!
//! **Numerics.** δ = ln(p/q) is taken from the logits, as in `softmax_kl_divergence`, and keeps its relative accuracy
//! where p ≈ q. With d = |p − q| / (p + q) = tanh(|δ|/2) a term is ½c · [(1 + d) ln(1 + d) + (1 − d) ln(1 − d)] ≥ 0; in
//! brackets stands d · |δ| + ln(1 − d²) for d ≤ ½, and 2 ln 2 − 2 ln(1 + e) − 2e|δ| / (1 + e) with e = e^−|δ| beyond:
//! neither loses more than three bits. So nearly equal distributions keep their relative accuracy, equal ones give 0
//! exactly, and probabilities too small for single precision do no harm. Sums have depth ⌈n/256⌉ + 9 on a device; the
//! host accumulates in f64.
//!
//! **Cost.** Eight exponentials and logarithms an element, counted as forty operations in all; a device reads the
//! inputs four times.
//!
//! **Reference.** Lin, *Divergence measures based on the Shannon entropy*, IEEE Transactions on Information Theory,
//! 1991.

use super::support::{
    Rows, expect_axis, expect_same, expect_temperature, normal, softmax_pairs, uniform,
};
use crate::array::{Array, Spec};
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::{KeepAxes, Shape};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "softmax_js_divergence",
    text: include_str!("../../shaders/softmax_js_divergence.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::ROWS,
        library::EXP_REMAINDER,
        library::LOG_ONE_PLUS,
        library::SOFTMAX_PAIR,
    ],
};

/// The divergence between two softmaxes, see the room's documentation.
#[derive(Clone, Debug)]
pub struct SoftmaxJsDivergence {
    /// The axis along which the probabilities sum to 1.
    pub axis: usize,
    /// What the logits of both are divided by.
    pub temperature: f64,
}

/// JS(softmax(a / `temperature`), softmax(b / `temperature`)) along `axis`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| {
///     let (a, b) = (r.constant([0.0, 1000.0]), r.constant([1000.0, 0.0]));
///     Ok([ops::softmax_js_divergence(a, b, 0, 2.0)?])
/// })?;
/// assert!((y.to_f64()[0] - 2.0f64.ln()).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, the axis does not exist, or the temperature is not between 1e-30 and 1e30.
#[track_caller]
pub fn softmax_js_divergence<'g>(
    a: Tensor<'g>,
    b: Tensor<'g>,
    axis: usize,
    temperature: f64,
) -> Result<Tensor<'g>> {
    a.recorder()
        .apply_one(SoftmaxJsDivergence { axis, temperature }, &[a, b])
}

impl Op for SoftmaxJsDivergence {
    const NAME: &'static str = "softmax_js_divergence";
    const INPUTS: &'static [&'static str] = &["a", "b"];

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
        let [a, b] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [a, b], ["a", "b"])?;
        expect_axis(Self::NAME, a, self.axis)?;
        expect_temperature(Self::NAME, "temperature", self.temperature)?;
        let shape = a.reduced(&[self.axis], KeepAxes::No)?;
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
        let (a, b) = (call.inputs[0], call.inputs[1]);
        let grads = super::softmax_js_divergence_grad(a, b, grad, self.axis, self.temperature)?;
        Ok(grads.into_iter().map(Some).collect())
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (a, b) = (inputs[0].real(), inputs[1].real());
        let scales = [R::constant(1.0 / self.temperature); 2];
        for (y, row) in outputs[0].real().iter_mut().zip(range) {
            let pairs = softmax_pairs(rows.of(a, row), rows.of(b, row), scales, rows.depth());
            let mut sum = R::sum(rows.depth());
            pairs.iter().for_each(|pair| sum.add(pair.js_divergence()));
            *y = sum.total();
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        let launch = rows.launch(Launch::new(&SHADER, bindings));
        Ok(vec![launch.float(1.0 / self.temperature)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(40 * inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let with = |about, axis, temperature, [a, b]: [Array; 2]| {
            let op = Self { axis, temperature };
            Case::new(about, op, vec![a, b])
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
