//! The gradient of the maximum over some axes.
//!
//! **Definition.** x_grad = output_grad at the first element, row-major within the reduced axes, that attains the maximum;
//! 0 elsewhere.
//!
//! **Shape.** output_grad has that of x with length 1 in place of the axes; the result has that of x.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** Exact.
//!
//! **Cost.** One comparison an element, reading x twice on a device; bound by memory.
//!
//! **Reference.** `torch.max` over one axis, backward.

use super::support::{
    HostReduction, Reduction, array, expect_same, launch_reduction, max_of_run, normal, outer,
};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::{KeepAxes, Offsets, Shape};
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "max_grad",
    text: include_str!("../../shaders/max_grad.wgsl"),
    uses: &[library::STORE, library::INDEX, library::FIRST_MAX],
};

/// The gradient of [`Max`](super::Max), see the room's documentation.
#[derive(Clone, Debug)]
pub struct MaxGrad {
    /// The axes reduced over.
    pub axes: Vec<usize>,
}

/// `output_grad` at the first of the largest elements over `axes`, 0 elsewhere.
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| Ok([ops::max_grad(r.constant([2.0, 7.0, 7.0]), r.constant([5.0]), &[0])?]))?;
/// assert_eq!(x_grad, [0.0, 5.0, 0.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// An axis does not exist or is named twice, or output_grad has not the shape that [`max`](super::max) gives with
/// [`KeepAxes::Yes`].
#[track_caller]
pub fn max_grad<'g>(x: Tensor<'g>, output_grad: Tensor<'g>, axes: &[usize]) -> Result<Tensor<'g>> {
    x.recorder().apply_one(
        MaxGrad {
            axes: axes.to_vec(),
        },
        &[x, output_grad],
    )
}

impl Op for MaxGrad {
    const NAME: &'static str = "max_grad";
    const INPUTS: &'static [&'static str] = &["x", "output_grad"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none().with("axes", self.axes.as_slice())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            axes: attributes.ints("axes", &[])?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x, output_grad] = expect_reals(Self::NAME, inputs)?;
        let kept = x
            .reduced(&self.axes, KeepAxes::Yes)
            .map_err(|e| e.within(Self::NAME))?;
        expect_same(
            Self::NAME,
            [kept, output_grad],
            ["the shape of the maxima", "output_grad"],
        )?;
        if Reduction::new(x, &self.axes).count() == 0 {
            let axes = &self.axes;
            return Err(Error::shape(format!(
                "max_grad: there are no elements along the axes {axes:?} of {x}"
            )));
        }
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("max_grad: no second derivative"))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        self.kept_outer(outputs[0].shape)
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let pieces = self.kept_outer(outputs[0].shape);
        let block = inputs[0].shape.elements() / pieces.max(1);
        let reduction = self.within_piece(outputs[0].shape);
        let per_piece = reduction.kept.elements();
        let (x, output_grad) = (inputs[0].real(), inputs[1].real());
        let x_grad = outputs[0].real();
        x_grad.fill(R::ZERO);
        for (piece, x_grad) in range.zip(x_grad.chunks_mut(block.max(1))) {
            let x = &x[piece * block..];
            for result in 0..per_piece {
                let mut first: Option<usize> = None;
                reduction.runs(result, |offset, stride, length| {
                    let run = (offset..).step_by(stride).take(length);
                    first = first
                        .into_iter()
                        .chain(run)
                        .reduce(|top, i| if x[i].exceeds(x[top]) { i } else { top });
                });
                if let Some(first) = first {
                    x_grad[first] = output_grad[piece * per_piece + result];
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
        let host = HostReduction::new(inputs[0].shape, &self.axes);
        let (x, output_grad) = (inputs[0].real(), inputs[1].real());
        let (block, kept) = (host.rows * host.row, host.kept);
        let run = (16_384 / block.max(1)).max(1);
        workers.each_chunk(
            outputs[0].real(),
            run * block,
            #[inline(always)]
            |task, x_grad| {
                x_grad.fill(0.0);
                for (piece, x_grad) in (task * run..).zip(x_grad.chunks_mut(block)) {
                    let output_grad = &output_grad[piece * kept..][..kept];
                    let places = first_largest(&host, &x[piece * block..][..block]);
                    for (place, &grad) in places.into_iter().zip(output_grad) {
                        x_grad[place] = grad;
                    }
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let reduction = Reduction::new(inputs[0].shape, &self.axes);
        let launch = Launch::new(
            &SHADER,
            [Binding::Input(0), Binding::Input(1), Binding::Output(0)],
        );
        Ok(vec![launch_reduction(&reduction, launch)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, axes: &[usize], x: Shape, seed| {
            let kept = x.reduced(axes, KeepAxes::Yes).unwrap_or(x);
            Case::new(
                about,
                Self {
                    axes: axes.to_vec(),
                },
                vec![normal(x, seed), normal(kept, seed + 1)],
            )
        };
        let ties = array([3, 2].into(), vec![1.0, 0.0, 1.0, 2.0, -1.0, 2.0f32]);
        vec![
            case("rows", &[1], [5, 300].into(), 1),
            case("columns", &[0], [301, 3].into(), 3),
            case("channels and width", &[1, 3], [2, 5, 3, 7].into(), 5),
            case("long runs", &[1, 3], [2, 3, 4, 37].into(), 7),
            case("the middle", &[1], [3, 5, 4].into(), 9),
            case("everything", &[0, 1, 2], [3, 11, 13].into(), 11),
            case("no axis", &[], [3, 2].into(), 13),
            case("one element", &[0], [1].into(), 15),
            case("of nothing", &[1], [0, 3].into(), 17),
            case("more than 65,535 results", &[1], [65_537, 2].into(), 19),
            Case::new(
                "ties go to the first",
                Self { axes: vec![0] },
                vec![ties.clone(), normal([1, 2], 21)],
            ),
            case(
                "every other of six axes",
                &[0, 2, 4],
                [2, 3, 4, 5, 6, 7].into(),
                23,
            ),
            Case::new(
                "ties within and between invocations",
                Self { axes: vec![0] },
                vec![
                    array([600, 2].into(), vec![1.0f32; 1200]),
                    normal([1, 2], 25),
                ],
            ),
            Case::new(
                "ties along runs",
                Self { axes: vec![0, 1] },
                vec![array([2, 16].into(), vec![-1.0f32; 32]), normal([1, 1], 26)],
            ),
            Case::new(
                "ties over two axes",
                Self { axes: vec![0, 1] },
                vec![ties, normal([1, 1], 22)],
            ),
        ]
    }
}

impl MaxGrad {
    /// The product of the lengths before the first reduced axis: so many blocks of x can be treated alone.
    fn kept_outer(&self, x: Shape) -> usize {
        let first = self.axes.iter().copied().min().unwrap_or(0);
        outer(x, first)
    }

    /// The geometry inside one of these blocks.
    fn within_piece(&self, x: Shape) -> Reduction {
        let first = self.axes.iter().copied().min().unwrap_or(0);
        let axes: Vec<usize> = self.axes.iter().map(|axis| axis - first).collect();
        let block = x[first..]
            .iter()
            .fold(Shape::SCALAR, |block, &length| block.pushed(length));
        Reduction::new(block, &axes)
    }
}

/// Where, in a piece, the first of the largest elements of every result lies.
#[inline(always)]
fn first_largest(host: &HostReduction, x: &[f32]) -> Vec<usize> {
    let is_top = |x: f32, top: f32| x == top || (x.is_nan() && top.is_nan());
    if host.row == 1 {
        let top = max_of_run(x);
        return vec![x.iter().position(|&x| is_top(x, top)).unwrap_or(0)];
    }
    // Down the columns first, the whole row side by side; then within the row.
    let (mut tops, mut rows) = (vec![f32::NEG_INFINITY; host.row], vec![0u32; host.row]);
    for (row, x) in (0u32..).zip(x.chunks_exact(host.row)) {
        for ((top, first), &x) in tops.iter_mut().zip(&mut rows).zip(x) {
            let exceeds = (x > *top) | (x.is_nan() & !top.is_nan());
            *first = if exceeds { row } else { *first };
            *top = if exceeds { x } else { *top };
        }
    }
    let mut firsts = vec![(f32::NEG_INFINITY, usize::MAX); host.kept];
    let mut walk = Offsets::new(host.inner, [host.results], 0);
    for (column, (top, row)) in tops.into_iter().zip(rows).enumerate() {
        let [result] = walk.advance();
        let place = row as usize * host.row + column;
        let (earlier, first) = firsts[result];
        if top.exceeds(earlier) || (is_top(top, earlier) && place < first) {
            firsts[result] = (top, place);
        }
    }
    firsts.into_iter().map(|(_, place)| place).collect()
}
