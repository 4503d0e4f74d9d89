//! A part of a value along an axis.
//!
//! **Definition.** y[…, k, …] = x[…, start + k, …] along the attribute `axis`, for k in 0..length.
//!
//! **Shape.** That of x, with `length` along the axis.
//!
//! **Gradient.** ∂L/∂x is ∂L/∂y between zeros, see `pad`.
//!
//! **Numerics.** Exact.
//!
//! **Cost.** A copy; bound by memory.
//!
//! **Reference.** `torch.narrow`.

use super::support::{CHUNK, expect_axis, normal, segments};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, SliceMut, Tensor,
    View, ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "slice",
    text: include_str!("../../shaders/slice.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// A part along an axis, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The axis.
    pub axis: usize,
    /// Where the part begins.
    pub start: usize,
    /// How long it is.
    pub length: usize,
}

/// The part `start..start + length` of x along `axis`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::slice(r.constant([1.0, 2.0, 3.0]), 0, 1, 2)?]))?;
/// assert_eq!(y, [2.0, 3.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has no such axis, or ends before the part does.
#[track_caller]
pub fn slice<'g>(x: Tensor<'g>, axis: usize, start: usize, length: usize) -> Result<Tensor<'g>> {
    let op = Slice {
        axis,
        start,
        length,
    };
    x.recorder().apply_one(op, &[x])
}

impl Op for Slice {
    const NAME: &'static str = "slice";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("axis", self.axis)
            .with("start", self.start)
            .with("length", self.length)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axis: attributes.int("axis", 0)?,
            start: attributes.int("start", 0)?,
            length: attributes.int("length", 1)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        expect_axis(Self::NAME, x, self.axis)?;
        let end = self.start.checked_add(self.length);
        if end.is_none_or(|end| end > x[self.axis]) {
            return Err(Error::shape(format!(
                "slice: x {x} has no {} elements from {} on along axis {}",
                self.length, self.start, self.axis
            )));
        }
        Ok(vec![Spec::real(x.with(self.axis, self.length))])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let after = call.inputs[0].shape()[self.axis] - self.start - self.length;
        let back = |grad| super::pad(grad, self.axis, self.start, after);
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (x, x_row) = (
            inputs[0].real(),
            segments::segment(&inputs[0].shape, self.axis),
        );
        let offset = self.start * segments::step(&inputs[0].shape, self.axis);
        let y_row = segments::segment(&outputs[0].shape, self.axis);
        let y = outputs[0].real();
        for (outer, within, done) in segments::cut(range, y_row) {
            let x = &x[outer * x_row + offset..][within];
            y[done].copy_from_slice(x);
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let shape = outputs[0].shape;
        // The result's elements alone are work, however long x is.
        workers.each_chunk(outputs[0].real(), CHUNK, |i, y| {
            let range = i * CHUNK..i * CHUNK + y.len();
            let slice = SliceMut::Real(y);
            self.eval(inputs, &mut [ViewMut { shape, slice }], range);
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let (x, y) = (inputs[0].shape, self.outputs(inputs)?[0].shape);
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)]);
        let both = [
            segments::segment(&x, self.axis),
            segments::segment(&y, self.axis),
        ];
        let offset = self.start * segments::step(&x, self.axis);
        Ok(vec![segments::words(launch, y.elements(), both, offset)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(0, &outputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, [axis, start, length]: [usize; 3], shape: Shape| {
            let op = Self {
                axis,
                start,
                length,
            };
            Case::new(about, op, vec![normal(shape, 1)])
        };
        vec![
            of("channels", [1, 2, 3], [2, 7, 4, 5].into()),
            of("rows", [0, 1, 1], [3, 5].into()),
            of("columns", [1, 3, 2], [3, 5].into()),
            of("six axes", [3, 2, 3], [2, 1, 3, 7, 2, 3].into()),
            of("all", [0, 0, 4], [4].into()),
            of("one element", [0, 5, 1], [11].into()),
            of("the last", [0, 10, 1], [11].into()),
            of("nothing", [1, 2, 0], [3, 5].into()),
            of("of nothing", [1, 1, 2], [0, 5].into()),
            of("a workgroup", [0, 44, 256], [300].into()),
            of("one more than a workgroup", [0, 1, 257], [300].into()),
            of("three workgroups and one", [1, 100, 769], [1, 1000].into()),
            of("more than a piece", [1, 17, 7001], [3, 8000].into()),
        ]
    }
}
