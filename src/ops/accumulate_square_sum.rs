//! A running total of squares: the norm of many gradients together, one after the other.
//!
//! **Definition.** y = total + Σ x².
//!
//! **Shape.** total is a scalar, x any shape; y is a scalar.
//!
//! **Gradient.** None: it serves the optimiser.
//!
//! **Numerics.** On a device slices of at least 4096 elements are added by 256 invocations, then a tree, then a tree over
//! the slices; on the host 16 sums in f32 side by side go over into f64 after 32 additions.
//!
//! **Cost.** Two operations an element; bound by memory.
//!
//! **Reference.** `torch.nn.utils.clip_grad_norm_`.

use super::support::{LANE_DEPTH, Slices, WORKGROUP, array, lane_sum, normal, shapes};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Target, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "accumulate_square_sum",
    text: include_str!("../../shaders/accumulate_square_sum.wgsl"),
    uses: &[library::STORE, library::REDUCE],
};

static SLICES: Shader = Shader {
    name: "accumulate_square_sum.slices",
    text: include_str!("../../shaders/accumulate_square_sum.slices.wgsl"),
    uses: &[library::STORE, library::INDEX, library::REDUCE],
};

static COMBINE: Shader = Shader {
    name: "accumulate_square_sum.combine",
    text: include_str!("../../shaders/accumulate_square_sum.combine.wgsl"),
    uses: &[library::STORE, library::REDUCE],
};

/// Elements that one piece of work on the host adds.
const PIECE: usize = 65_536;

/// A total of squares, see the room's documentation.
#[derive(Clone, Debug)]
pub struct AccumulateSquareSum;

/// total + Σ x².
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::accumulate_square_sum(r.constant(1.0), r.constant([3.0, 4.0]))?]))?;
/// assert_eq!(y, 26.0.into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// total is not a scalar.
#[track_caller]
pub fn accumulate_square_sum<'g>(total: Tensor<'g>, x: Tensor<'g>) -> Result<Tensor<'g>> {
    x.recorder().apply_one(AccumulateSquareSum, &[total, x])
}

impl Op for AccumulateSquareSum {
    const NAME: &'static str = "accumulate_square_sum";
    const INPUTS: &'static [&'static str] = &["total", "x"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [total, _] = expect_reals(Self::NAME, inputs)?;
        if total != Shape::SCALAR {
            return Err(Error::shape(format!(
                "accumulate_square_sum: total has shape {total}, a scalar is needed"
            )));
        }
        Ok(vec![Spec::real(total)])
    }

    fn constant_inputs(&self) -> &'static [usize] {
        &[0, 1]
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None, None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], _range: Range<usize>) {
        let slices = Slices::new(inputs[1].shape.elements());
        // In an invocation and its workgroup's tree, or in a lane; over the slices; and the total.
        let within = (slices.length.div_ceil(WORKGROUP) + 9).max(LANE_DEPTH);
        let mut sum = R::sum(within + 10);
        inputs[1].real().iter().for_each(|&x| sum.add(x * x));
        sum.add(inputs[0].real()[0]);
        outputs[0].real()[0] = sum.total();
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let x = inputs[1].real();
        let mut partial = vec![0.0; x.len().div_ceil(PIECE)];
        workers.each_chunk(
            &mut partial,
            1,
            #[inline(always)]
            |piece, sum| {
                let x = &x[piece * PIECE..((piece + 1) * PIECE).min(x.len())];
                sum[0] = lane_sum(x, x, |x, _| x * x);
            },
        );
        let total = f64::from(inputs[0].real()[0]) + partial.iter().sum::<f64>();
        outputs[0].real()[0] = total as f32;
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let n = inputs[1].shape.elements();
        let slices = Slices::new(n);
        let [total, x] = [Binding::Input(0), Binding::Input(1)];
        if slices.count == 1 {
            return Ok(vec![
                Launch::new(&SHADER, [total, x, Binding::Output(0)]).word(n),
            ]);
        }
        let partial = Binding::Scratch(0);
        let first = Launch::new(&SLICES, [x, partial]).words(&[n, slices.length]);
        let second = Launch::new(&COMBINE, [total, partial, Binding::Output(0)]).word(slices.count);
        Ok(vec![first.groups(slices.count), second])
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        let slices = Slices::new(inputs[1].shape.elements());
        match target {
            Target::Gpu(_) if slices.count > 1 => vec![slices.count],
            _ => Vec::new(),
        }
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(2 * inputs[1].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, total: f32, shape: Shape| {
            let total = array(Shape::SCALAR, vec![total]);
            Case::new(about, Self, vec![total, normal(shape, 1)])
        };
        let mut cases: Vec<_> = shapes::elements()
            .map(|(about, shape)| of(about, 3.5, shape))
            .collect();
        cases.extend([
            of("a weight", 3.5, [16, 8, 3, 3].into()),
            of("one slice", 0.0, [4096].into()),
            of("one more than a slice", 0.5, [4097].into()),
            of("three slices", 0.0, [3, 4096].into()),
            of("a prime number of slices", 1e6, [65_537].into()),
            of("slices longer than the shortest", 0.0, [1031, 1021].into()),
        ]);
        cases
    }
}
