//! A value held between two borders.
//!
//! **Definition.** y = min where x < min, max where x > max, else x. The borders count as the nearest numbers of single
//! precision, on every executor.
//!
//! **Shape.** That of x.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y where min ≤ x ≤ max, else 0 (see `clamp_grad`): on a border it passes.
//!
//! **Numerics.** Exact. NaN stays NaN.
//!
//! **Cost.** Two comparisons an element; bound by memory.
//!
//! **Reference.** `torch.clamp`, whose releases differ on a border: 2.15 gives 0 there.

use super::support::{
    array, borders, elementwise_shapes, eval_unary, launch_elementwise, normal, uniform,
};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;

use std::ops::Range;

static SHADER: Shader = Shader {
    name: "clamp",
    text: include_str!("../../shaders/clamp.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// A value held between borders, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Clamp {
    /// The lower border; −∞ for none.
    pub min: f64,
    /// The upper border; ∞ for none.
    pub max: f64,
}

/// x, but `min` where it is less and `max` where it is more; infinite borders are none.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::clamp(r.constant([-3.0, 0.25, 7.0]), 0.0, 1.0)?]))?;
/// assert_eq!(y, [0.0, 0.25, 1.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds indices, or `min` is more than `max` or either is no number.
#[track_caller]
pub fn clamp<'g>(x: Tensor<'g>, min: f64, max: f64) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Clamp { min, max }, &[x])
}

impl Op for Clamp {
    const NAME: &'static str = "clamp";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("min", self.min)
            .with("max", self.max)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            min: attributes.float("min", f64::NEG_INFINITY)?,
            max: attributes.float("max", f64::INFINITY)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        borders(Self::NAME, self.min, self.max)?;
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let grad = output_grads[0]
            .map(|grad| super::clamp_grad(call.inputs[0], grad, self.min, self.max))
            .transpose()?;
        Ok(vec![grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let [min, max] = [self.min, self.max].map(|border| R::constant(f64::from(border as f32)));
        eval_unary(inputs, outputs, range, |x| {
            let x = if x < min { min } else { x };
            if x > max { max } else { x }
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let launch = launch_elementwise(&SHADER, 1, &inputs[0]);
        Ok(vec![launch.float(self.min).float(self.max)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(2 * inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes = elementwise_shapes().into_iter().enumerate();
        let mut cases: Vec<_> = shapes
            .map(|(i, (about, shape))| {
                Case::new(
                    about,
                    Self {
                        min: -0.5,
                        max: 0.75,
                    },
                    vec![normal(shape, i as u64)],
                )
            })
            .collect();
        let of = |about, min, max, x| Case::new(about, Self { min, max }, vec![x]);
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        cases.extend([
            of("no upper border", 0.1, high, normal([67], 11)),
            of("no lower border", low, 0.1, normal([67], 12)),
            of("no border", low, high, uniform([67], -1e30, 1e30, 13)),
            of("one point", 0.3, 0.3, normal([67], 14)),
            of("all below", 5.0, 6.0, normal([31], 15)),
            of("all above", -6.0, -5.0, normal([31], 16)),
            of("nothing to do", -60.0, 50.0, normal([31], 17)),
            of(
                "far apart",
                -1e30,
                1e-30,
                array([3].into(), vec![-3e38f32, 3e38, 0.0]),
            ),
        ]);
        cases
    }
}
