//! A part of a value along an axis.
//!
//! **Definition.** y[…, k, …] = x[…, start + k, …] along the attribute `axis`, for k in 0..length; plus `added` if
//! there is such an input, as where the gradients of a value add up that several concatenations read.
//!
//! **Shape.** That of x, with `length` along the axis; added as y.
//!
//! **Gradient.** ∂L/∂x is ∂L/∂y between zeros, see `pad`; ∂L/∂added is ∂L/∂y.
//!
//! **Numerics.** Exact; one rounding with an addition.
//!
//! **Cost.** A copy, and an addition an element if something is added; bound by memory.
//!
//! **Reference.** `torch.narrow`.

use super::support::{CHUNK, expect_axis, expect_same, normal, segments};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Follower, Halves, Joined, Launch, Limits, Op, Shader,
    SliceMut, Tensor, View, ViewMut, expect_reals, library,
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
    const INPUTS: &'static [&'static str] = &["x", "added…"];
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
        let (own, added) = inputs.split_at(inputs.len().min(1));
        let [x] = expect_reals(Self::NAME, own)?;
        expect_axis(Self::NAME, x, self.axis)?;
        let end = self.start.checked_add(self.length);
        if end.is_none_or(|end| end > x[self.axis]) {
            return Err(Error::shape(format!(
                "slice: x {x} has no {} elements from {} on along axis {}",
                self.length, self.start, self.axis
            )));
        }
        let y = x.with(self.axis, self.length);
        if !added.is_empty() {
            let [added] = expect_reals(Self::NAME, added)?;
            expect_same(Self::NAME, [y, added], ["the part", "added"])?;
        }
        Ok(vec![Spec::real(y)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let after = call.inputs[0].shape()[self.axis] - self.start - self.length;
        let back = |grad| super::pad(grad, self.axis, self.start, after);
        let mut grads = vec![output_grads[0].map(back).transpose()?];
        grads.extend(call.inputs[1..].iter().map(|_| output_grads[0]));
        Ok(grads)
    }

    fn followed_by(&self, inputs: &[Spec], next: &Follower) -> Option<Joined<Self>> {
        let is_sum = next.op.name() == super::Add::NAME && next.specs[0] == next.specs[1];
        (is_sum && inputs.len() == 1).then(|| Joined::of(self.clone()))
    }

    #[inline(always)]
    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (x, x_row) = (
            inputs[0].real(),
            segments::segment(&inputs[0].shape, self.axis),
        );
        let offset = self.start * segments::step(&inputs[0].shape, self.axis);
        let y_row = segments::segment(&outputs[0].shape, self.axis);
        let y = outputs[0].real();
        let added = inputs.get(1).map(|added| &added.real()[range.clone()]);
        for (outer, within, done) in segments::cut(range, y_row) {
            let x = &x[outer * x_row + offset..][within];
            match added {
                None => y[done].copy_from_slice(x),
                Some(added) => {
                    let pairs = x.iter().zip(&added[done.clone()]);
                    for (y, (&x, &added)) in y[done].iter_mut().zip(pairs) {
                        *y = x + added;
                    }
                }
            }
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
        workers.each_chunk(
            outputs[0].real(),
            CHUNK,
            #[inline(always)]
            |i, y| {
                let range = i * CHUNK..i * CHUNK + y.len();
                let slice = SliceMut::Real(y);
                self.eval(inputs, &mut [ViewMut { shape, slice }], range);
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let (x, y) = (inputs[0].shape, self.outputs(inputs)?[0].shape);
        // What is not added is not read, but something must be bound.
        let added = inputs.len() - 1;
        let bindings = [Binding::Input(0), Binding::Input(added), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings).constant("ADDED", added as f64);
        let both = [
            segments::segment(&x, self.axis),
            segments::segment(&y, self.axis),
        ];
        let offset = self.start * segments::step(&x, self.axis);
        Ok(vec![segments::words(launch, y.elements(), both, offset)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let y = outputs.first().map_or(0, |y| y.shape.elements());
        let read = outputs.repeat(inputs.len());
        Cost::new((inputs.len() - 1) * y, &read, &outputs)
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
        let plus = |mut case: Case<Self>| {
            let y = case.op.outputs(&[case.inputs[0].spec()]);
            let y = y.unwrap_or_else(|e| unreachable!("{e}"))[0].shape;
            case.inputs.push(normal(y, 2));
            case
        };
        vec![
            plus(of("channels, added", [1, 2, 3], [2, 7, 4, 5].into())),
            plus(of("nothing, added", [1, 2, 0], [3, 5].into())),
            plus(of(
                "three workgroups and one, added",
                [1, 100, 769],
                [1, 1000].into(),
            )),
            plus(of(
                "more than a piece, added",
                [1, 17, 7001],
                [3, 8000].into(),
            )),
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
