//! The mean over marked elements.
//!
//! **Definition.** y = 1/n · Σ over mask ≠ 0 of x, n being the number of marked elements; 0 if there are none.
//!
//! **Shape.** mask (indices) has that of x; the result is a scalar.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y / n where mask ≠ 0, else 0 (see `masked_mean_grad`).
//!
//! **Numerics.** On a device 256 invocations add strided elements, then a tree joins them: depth ⌈elements/256⌉ + 9. The
//! count is exact up to 2²⁴.
//!
//! **Cost.** One addition an element, by a single workgroup: meant for a value per sample, not per pixel.
//!
//! **Reference.** `torch.mean(x[mask])`, but 0 where that is NaN.

use super::support::{WORKGROUP, expect_same, indices, normal, shapes};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_index, expect_inputs, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "masked_mean",
    text: include_str!("../../shaders/masked_mean.wgsl"),
    uses: &[library::STORE, library::REDUCE],
};

/// The mean over marked elements, see the room's documentation.
#[derive(Clone, Debug)]
pub struct MaskedMean;

/// The mean of x where mask ≠ 0, or 0 if that is nowhere.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::masked_mean(r.constant([1.0, 2.0, 6.0]), r.constant([1u32, 0, 1]))?]))?;
/// assert_eq!(y, 3.5.into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, or the mask holds real numbers.
#[track_caller]
pub fn masked_mean<'g>(x: Tensor<'g>, mask: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(MaskedMean, &[x, mask])
}

impl Op for MaskedMean {
    const NAME: &'static str = "masked_mean";
    const INPUTS: &'static [&'static str] = &["x", "mask"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[], &[0]);

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x, mask] = expect_inputs(Self::NAME, inputs)?;
        let [x] = expect_reals(Self::NAME, &[x])?;
        let mask = expect_index(Self::NAME, "mask", mask)?;
        expect_same(Self::NAME, [x, mask], ["x", "mask"])?;
        Ok(vec![Spec::real(Shape::SCALAR)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None, None]);
        };
        Ok(vec![
            Some(super::masked_mean_grad(call.inputs[1], grad)?),
            None,
        ])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], _range: Range<usize>) {
        let (x, mask) = (inputs[0].real(), inputs[1].index());
        let mut sum = R::sum(x.len().div_ceil(WORKGROUP) + 9);
        let marked = x.iter().zip(mask).filter(|(_, mask)| **mask != 0);
        marked.clone().for_each(|(&x, _)| sum.add(x));
        let count = marked.count();
        outputs[0].real()[0] = if count == 0 {
            R::ZERO
        } else {
            sum.total() / R::count(count)
        };
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let launch = Launch::new(
            &SHADER,
            [Binding::Input(0), Binding::Input(1), Binding::Output(0)],
        );
        Ok(vec![launch.word(inputs[0].shape.elements())])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(
            inputs[0].shape.elements(),
            inputs,
            &[Spec::real(Shape::SCALAR)],
        )
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, shape: Shape, below| {
            Case::new(
                about,
                Self,
                vec![normal(shape, 1), indices(shape, below, 2)],
            )
        };
        let mut cases: Vec<_> = shapes::elements()
            .map(|(about, shape)| case(about, shape, 2))
            .collect();
        cases.extend([
            case("marks other than one", [31].into(), 5),
            case("no element is marked", [5, 2].into(), 1),
            case("a thousand and nine", [1009].into(), 3),
        ]);
        cases
    }
}
