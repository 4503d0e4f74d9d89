//! The largest element over some axes.
//!
//! **Definition.** y[kept] = max over the reduced axes of x[kept, reduced].
//!
//! **Shape.** That of x without the axes, or with length 1 in their place. There must be something to choose from.
//!
//! **Gradient.** ∂L/∂y goes to the first element, row-major within the reduced axes, that attains the maximum (see
//! `max_grad`).
//!
//! **Numerics.** Exact. On the host NaN is larger than every number; a device may pass it over.
//!
//! **Cost.** One comparison an element; bound by memory.
//!
//! **Reference.** `torch.amax` (which shares the gradient among ties).

use super::support::{HostReduction, Largest, Reduction, launch_reduction, normal, uniform};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Target, Tensor,
    View, ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::KeepAxes;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "max",
    text: include_str!("../../shaders/max.wgsl"),
    uses: &[library::STORE, library::INDEX, library::REDUCE],
};

/// The maximum over axes, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Max {
    /// The axes to reduce over.
    pub axes: Vec<usize>,
    /// Whether they stay, with length 1.
    pub keep: KeepAxes,
}

/// The largest element over `axes`.
///
/// ```
/// # use axenic::{eval, ops, shape::KeepAxes};
/// let [y] = eval(|r| Ok([ops::max(r.constant([[1.0, 5.0], [3.0, 4.0]]), &[0], KeepAxes::No)?]))?;
/// assert_eq!(y, [3.0, 5.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// An axis does not exist or is named twice, or there are no elements along the axes.
#[track_caller]
pub fn max<'g>(x: Tensor<'g>, axes: &[usize], keep: KeepAxes) -> Result<Tensor<'g>> {
    x.recorder().apply_one(
        Max {
            axes: axes.to_vec(),
            keep,
        },
        &[x],
    )
}

impl Op for Max {
    const NAME: &'static str = "max";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[], &[0]);

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("axes", self.axes.as_slice())
            .with("keep", self.keep.word())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let keep = attributes.choice("keep", KeepAxes::No, &KeepAxes::WORDS)?;
        Ok(Self {
            axes: attributes.ints("axes", &[])?,
            keep,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        let shape = x
            .reduced(&self.axes, self.keep)
            .map_err(|e| e.within(Self::NAME))?;
        if Reduction::new(x, &self.axes).count() == 0 {
            let axes = &self.axes;
            return Err(Error::shape(format!(
                "max: there are no elements along the axes {axes:?} of {x}"
            )));
        }
        Ok(vec![Spec::real(shape)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None]);
        };
        let x = call.inputs[0];
        let aligned = super::reshape(grad, x.shape().reduced(&self.axes, KeepAxes::Yes)?)?;
        Ok(vec![Some(super::max_grad(x, aligned, &self.axes)?)])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let reduction = Reduction::new(inputs[0].shape, &self.axes);
        let x = inputs[0].real();
        for (y, index) in outputs[0].real().iter_mut().zip(range) {
            let mut top = None;
            reduction.runs(index, |offset, stride, length| {
                let run = x[offset..].iter().step_by(stride).take(length).copied();
                top = top.into_iter().chain(run).reduce(R::max);
            });
            *y = top.unwrap_or(R::ZERO);
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let host = HostReduction::new(inputs[0].shape, &self.axes);
        let (x, y) = (inputs[0].real(), outputs[0].real());
        host.run(x, y, scratch, workers, Largest);
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let reduction = Reduction::new(inputs[0].shape, &self.axes);
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)]);
        Ok(vec![launch_reduction(&reduction, launch)])
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        match target {
            Target::Cpu { .. } => HostReduction::new(inputs[0].shape, &self.axes).scratch(),
            Target::Gpu(_) | Target::Reference => Vec::new(),
        }
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |axes: &[usize], keep| Self {
            axes: axes.to_vec(),
            keep,
        };
        vec![
            Case::new("rows", of(&[1], KeepAxes::No), vec![normal([5, 300], 1)]),
            Case::new(
                "columns",
                of(&[0], KeepAxes::Yes),
                vec![normal([301, 3], 2)],
            ),
            Case::new(
                "channels and width",
                of(&[1, 3], KeepAxes::Yes),
                vec![normal([2, 5, 3, 7], 3)],
            ),
            Case::new(
                "height and width",
                of(&[2, 3], KeepAxes::No),
                vec![normal([2, 3, 5, 17], 9)],
            ),
            Case::new(
                "axes out of order",
                of(&[2, 0], KeepAxes::No),
                vec![normal([3, 4, 5], 10)],
            ),
            Case::new(
                "everything",
                of(&[0, 1, 2], KeepAxes::No),
                vec![normal([3, 11, 13], 4)],
            ),
            Case::new("no axis", of(&[], KeepAxes::No), vec![normal([3, 2], 5)]),
            Case::new("one element", of(&[0], KeepAxes::No), vec![normal([1], 6)]),
            Case::new(
                "of nothing",
                of(&[1], KeepAxes::No),
                vec![normal([0, 3], 7)],
            ),
            Case::new(
                "more than 65,535 results",
                of(&[1], KeepAxes::No),
                vec![normal([65_537, 2], 8)],
            ),
            Case::new(
                "all negative",
                of(&[1], KeepAxes::No),
                vec![uniform([3, 5], -2.0, -1.0, 11)],
            ),
            Case::new(
                "near the lowest number",
                of(&[0], KeepAxes::No),
                vec![uniform([17], -3.4e38, -3.3e38, 12)],
            ),
            Case::new("a scalar", of(&[], KeepAxes::No), vec![normal([], 13)]),
            Case::new(
                "every other of six axes",
                of(&[0, 2, 4], KeepAxes::No),
                vec![normal([2, 3, 4, 5, 6, 7], 14)],
            ),
            Case::new(
                "three workgroups and one",
                of(&[0], KeepAxes::Yes),
                vec![normal([769], 15)],
            ),
        ]
    }
}
