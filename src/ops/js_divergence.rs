//! The Jensen–Shannon divergence of probabilities along an axis.
//!
//! **Definition.** y = ½ Σ a ln(a/c) + ½ Σ b ln(b/c) along the axis, c = (a + b) / 2, where 0 · ln 0 = 0. The inputs are
//! probabilities: not negative. It is symmetric, and lies between 0 (for a = b, exactly) and ln 2.
//!
//! **Shape.** a and b have the same shape; the result lacks the axis.
//!
//! **Gradient.** ∂L/∂a = ∂L/∂y · ½ ln(a/c), ∂L/∂b = ∂L/∂y · ½ ln(b/c) (see `js_divergence_grad`).
//!
//! **Numerics.** With d = |a − b| / (a + b), a term is ½c · [(1 + d) ln(1 + d) + (1 − d) ln(1 − d)] ≥ 0. In brackets, two
//! numbers of size d cancel to one of size d². So for d ≤ ½ it is written d · (ln(1 + d) − ln(1 − d)) + ln(1 − d²), which loses
//! no more than two bits, and for d > ½ as it stands, with 1 − d = min(a, b) / c. Nearly equal distributions keep their
//! relative accuracy. Depth ⌈n/256⌉ + 9 on a device; f64 on the host.
//!
//! **Cost.** Three logarithms an element, counted as fifteen operations in all; bound by memory.
//!
//! **Reference.** Lin, *Divergence measures based on the Shannon entropy*, IEEE Transactions on Information Theory, 1991.

use super::support::{Rows, array, expect_axis, expect_same, shapes, uniform};
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
    name: "js_divergence",
    text: include_str!("../../shaders/js_divergence.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::ROWS,
        library::LOG_ONE_PLUS,
    ],
};

/// The divergence between two distributions, see the room's documentation.
#[derive(Clone, Debug)]
pub struct JsDivergence {
    /// The axis along which the probabilities sum to 1.
    pub axis: usize,
}

/// JS(a, b) of probabilities along `axis`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::js_divergence(r.constant([0.0, 1.0]), r.constant([1.0, 0.0]), 0)?]))?;
/// assert!((y.to_f64()[0] - 2.0f64.ln()).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, or the axis does not exist.
#[track_caller]
pub fn js_divergence<'g>(a: Tensor<'g>, b: Tensor<'g>, axis: usize) -> Result<Tensor<'g>> {
    a.recorder().apply_one(JsDivergence { axis }, &[a, b])
}

impl Op for JsDivergence {
    const NAME: &'static str = "js_divergence";
    const INPUTS: &'static [&'static str] = &["a", "b"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("axis", self.axis)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [a, b] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [a, b], ["a", "b"])?;
        expect_axis(Self::NAME, a, self.axis)?;
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
        let grads = super::js_divergence_grad(call.inputs[0], call.inputs[1], grad, self.axis)?;
        Ok(grads.into_iter().map(Some).collect())
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (a, b) = (inputs[0].real(), inputs[1].real());
        for (y, row) in outputs[0].real().iter_mut().zip(range) {
            let mut sum = R::sum(rows.depth());
            rows.of(a, row)
                .zip(rows.of(b, row))
                .for_each(|(a, b)| sum.add(term(a, b)));
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
        Cost::new(15 * inputs[0].shape.elements(), inputs, &outputs)
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
            of("a ratio of three", vec![0.25, 0.75], vec![0.75, 0.25]),
            of("zeros in one", vec![0.0, 0.5, 0.5], vec![0.4, 0.3, 0.3]).without_differences(),
            of("zeros in both", vec![0.0, 1.0], vec![0.0, 1.0]).without_differences(),
            of("disjoint", vec![1.0, 0.0], vec![0.0, 1.0]).without_differences(),
        ]);
        cases
    }
}

/// ½ a ln(a/c) + ½ b ln(b/c).
fn term<R: Real>(a: R, b: R) -> R {
    let sum = a + b;
    if sum <= R::ZERO {
        return R::ZERO;
    }
    let half = R::constant(0.5);
    let (large, small) = (R::max(a, b), R::min(a, b));
    let d = (large - small) / sum;
    let bracket = if d <= half {
        d * (d.ln_1p() - (-d).ln_1p()) + (-(d * d)).ln_1p()
    } else {
        let rest = small / (half * sum);
        let own = if rest > R::ZERO {
            rest * rest.ln()
        } else {
            R::ZERO
        };
        (R::ONE + d) * d.ln_1p() + own
    };
    R::constant(0.25) * sum * bracket
}
