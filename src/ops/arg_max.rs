//! The index of the largest element along an axis.
//!
//! **Definition.** y[kept] = the smallest i with x[kept, i] = max over the axis of x[kept, ·].
//!
//! **Shape.** That of x without the axis; indices. The axis must not be empty.
//!
//! **Gradient.** None: indices do not vary.
//!
//! **Numerics.** Exact; ties go to the first. On the host NaN is larger than every number; a device may pass it over.
//!
//! **Cost.** One comparison an element; bound by memory.
//!
//! **Reference.** `torch.argmax`.

use super::support::{Reduction, Rows, array, expect_axis, launch_reduction, normal, uniform};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;
use crate::shape::KeepAxes;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "arg_max",
    text: include_str!("../../shaders/arg_max.wgsl"),
    uses: &[library::STORE, library::INDEX, library::FIRST_MAX],
};

/// The index of the maximum along an axis, see the room's documentation.
#[derive(Clone, Debug)]
pub struct ArgMax {
    /// The axis to search along.
    pub axis: usize,
}

/// The index of the first of the largest elements along `axis`.
///
/// ```
/// # use axenic::{Array, eval, ops};
/// let [y] = eval(|r| Ok([ops::arg_max(r.constant([[1.0, 5.0, 5.0], [3.0, 2.0, 1.0]]), 1)?]))?;
/// assert_eq!(y, Array::from([1u32, 0]));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The axis does not exist or is empty.
#[track_caller]
pub fn arg_max<'g>(x: Tensor<'g>, axis: usize) -> Result<Tensor<'g>> {
    x.recorder().apply_one(ArgMax { axis }, &[x])
}

impl Op for ArgMax {
    const NAME: &'static str = "arg_max";
    const INPUTS: &'static [&'static str] = &["x"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("axis", self.axis)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        expect_axis(Self::NAME, x, self.axis)?;
        if x[self.axis] == 0 {
            let axis = self.axis;
            return Err(Error::shape(format!(
                "arg_max: there are no elements along axis {axis} of {x}"
            )));
        }
        Ok(vec![Spec::index(x.reduced(&[self.axis], KeepAxes::No)?)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let rows = Rows::new(inputs[0].shape, self.axis);
        let x = inputs[0].real();
        for (y, row) in outputs[0].index().iter_mut().zip(range) {
            let elements = rows.of(x, row).enumerate();
            let first = elements.reduce(|top, own| if own.1.exceeds(top.1) { own } else { top });
            *y = first.map_or(0, |(i, _)| i as u32);
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let reduction = Reduction::new(inputs[0].shape, &[self.axis]);
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)]);
        Ok(vec![launch_reduction(&reduction, launch)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let along = |axis| Self { axis };
        let ties = array([2, 3].into(), vec![1.0, 5.0, 5.0, -2.0, -2.0, -3.0f32]);
        let mut late = vec![0.0f32; 700];
        (late[299], late[600]) = (1.0, 1.0);
        // On a device the lanes 40 and 41 find them: the tree brings the second one to the first.
        let mut neighbours = vec![0.0f32; 700];
        (neighbours[40], neighbours[297]) = (1.0, 1.0);
        vec![
            Case::new("classes", along(1), vec![normal([5, 9], 1)]),
            Case::new("columns", along(0), vec![normal([301, 3], 2)]),
            Case::new("the middle", along(1), vec![normal([2, 5, 3, 7], 3)]),
            Case::new("a long row", along(1), vec![normal([2, 1009], 4)]),
            Case::new("ties go to the first", along(1), vec![ties]),
            Case::new("ties far apart", along(0), vec![array([700].into(), late)]),
            Case::new(
                "ties in neighbouring lanes",
                along(0),
                vec![array([700].into(), neighbours)],
            ),
            Case::new(
                "all equal",
                along(0),
                vec![array([300, 2].into(), vec![-1.0f32; 600])],
            ),
            Case::new("one element", along(0), vec![normal([1], 5)]),
            Case::new("of nothing", along(1), vec![normal([0, 3], 6)]),
            Case::new(
                "more than 65,535 results",
                along(1),
                vec![normal([65_537, 2], 7)],
            ),
            Case::new("six axes", along(3), vec![normal([2, 3, 4, 5, 6, 7], 8)]),
            Case::new(
                "one less than a workgroup",
                along(1),
                vec![normal([3, 255], 9)],
            ),
            Case::new(
                "three workgroups and one",
                along(0),
                vec![normal([769], 10)],
            ),
            Case::new(
                "near the lowest number",
                along(1),
                vec![uniform([3, 17], -3.4e38, -3.3e38, 11)],
            ),
        ]
    }
}
