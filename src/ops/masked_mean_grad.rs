//! The gradient of the mean over marked elements.
//!
//! **Definition.** x_grad = output_grad / n where mask ≠ 0, else 0; n is the number of marked elements.
//!
//! **Shape.** output_grad is a scalar; the result has the shape of mask.
//!
//! **Gradient.** With respect to output_grad, the mean of the marked elements of the gradient.
//!
//! **Numerics.** One division.
//!
//! **Cost.** Reading the mask twice, writing the result, by a single workgroup.
//!
//! **Reference.** `torch.mean(x[mask])`, backward, but 0 where that is NaN.

use super::support::{expect_same, indices, normal, shapes};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_index, expect_inputs, expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "masked_mean_grad",
    text: include_str!("../../shaders/masked_mean_grad.wgsl"),
    uses: &[library::STORE, library::REDUCE],
};

/// The gradient of [`MaskedMean`](super::MaskedMean), see the room's documentation.
#[derive(Clone, Debug)]
pub struct MaskedMeanGrad;

/// `output_grad` shared out equally where mask ≠ 0.
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| Ok([ops::masked_mean_grad(r.constant([1u32, 0, 1]), r.constant(3.0))?]))?;
/// assert_eq!(x_grad, [1.5, 0.0, 1.5].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The mask holds real numbers, or output_grad is not a scalar.
#[track_caller]
pub fn masked_mean_grad<'g>(mask: Tensor<'g>, output_grad: Tensor<'g>) -> Result<Tensor<'g>> {
    mask.recorder()
        .apply_one(MaskedMeanGrad, &[mask, output_grad])
}

impl Op for MaskedMeanGrad {
    const NAME: &'static str = "masked_mean_grad";
    const INPUTS: &'static [&'static str] = &["mask", "output_grad"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [mask, output_grad] = expect_inputs(Self::NAME, inputs)?;
        let mask = expect_index(Self::NAME, "mask", mask)?;
        let [output_grad] = expect_reals(Self::NAME, &[output_grad])?;
        expect_same(
            Self::NAME,
            [output_grad, Shape::SCALAR],
            ["output_grad", "a scalar"],
        )?;
        Ok(vec![Spec::real(mask)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None, None]);
        };
        Ok(vec![None, Some(super::masked_mean(grad, call.inputs[0])?)])
    }

    fn pieces(&self, _outputs: &[Spec]) -> usize {
        // The count is taken over everything.
        1
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], _range: Range<usize>) {
        let (mask, output_grad) = (inputs[0].index(), inputs[1].real()[0]);
        let count = mask.iter().filter(|mask| **mask != 0).count();
        let share = output_grad / R::count(count.max(1));
        let x_grad = outputs[0].real().iter_mut();
        x_grad
            .zip(mask)
            .for_each(|(x_grad, &mask)| *x_grad = if mask != 0 { share } else { R::ZERO });
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
            &[Spec::real(inputs[0].shape)],
        )
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, shape: Shape, below| {
            Case::new(about, Self, vec![indices(shape, below, 1), normal([], 2)])
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
