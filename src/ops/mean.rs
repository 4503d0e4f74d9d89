//! The mean over some axes.
//!
//! **Definition.** y[kept] = 1/n · Σ over the reduced axes of x[kept, reduced], n being the number of terms.
//!
//! **Shape.** That of x without the axes, or with length 1 in their place. There must be something to take the mean of.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y / n, repeated along the reduced axes.
//!
//! **Numerics.** On a device 256 invocations add strided elements, then a tree joins them: depth ⌈n/256⌉ + 9; one division.
//! The host accumulates in f64, long sums in up to 16 parts, each rounded once.
//!
//! **Cost.** One addition an element; bound by memory.
//!
//! **Reference.** `torch.mean`.

use super::support::{HostReduction, Reduction, Summed, launch_reduction, normal, shapes};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Target, Tensor,
    View, ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::{KeepAxes, Shape};
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "mean",
    text: include_str!("../../shaders/mean.wgsl"),
    uses: &[library::STORE, library::INDEX, library::REDUCE],
};

/// The mean over axes, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Mean {
    /// The axes to reduce over.
    pub axes: Vec<usize>,
    /// Whether they stay, with length 1.
    pub keep: KeepAxes,
}

/// The mean over `axes`.
///
/// ```
/// # use axenic::{eval, ops, shape::KeepAxes};
/// let [y] = eval(|r| Ok([ops::mean(r.constant([[1.0, 2.0], [3.0, 4.0]]), &[0], KeepAxes::No)?]))?;
/// assert_eq!(y, [2.0, 3.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// An axis does not exist or is named twice, or there are no elements along the axes.
#[track_caller]
pub fn mean<'g>(x: Tensor<'g>, axes: &[usize], keep: KeepAxes) -> Result<Tensor<'g>> {
    x.recorder().apply_one(
        Mean {
            axes: axes.to_vec(),
            keep,
        },
        &[x],
    )
}

impl Op for Mean {
    const NAME: &'static str = "mean";
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
                "mean: there are no elements along the axes {axes:?} of {x}"
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
        let x = call.inputs[0].shape();
        let n = Reduction::new(x, &self.axes).count();
        let share = super::div(grad, super::fill(grad.recorder(), Shape::SCALAR, n as f64)?)?;
        let aligned = super::reshape(share, x.reduced(&self.axes, KeepAxes::Yes)?)?;
        Ok(vec![Some(super::broadcast(aligned, x)?)])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let reduction = Reduction::new(inputs[0].shape, &self.axes);
        let x = inputs[0].real();
        for (y, index) in outputs[0].real().iter_mut().zip(range) {
            let mut sum = R::sum(reduction.depth());
            reduction.runs(index, |offset, stride, length| {
                x[offset..]
                    .iter()
                    .step_by(stride)
                    .take(length)
                    .for_each(|&x| sum.add(x));
            });
            *y = sum.total() / R::count(reduction.count());
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let reduction = Reduction::new(inputs[0].shape, &self.axes);
        let host = HostReduction::new(inputs[0].shape, &self.axes);
        let (x, y) = (inputs[0].real(), outputs[0].real());
        host.run(
            x,
            y,
            scratch,
            workers,
            Summed {
                divisor: reduction.count() as f64,
            },
        );
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
        let case = |(about, axes, keep, x): (_, &[usize], _, _)| {
            let axes = axes.to_vec();
            Case::new(about, Self { axes, keep }, vec![normal(x, 1)])
        };
        shapes::reductions().map(case).collect()
    }
}
