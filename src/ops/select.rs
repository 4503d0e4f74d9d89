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

use super::support::{WORKGROUP, indices, normal, unbroadcast};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_index, expect_inputs, expect_reals, library,
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
        vec![
            Case::new(
                "same shape",
                Self,
                vec![
                    indices([2, 3, 5], 2, 1),
                    normal([2, 3, 5], 2),
                    normal([2, 3, 5], 3),
                ],
            ),
            Case::new(
                "a scalar elsewhere",
                Self,
                vec![indices([7], 3, 4), normal([7], 5), normal([], 6)],
            ),
            Case::new(
                "two scalars",
                Self,
                vec![indices([257], 2, 7), normal([], 8), normal([], 9)],
            ),
            Case::new(
                "a mask of samples",
                Self,
                vec![indices([4, 1], 2, 10), normal([4, 3], 11), normal([3], 12)],
            ),
            Case::new(
                "a scalar mask",
                Self,
                vec![indices([], 2, 13), normal([5], 14), normal([2, 1], 15)],
            ),
            Case::new(
                "nothing",
                Self,
                vec![indices([0], 2, 16), normal([0], 17), normal([], 18)],
            ),
            Case::new(
                "six axes",
                Self,
                vec![
                    indices([2, 1, 1, 1, 3, 1], 2, 19),
                    normal([2, 1, 2, 1, 3, 1], 20),
                    normal([3, 2], 21),
                ],
            ),
        ]
    }
}
