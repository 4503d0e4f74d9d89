//! Values one after the other along an axis.
//!
//! **Definition.** y[…, k, …] = input i […, k − oᵢ, …] for oᵢ ≤ k < oᵢ₊₁, where oᵢ is the sum of the lengths, along the
//! attribute `axis`, of the inputs before i.
//!
//! **Shape.** One or more inputs, equal but along the axis; y is as long there as all of them together.
//!
//! **Gradient.** Every input gets its `slice` of ∂L/∂y.
//!
//! **Numerics.** Exact.
//!
//! **Cost.** A copy; bound by memory. On a device one launch for each input.
//!
//! **Reference.** `torch.cat`.

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
    name: "concat",
    text: include_str!("../../shaders/concat.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// Values in a row, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Concat {
    /// The axis along which they lie.
    pub axis: usize,
}

/// The inputs, at least one, one after the other along `axis`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::concat(&[r.constant([1.0]), r.constant([2.0, 3.0])], 0)?]))?;
/// assert_eq!(y, [1.0, 2.0, 3.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// There are no inputs, or they differ in another axis.
#[track_caller]
pub fn concat<'g>(inputs: &[Tensor<'g>], axis: usize) -> Result<Tensor<'g>> {
    let none = || Error::shape("concat: there must be one input at least");
    let recorder = inputs.first().ok_or_else(none)?.recorder();
    recorder.apply_one(Concat { axis }, inputs)
}

impl Op for Concat {
    const NAME: &'static str = "concat";
    const INPUTS: &'static [&'static str] = &["inputs…"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none().with("axis", self.axis)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let axis = attributes.int("axis", 0)?;
        Ok(Self { axis })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let Some(first) = inputs.first().map(|first| first.shape) else {
            return Err(Error::shape("concat: there must be one input at least"));
        };
        expect_axis(Self::NAME, first, self.axis)?;
        let mut length = 0;
        for input in inputs {
            let [shape] = expect_reals(Self::NAME, &[*input])?;
            let fits =
                shape.len() == first.len() && shape.with(self.axis, 0) == first.with(self.axis, 0);
            if !fits {
                let axis = self.axis;
                return Err(Error::shape(format!(
                    "concat: {first} and {shape} differ outside axis {axis}"
                )));
            }
            length += shape[self.axis];
        }
        Ok(vec![Spec::real(Shape::new(
            &first.with(self.axis, length),
        )?)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None; call.inputs.len()]);
        };
        let mut start = 0;
        let part = |input: &Tensor<'g>| {
            let length = input.shape()[self.axis];
            start += length;
            super::slice(grad, self.axis, start - length, length).map(Some)
        };
        call.inputs.iter().map(part).collect()
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let row = segments::segment(&outputs[0].shape, self.axis);
        let y = outputs[0].real();
        for (outer, within, done) in segments::cut(range, row) {
            let mut offset = 0;
            for input in inputs {
                let length = segments::segment(&input.shape, self.axis);
                let (start, end) = (within.start.max(offset), within.end.min(offset + length));
                if start < end {
                    let x = &input.real()[outer * length..][start - offset..end - offset];
                    y[done.start..][start - within.start..end - within.start].copy_from_slice(x);
                }
                offset += length;
            }
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let y_row = segments::segment(&self.outputs(inputs)?[0].shape, self.axis);
        let mut launches = Vec::new();
        let mut offset = 0;
        for (i, input) in inputs.iter().enumerate() {
            let (n, x_row) = (
                input.shape.elements(),
                segments::segment(&input.shape, self.axis),
            );
            let launch = Launch::new(&SHADER, [Binding::Input(i), Binding::Output(0)]);
            if n > 0 {
                launches.push(segments::words(launch, n, [x_row, y_row], offset));
            }
            offset += x_row;
        }
        Ok(launches)
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(0, inputs, &self.outputs(inputs).unwrap_or_default())
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, axis, shapes: &[Shape]| {
            let inputs = shapes.iter().zip(1..);
            let inputs = inputs.map(|(&shape, seed)| normal(shape, seed)).collect();
            Case::new(about, Self { axis }, inputs)
        };
        let channels = [[2, 3, 4, 5], [2, 1, 4, 5], [2, 7, 4, 5]].map(Shape::from);
        let vectors = |lengths: &[usize]| lengths.iter().map(|&n| [n].into()).collect::<Vec<_>>();
        vec![
            of("channels", 1, &channels),
            of("rows", 0, &[[3, 5].into(), [1, 5].into()]),
            of(
                "the innermost axis",
                2,
                &[[2, 3, 1].into(), [2, 3, 4].into()],
            ),
            of(
                "six axes",
                3,
                &[[2, 1, 3, 2, 2, 3].into(), [2, 1, 3, 5, 2, 3].into()],
            ),
            of("one input", 1, &[[2, 3].into()]),
            of("single elements", 0, &vectors(&[1, 1, 1])),
            of("primes", 0, &vectors(&[2, 3, 5, 7, 11, 13])),
            of("an empty input", 0, &vectors(&[2, 0, 3])),
            of("empty rows", 1, &[[3, 0].into(), [3, 2].into()]),
            of("nothing", 1, &[[0, 2].into(), [0, 3].into()]),
            of("around a workgroup", 0, &vectors(&[255, 256, 257])),
            of(
                "three workgroups and one",
                1,
                &[[1, 769].into(), [1, 770].into()],
            ),
            of(
                "more than a piece",
                1,
                &[[3, 5000].into(), [3, 7001].into()],
            ),
        ]
    }
}
