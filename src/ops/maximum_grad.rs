//! The gradient of the larger of two values, for one of them.
//!
//! **Definition.** grad = output_grad where own > other, half of it where own = other, 0 where own < other.
//!
//! **Shape.** own and other broadcast: axes are aligned at the innermost, lengths are equal or 1. output_grad has the
//! shape that they broadcast to, and so has the result.
//!
//! **Gradient.** With respect to output_grad the same operation again; with respect to own and other nothing, almost
//! everywhere.
//!
//! **Numerics.** Exact. Where either is NaN the gradient passes.
//!
//! **Cost.** Two comparisons an element; bound by memory.
//!
//! **Reference.** `torch.maximum`, backward.

use super::support::{array, eval_binary, expect_same, launch_binary, normal, uniform};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use std::cmp::Ordering;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "maximum_grad",
    text: include_str!("../../shaders/maximum_grad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The gradient of [`Maximum`](super::Maximum), see the room's documentation.
#[derive(Clone, Debug)]
pub struct MaximumGrad;

/// What [`maximum`](super::maximum) passes on of `output_grad` to `own`, before it is summed over repeated axes.
///
/// ```
/// # use axenic::{eval, ops};
/// let (own, other) = ([1.0, 2.0, 3.0], [2.0; 3]);
/// let [grad] = eval(|r| Ok([ops::maximum_grad(r.constant(own), r.constant(other), r.constant([8.0; 3]))?]))?;
/// assert_eq!(grad, [0.0, 4.0, 8.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not broadcast, or not to that of `output_grad`.
#[track_caller]
pub fn maximum_grad<'g>(
    own: Tensor<'g>,
    other: Tensor<'g>,
    output_grad: Tensor<'g>,
) -> Result<Tensor<'g>> {
    own.recorder()
        .apply_one(MaximumGrad, &[own, other, output_grad])
}

impl Op for MaximumGrad {
    const NAME: &'static str = "maximum_grad";
    const INPUTS: &'static [&'static str] = &["own", "other", "output_grad"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [own, other, output_grad] = expect_reals(Self::NAME, inputs)?;
        let shape = own.broadcast(&other).map_err(|e| e.within(Self::NAME))?;
        expect_same(
            Self::NAME,
            [shape, output_grad],
            ["the broadcast shape", "output_grad"],
        )?;
        Ok(vec![Spec::real(shape)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let grad = output_grads[0]
            .map(|grad| maximum_grad(call.inputs[0], call.inputs[1], grad))
            .transpose()?;
        Ok(vec![None, None, grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let output_grad = &inputs[2].real()[range.clone()];
        eval_binary(inputs, outputs, range, |own, other| {
            match own.partial_cmp(&other) {
                Some(Ordering::Less) => R::ZERO,
                Some(Ordering::Equal) => R::constant(0.5),
                _ => R::ONE,
            }
        });
        let shares = outputs[0].real().iter_mut();
        shares
            .zip(output_grad)
            .for_each(|(share, &grad)| *share = *share * grad);
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let launch = launch_binary(&SHADER, &inputs[..2], &inputs[2]);
        let bindings = vec![
            Binding::Input(0),
            Binding::Input(1),
            Binding::Input(2),
            Binding::Output(0),
        ];
        Ok(vec![Launch { bindings, ..launch }])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(2 * inputs[2].shape.elements(), inputs, &inputs[2..])
    }

    fn cases() -> Vec<Case<Self>> {
        let pairs: [(&str, Shape, Shape); 12] = [
            ("same shape", [2, 3, 5].into(), [2, 3, 5].into()),
            ("scalar", [7].into(), Shape::SCALAR),
            ("of a scalar", Shape::SCALAR, [257].into()),
            ("two scalars", Shape::SCALAR, Shape::SCALAR),
            ("a per-channel limit", [2, 3, 4, 5].into(), [3, 1, 1].into()),
            ("both repeat", [4, 1, 3].into(), [5, 1].into()),
            ("nothing", [0, 3].into(), [3].into()),
            (
                "six axes",
                [2, 1, 2, 1, 3, 1].into(),
                [2, 1, 2, 1, 2].into(),
            ),
            ("one less than a workgroup", [255].into(), [255].into()),
            ("one more than a workgroup", [257].into(), [1].into()),
            ("a prime number", [1009].into(), [1009].into()),
            ("rows of a matrix", [67, 129].into(), [129].into()),
        ];
        let case = |(i, (about, own, other)): (usize, (&'static str, Shape, Shape))| {
            let seed = 3 * i as u64;
            let shape = own.broadcast(&other).unwrap_or(own);
            Case::new(
                about,
                Self,
                vec![
                    normal(own, seed),
                    normal(other, seed + 1),
                    normal(shape, seed + 2),
                ],
            )
        };
        let mut cases: Vec<_> = pairs.into_iter().enumerate().map(case).collect();
        let few = |values: [f32; 3]| array([3].into(), values.to_vec());
        cases.extend([
            Case::new(
                "equals",
                Self,
                vec![
                    few([1.0, 2.0, 0.0]),
                    few([1.0, 2.000_000_2, -0.0]),
                    few([3.0, 5.0, 7.0]),
                ],
            )
            .without_differences(),
            Case::new(
                "far apart",
                Self,
                vec![
                    uniform([67], -1e38, 1e38, 50),
                    normal([67], 51),
                    normal([67], 52),
                ],
            ),
        ]);
        cases
    }
}
