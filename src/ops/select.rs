//! One of two values, element by element.
//!
//! **Definition.** y = a where mask ≠ 0, else b.
//!
//! **Shape.** mask (indices), a and b broadcast: axes are aligned at the innermost, lengths are equal or 1.
//!
//! **Gradient.** ∂L/∂a = ∂L/∂y where mask ≠ 0, else 0, summed over the axes that a was repeated along; b where mask = 0.
//!
//! **Numerics.** Exact. What is not chosen has no influence, NaN included.
//!
//! **Cost.** Bound by memory.
//!
//! **Reference.** `torch.where`.

use super::support::{WORKGROUP, indices, normal, shapes, unbroadcast};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_index, expect_inputs, expect_reals, library,
};
use crate::real::Real;
use crate::shape::{Offsets, Shape};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "select",
    text: include_str!("../../shaders/select.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// a or b, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Select;

/// a where mask ≠ 0, else b; all three broadcast.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::select(r.constant([1u32, 0]), r.constant([1.0, 2.0]), r.constant(0.0))?]))?;
/// assert_eq!(y, [1.0, 0.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not broadcast, or the mask holds real numbers.
#[track_caller]
pub fn select<'g>(mask: Tensor<'g>, a: Tensor<'g>, b: Tensor<'g>) -> Result<Tensor<'g>> {
    a.recorder().apply_one(Select, &[mask, a, b])
}

impl Op for Select {
    const NAME: &'static str = "select";
    const INPUTS: &'static [&'static str] = &["mask", "a", "b"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [mask, a, b] = expect_inputs(Self::NAME, inputs)?;
        let mask = expect_index(Self::NAME, "mask", mask)?;
        let [a, b] = expect_reals(Self::NAME, &[a, b])?;
        let shape = a.broadcast(&b).and_then(|shape| shape.broadcast(&mask));
        Ok(vec![Spec::real(shape.map_err(|e| e.within(Self::NAME))?)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None; 3]);
        };
        let (mask, a, b) = (call.inputs[0], call.inputs[1], call.inputs[2]);
        let zero = super::fill(grad.recorder(), Shape::SCALAR, 0.0)?;
        let a_grad = unbroadcast(select(mask, grad, zero)?, a.shape())?;
        let b_grad = unbroadcast(select(mask, zero, grad)?, b.shape())?;
        Ok(vec![None, Some(a_grad), Some(b_grad)])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let shape = outputs[0].shape;
        let (mask, a, b) = (inputs[0].index(), inputs[1].real(), inputs[2].real());
        let y = outputs[0].real().iter_mut();
        if inputs.iter().all(|input| input.shape == shape) {
            let choices = mask[range.clone()]
                .iter()
                .zip(&a[range.clone()])
                .zip(&b[range]);
            y.zip(choices)
                .for_each(|(y, ((&mask, &a), &b))| *y = if mask != 0 { a } else { b });
        } else {
            let strides = [0, 1, 2].map(|i: usize| inputs[i].shape.broadcast_strides(&shape));
            let mut walk = Offsets::new(shape, strides, range.start);
            y.for_each(|y| {
                let [i, j, k] = walk.advance();
                *y = if mask[i] != 0 { a[j] } else { b[k] };
            });
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let shape = self.outputs(inputs)?[0].shape;
        let bindings = [
            Binding::Input(0),
            Binding::Input(1),
            Binding::Input(2),
            Binding::Output(0),
        ];
        let broadcasts = inputs.iter().any(|input| input.shape != shape);
        let launch = inputs.iter().fold(
            Launch::new(&SHADER, bindings).axes(&shape, 1),
            |launch, input| launch.axes(&input.shape.broadcast_strides(&shape), 0),
        );
        let launch = launch
            .word(shape.elements())
            .constant("BROADCASTS", f64::from(u8::from(broadcasts)));
        Ok(vec![launch.elements(shape.elements(), WORKGROUP)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(0, inputs, &self.outputs(inputs).unwrap_or_default())
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, mask, a: Shape, b: Shape| {
            Case::new(
                about,
                Self,
                vec![indices(mask, 2, 1), normal(a, 2), normal(b, 3)],
            )
        };
        let mut cases: Vec<_> = shapes::pairs()
            .map(|(about, a, b)| case(about, b, a, b))
            .collect();
        let scalar = Shape::SCALAR;
        cases.extend([
            case(
                "the mask is the largest",
                [2, 3, 5].into(),
                [5].into(),
                [3, 1].into(),
            ),
            case("a scalar elsewhere", [7].into(), [7].into(), scalar),
            case("two scalars", [257].into(), scalar, scalar),
            case(
                "a mask of samples",
                [4, 1].into(),
                [4, 3].into(),
                [3].into(),
            ),
            case(
                "three shapes",
                [2, 1, 1, 5, 3, 1].into(),
                [2, 3, 4, 1, 3, 1].into(),
                [3, 7].into(),
            ),
            Case::new(
                "marks other than one",
                Self,
                vec![indices([31], 5, 4), normal([31], 5), normal([31], 6)],
            ),
        ]);
        cases
    }
}
