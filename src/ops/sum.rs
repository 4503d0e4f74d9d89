//! The sum over some axes.
//!
//! **Definition.** y[kept] = Σ over the reduced axes of x[kept, reduced]. An empty sum is 0.
//!
//! **Shape.** That of x without the axes, or with length 1 in their place.
//!
//! **Gradient.** ∂L/∂x = ∂L/∂y, repeated along the reduced axes.
//!
//! **Numerics.** On a device 256 invocations add strided elements, then a tree joins them: depth ⌈n/256⌉ + 9. The host
//! accumulates in f64, long sums in up to 16 parts, each rounded once.
//!
//! **Cost.** One addition an element; bound by memory.
//!
//! **Reference.** `torch.sum`.

use super::support::{HostReduction, Reduction, Summed, launch_reduction, normal, shapes};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Target, Tensor,
    View, ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::KeepAxes;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "sum",
    text: include_str!("../../shaders/sum.wgsl"),
    uses: &[library::STORE, library::INDEX, library::REDUCE],
};

/// The sum over axes, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Sum {
    /// The axes to sum over.
    pub axes: Vec<usize>,
    /// Whether they stay, with length 1.
    pub keep: KeepAxes,
}

/// The sum over `axes`.
///
/// ```
/// # use axenic::{eval, ops, shape::KeepAxes};
/// let [y] = eval(|r| Ok([ops::sum(r.constant([[1.0, 2.0], [3.0, 4.0]]), &[0], KeepAxes::No)?]))?;
/// assert_eq!(y, [4.0, 6.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// An axis does not exist or is named twice.
#[track_caller]
pub fn sum<'g>(x: Tensor<'g>, axes: &[usize], keep: KeepAxes) -> Result<Tensor<'g>> {
    x.recorder().apply_one(
        Sum {
            axes: axes.to_vec(),
            keep,
        },
        &[x],
    )
}

impl Op for Sum {
    const NAME: &'static str = "sum";
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
        Ok(vec![Spec::real(
            x.reduced(&self.axes, self.keep)
                .map_err(|e| e.within(Self::NAME))?,
        )])
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
        let aligned = super::reshape(grad, x.reduced(&self.axes, KeepAxes::Yes)?)?;
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
            *y = sum.total();
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
        host.run(x, y, scratch, workers, Summed { divisor: 1.0 });
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
        let mut cases: Vec<_> = shapes::reductions().map(case).collect();
        cases.push(case(("an empty sum", &[1], KeepAxes::No, [3, 0].into())));
        cases
    }
}
