//! The gradients of the Jensen–Shannon divergence of probabilities.
//!
//! **Definition.** a_grad = output_grad · ½ ln(a/c), b_grad = output_grad · ½ ln(b/c), c = (a + b) / 2; 0 where the own element
//! is 0, whose derivative would be −∞.
//!
//! **Shape.** a and b have the same shape, and so have the results; output_grad lacks the axis.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** With d = (a − b) / (a + b), ln(a/c) = ln(1 + d) for d ≥ −½: nearly equal distributions keep their relative
//! accuracy. No sums.
//!
//! **Cost.** Two logarithms an element, counted as twelve operations in all; bound by memory.
//!
//! **Reference.** Lin, *Divergence measures based on the Shannon entropy*, IEEE Transactions on Information Theory, 1991.

use super::support::{Rows, array, expect_axis, expect_same, normal, outer, shapes, uniform};
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
    name: "js_divergence_grad",
    text: include_str!("../../shaders/js_divergence_grad.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::ROWS,
        library::LOG_ONE_PLUS,
    ],
};

/// The gradients of [`JsDivergence`](super::JsDivergence), see the room's documentation.
#[derive(Clone, Debug)]
pub struct JsDivergenceGrad {
    /// The axis along which the probabilities sum to 1.
    pub axis: usize,
}

/// The gradients of a and b for [`js_divergence`](super::js_divergence).
///
/// ```
/// # use axenic::{eval, ops};
/// let [a_grad, b_grad] = eval(|r| {
///     let (a, b) = (r.constant([0.0, 1.0]), r.constant([0.5, 0.5]));
///     ops::js_divergence_grad(a, b, r.constant(2.0), 0)
/// })?;
/// assert!((b_grad.to_f64()[0] - 2.0f64.ln()).abs() < 1e-15);
/// assert!((a_grad.to_f64()[1] - (4.0f64 / 3.0).ln()).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit, or the axis does not exist.
#[track_caller]
pub fn js_divergence_grad<'g>(
    a: Tensor<'g>,
    b: Tensor<'g>,
    output_grad: Tensor<'g>,
    axis: usize,
) -> Result<[Tensor<'g>; 2]> {
    let grads = a
        .recorder()
        .apply(JsDivergenceGrad { axis }, &[a, b, output_grad])?;
    Ok([grads[0], grads[1]])
}

impl Op for JsDivergenceGrad {
    const NAME: &'static str = "js_divergence_grad";
    const INPUTS: &'static [&'static str] = &["a", "b", "output_grad"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("axis", self.axis)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [a, b, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [a, b], ["a", "b"])?;
        expect_axis(Self::NAME, a, self.axis)?;
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
        Err(Error::shape("js_divergence_grad: no second derivative"))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outer(outputs[0].shape, self.axis)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let (a, b, output_grad) = (inputs[0].real(), inputs[1].real(), inputs[2].real());
        let [a_grad, b_grad] = outputs else {
            unreachable!("two outputs")
        };
        let (a_grad, b_grad) = (a_grad.real(), b_grad.real());
        let start = rows.start(&range);
        for row in rows.within(&range) {
            for i in rows.offsets(row) {
                a_grad[i - start] = output_grad[row] * slope(a[i], b[i]);
                b_grad[i - start] = output_grad[row] * slope(b[i], a[i]);
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
        Cost::new(12 * inputs[0].shape.elements(), inputs, &inputs[..2])
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
            of("zeros in one", vec![0.0, 0.5, 0.5, 0.0], vec![0.25; 4]),
            of("zeros in both", vec![0.0, 1.0], vec![0.0, 1.0]),
            of("disjoint", vec![1.0, 0.0], vec![0.0, 1.0]),
            of("equal", vec![0.2, 0.3, 0.5], vec![0.2, 0.3, 0.5]),
            of(
                "nearly equal",
                vec![0.250_01, 0.249_99, 0.5],
                vec![0.25, 0.25, 0.5],
            ),
            of("far apart", vec![1e-6, 0.999, 1e-3], vec![0.9, 1e-7, 0.1]),
            of("a ratio of three", vec![0.25, 0.75], vec![0.75, 0.25]),
        ]);
        cases
    }
}

/// ½ ln(own / c) with c = (own + other) / 2; 0 where own is 0.
fn slope<R: Real>(own: R, other: R) -> R {
    let half = R::constant(0.5);
    let sum = own + other;
    if own <= R::ZERO {
        return R::ZERO;
    }
    let d = (own - other) / sum;
    let log = if d >= -half {
        d.ln_1p()
    } else {
        (own / (half * sum)).ln()
    };
    half * log
}
