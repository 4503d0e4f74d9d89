//! A value between zeros along an axis.
//!
//! **Definition.** y[…, k, …] = x[…, k − before, …] along the attribute `axis` where that exists, else 0.
//!
//! **Shape.** That of x, longer by before + after along the axis.
//!
//! **Gradient.** ∂L/∂x is the `slice` of ∂L/∂y where x lies.
//!
//! **Numerics.** Exact.
//!
//! **Cost.** A copy; bound by memory.
//!
//! **Reference.** `torch.nn.functional.pad` with mode `constant`.

use super::support::{expect_axis, normal, segments};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "pad",
    text: include_str!("../../shaders/pad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// Zeros around a value, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Pad {
    /// The axis.
    pub axis: usize,
    /// How many zeros come first.
    pub before: usize,
    /// How many come last.
    pub after: usize,
}

/// x with `before` zeros in front and `after` behind along `axis`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::pad(r.constant([1.0, 2.0]), 0, 1, 2)?]))?;
/// assert_eq!(y, [0.0, 1.0, 2.0, 0.0, 0.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has no such axis, or the result too many elements.
#[track_caller]
pub fn pad<'g>(x: Tensor<'g>, axis: usize, before: usize, after: usize) -> Result<Tensor<'g>> {
    let op = Pad {
        axis,
        before,
        after,
    };
    x.recorder().apply_one(op, &[x])
}

impl Op for Pad {
    const NAME: &'static str = "pad";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("axis", self.axis)
            .with("before", self.before)
            .with("after", self.after)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
            before: attributes.int("before", 0)?,
            after: attributes.int("after", 0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        expect_axis(Self::NAME, x, self.axis)?;
        let length = x[self.axis]
            .checked_add(self.before)
            .and_then(|length| length.checked_add(self.after));
        let (before, after) = (self.before, self.after);
        let length = length
            .ok_or_else(|| Error::shape(format!("pad: {before} and {after} zeros are too many")))?;
        let shape = Shape::new(&x.with(self.axis, length)).map_err(|e| e.within(Self::NAME))?;
        Ok(vec![Spec::real(shape)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let length = call.inputs[0].shape()[self.axis];
        let back = |grad| super::slice(grad, self.axis, self.before, length);
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (x, x_row) = (
            inputs[0].real(),
            segments::segment(&inputs[0].shape, self.axis),
        );
        let offset = self.before * segments::step(&inputs[0].shape, self.axis);
        let y_row = segments::segment(&outputs[0].shape, self.axis);
        let y = outputs[0].real();
        for (outer, within, done) in segments::cut(range, y_row) {
            let y = &mut y[done];
            let start = within.start.max(offset).min(within.end);
            let end = within.end.min(offset + x_row).max(start);
            let (before, rest) = y.split_at_mut(start - within.start);
            let (middle, after) = rest.split_at_mut(end - start);
            before.fill(R::ZERO);
            if start < end {
                middle.copy_from_slice(&x[outer * x_row..][start - offset..end - offset]);
            }
            after.fill(R::ZERO);
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let (x, y) = (inputs[0].shape, self.outputs(inputs)?[0].shape);
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)]);
        let both = [
            segments::segment(&x, self.axis),
            segments::segment(&y, self.axis),
        ];
        let offset = self.before * segments::step(&x, self.axis);
        Ok(vec![segments::words(launch, y.elements(), both, offset)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(0, inputs, &self.outputs(inputs).unwrap_or_default())
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, [axis, before, after]: [usize; 3], shape: Shape| {
            let op = Self {
                axis,
                before,
                after,
            };
            Case::new(about, op, vec![normal(shape, 1)])
        };
        vec![
            of("channels", [1, 2, 3], [2, 7, 4, 5].into()),
            of("in front", [0, 2, 0], [3, 5].into()),
            of("behind", [1, 0, 3], [3, 5].into()),
            of("six axes", [3, 2, 1], [2, 1, 3, 2, 2, 3].into()),
            of("no zeros", [0, 0, 0], [4].into()),
            of("one element", [0, 3, 4], [1].into()),
            of("zeros only", [1, 2, 1], [3, 0].into()),
            of("nothing", [1, 1, 2], [0, 5].into()),
            of("up to a workgroup", [0, 3, 2], [251].into()),
            of("one more than a workgroup", [0, 1, 0], [256].into()),
            of("three workgroups and one", [1, 200, 300], [1, 269].into()),
            of("more than a piece", [1, 7001, 3000], [3, 5000].into()),
        ]
    }
}
