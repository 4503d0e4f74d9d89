//! The gradient of holding a value between two borders.
//!
//! **Definition.** x_grad = output_grad where min ≤ x ≤ max, else 0: on a border it passes. The borders count as the
//! nearest numbers of single precision, on every executor.
//!
//! **Shape.** x and output_grad have the same shape, and so has the result.
//!
//! **Gradient.** With respect to output_grad the same operation again; with respect to x nothing, almost everywhere.
//!
//! **Numerics.** Exact. NaN as x lies outside.
//!
//! **Cost.** Two comparisons an element; bound by memory.
//!
//! **Reference.** `torch.clamp`, backward; its releases differ on a border: 2.15 gives 0 there.

use super::support::{
    array, borders, elementwise_shapes, eval_binary, expect_same, launch_elementwise, normal,
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
    name: "clamp_grad",
    text: include_str!("../../shaders/clamp_grad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The gradient of [`Clamp`](super::Clamp), see the room's documentation.
#[derive(Clone, Debug)]
pub struct ClampGrad {
    /// The lower border; −∞ for none.
    pub min: f64,
    /// The upper border; ∞ for none.
    pub max: f64,
}

/// `output_grad` where `min` ≤ x ≤ `max`, else 0.
///
/// ```
/// # use axenic::{eval, ops};
/// let x = [-3.0, 0.0, 0.25, 1.0, 7.0];
/// let [x_grad] = eval(|r| Ok([ops::clamp_grad(r.constant(x), r.constant([5.0; 5]), 0.0, 1.0)?]))?;
/// assert_eq!(x_grad, [0.0, 5.0, 5.0, 5.0, 0.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, or `min` is more than `max` or either is no number.
#[track_caller]
pub fn clamp_grad<'g>(
    x: Tensor<'g>,
    output_grad: Tensor<'g>,
    min: f64,
    max: f64,
) -> Result<Tensor<'g>> {
    x.recorder()
        .apply_one(ClampGrad { min, max }, &[x, output_grad])
}

impl Op for ClampGrad {
    const NAME: &'static str = "clamp_grad";
    const INPUTS: &'static [&'static str] = &["x", "output_grad"];
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
        let [x, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [x, output_grad], ["x", "output_grad"])?;
        borders(Self::NAME, self.min, self.max)?;
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let grad = output_grads[0]
            .map(|grad| clamp_grad(call.inputs[0], grad, self.min, self.max))
            .transpose()?;
        Ok(vec![None, grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let [min, max] = [self.min, self.max].map(|border| R::constant(f64::from(border as f32)));
        eval_binary(inputs, outputs, range, |x, grad| {
            if x >= min && x <= max { grad } else { R::ZERO }
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let launch = launch_elementwise(&SHADER, 2, &inputs[0]);
        Ok(vec![launch.float(self.min).float(self.max)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(2 * inputs[0].shape.elements(), inputs, &inputs[..1])
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
                    vec![normal(shape, i as u64), normal(shape, i as u64 + 100)],
                )
            })
            .collect();
        let of = |about, min, max, x: Vec<f32>| {
            let shape = [x.len()].into();
            Case::new(
                about,
                Self { min, max },
                vec![array(shape, x), normal(shape, 200)],
            )
        };
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        cases.extend([
            of(
                "on the borders",
                -0.5,
                0.75,
                vec![-0.5, 0.75, -0.500_000_1, 0.750_000_1, 0.0],
            )
            .without_differences(),
            of(
                "borders that f32 rounds",
                0.1,
                0.7,
                vec![0.1, 0.7, 0.099_999_99, 0.700_000_05],
            )
            .without_differences(),
            of("no upper border", 0.1, high, vec![-1.0, 0.1, 3e38]).without_differences(),
            of("no lower border", low, 0.1, vec![-3e38, 0.1, 1.0]).without_differences(),
            of("one point", 0.3, 0.3, vec![0.3, 0.299_999_98, 0.300_000_04]).without_differences(),
        ]);
        cases
    }
}
