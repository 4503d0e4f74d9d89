//! The same elements under another shape.
//!
//! **Definition.** y[i] = x[i] in row-major order.
//!
//! **Shape.** As the attribute `shape` says; the number of elements stays.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y in x's shape.
//!
//! **Numerics.** Exact: y is x's memory.
//!
//! **Cost.** None.
//!
//! **Reference.** `torch.reshape`.

use super::support::{indices, normal};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Call, Case, Cost, Launch, Limits, Op, Slice, SliceMut, Tensor, View, ViewMut,
    expect_inputs,
};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::Range;

/// Another shape for the same elements, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Reshape {
    /// The new shape.
    pub shape: Shape,
}

/// The elements of x, real or index, under another shape.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::reshape(r.constant([1.0, 2.0, 3.0, 4.0]), [2, 2])?]))?;
/// assert_eq!(y, [[1.0, 2.0], [3.0, 4.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The number of elements differs.
#[track_caller]
pub fn reshape<'g>(x: Tensor<'g>, shape: impl Into<Shape>) -> Result<Tensor<'g>> {
    let shape = shape.into();
    if x.shape() == shape {
        Ok(x)
    } else {
        x.recorder().apply_one(Reshape { shape }, &[x])
    }
}

impl Op for Reshape {
    const NAME: &'static str = "reshape";
    const INPUTS: &'static [&'static str] = &["x"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("shape", &*self.shape)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            shape: Shape::new(&attributes.ints("shape", &[])?)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_inputs(Self::NAME, inputs)?;
        if x.shape.elements() != self.shape.elements() {
            let (old, new) = (x.shape, self.shape);
            return Err(Error::shape(format!(
                "reshape: {old} and {new} differ in their number of elements"
            )));
        }
        Ok(vec![Spec {
            shape: self.shape,
            element: x.element,
        }])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let grad = output_grads[0]
            .map(|grad| reshape(grad, call.inputs[0].shape()))
            .transpose()?;
        Ok(vec![grad])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        match (inputs[0].slice, &mut outputs[0].slice) {
            (Slice::Real(x), SliceMut::Real(y)) => y.copy_from_slice(&x[range]),
            (Slice::Index(x), SliceMut::Index(y)) => y.copy_from_slice(&x[range]),
            _ => unreachable!("the element type stays"),
        }
    }

    fn launches(&self, _inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        Ok(Vec::new())
    }

    fn alias_of_input(&self) -> Option<usize> {
        Some(0)
    }

    fn cost(&self, _inputs: &[Spec]) -> Cost {
        Cost::default()
    }

    fn cases() -> Vec<Case<Self>> {
        let to =
            |about, shape: Shape, x: Shape| Case::new(about, Self { shape }, vec![normal(x, 1)]);
        vec![
            to("flatten", [2, 30].into(), [2, 3, 2, 5].into()),
            to("one axis more", [1, 7].into(), [7].into()),
            to("one axis less", [7].into(), [7, 1].into()),
            to("to a scalar", Shape::SCALAR, [1, 1].into()),
            to("of a scalar", [1, 1, 1].into(), Shape::SCALAR),
            to("a scalar", Shape::SCALAR, Shape::SCALAR),
            to("the same", [3, 5].into(), [3, 5].into()),
            to("turned", [5, 3].into(), [3, 5].into()),
            to("nothing", [0, 4].into(), [3, 0].into()),
            to("six axes", [3, 2, 1, 2, 3, 1].into(), [36].into()),
            to("one more than a workgroup", [257, 1].into(), [257].into()),
            Case::new(
                "indices",
                Self { shape: [6].into() },
                vec![indices([2, 3], 9, 5)],
            ),
        ]
    }
}
