//! The gradient of a layer normalisation's input.
//!
//! **Definition.** With g = output_grad · weight and x̂ = (x − mean) · inverse_deviation, over the n elements of a row:
//! x_grad = inverse_deviation · (g − Σ g / n − x̂ · Σ g x̂ / n), which includes the path through mean and deviation.
//!
//! **Shape.** x […, R…]; mean, inverse_deviation […]; weight [R…]; output_grad as x, and so is the result.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** The differences cancel where g is nearly constant or nearly proportional to x̂, as the formula itself
//! does. Sums have depth ⌈n/256⌉ + 9 on a device; on the host 16 sums in f32 side by side go over into f64 after 32
//! additions.
//!
//! **Cost.** Eleven operations an element; x and output_grad are read twice, the second time from a cache; bound by
//! memory.
//!
//! **Reference.** `torch.ops.aten.native_layer_norm_backward`.

use super::support::{LANE_DEPTH, LaneSums, Rows, expect_same, normal, uniform};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "layer_norm_grad",
    text: include_str!("../../shaders/layer_norm_grad.wgsl"),
    uses: &[library::STORE, library::INDEX, library::ROWS],
};

/// The gradient of the input of [`LayerNorm`](super::LayerNorm), see the room's documentation.
#[derive(Clone, Debug)]
pub struct LayerNormGrad;

/// The gradient of x for [`layer_norm`](super::layer_norm), given the mean and the inverse deviation of each row.
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| {
///     let (x, mean, inverse) = (r.constant([[1.0, 2.0, 3.0, 2.0]]), r.constant([2.0]), r.constant([1.0]));
///     Ok([ops::layer_norm_grad(x, mean, inverse, r.constant([1.0; 4]), r.constant([[4.0, 0.0, 0.0, 0.0]]))?])
/// })?;
/// assert_eq!(x_grad, [[2.0, -1.0, 0.0, -1.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit together.
#[track_caller]
pub fn layer_norm_grad<'g>(
    x: Tensor<'g>,
    mean: Tensor<'g>,
    inverse_deviation: Tensor<'g>,
    weight: Tensor<'g>,
    output_grad: Tensor<'g>,
) -> Result<Tensor<'g>> {
    x.recorder().apply_one(
        LayerNormGrad,
        &[x, mean, inverse_deviation, weight, output_grad],
    )
}

impl Op for LayerNormGrad {
    const NAME: &'static str = "layer_norm_grad";
    const INPUTS: &'static [&'static str] =
        &["x", "mean", "inverse_deviation", "weight", "output_grad"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[1, 2, 3], &[]);

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x, mean, inverse_deviation, weight, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [x, output_grad], ["x", "output_grad"])?;
        expect_same(
            Self::NAME,
            [mean, inverse_deviation],
            ["mean", "inverse_deviation"],
        )?;
        if [&*mean, &*weight].concat() != *x || weight.elements() == 0 {
            return Err(Error::shape(format!(
                "layer_norm_grad: mean {mean} and weight {weight} do not make up x {x}, or weight has no elements"
            )));
        }
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("layer_norm_grad: no second derivative"))
    }

    fn pieces(&self, _outputs: &[Spec]) -> usize {
        // Where rows end is not to be seen from the output alone.
        1
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], _range: Range<usize>) {
        let rows = Rows::trailing(inputs[0].shape, inputs[3].shape);
        let [x, mean, inverse_deviation, weight, output_grad] =
            [0, 1, 2, 3, 4].map(|i| inputs[i].real());
        let (depth, count) = (rows.depth().max(LANE_DEPTH), R::count(rows.length));
        for (row, x_grad) in outputs[0].real().chunks_mut(rows.length).enumerate() {
            let (centre, scale) = (mean[row], inverse_deviation[row]);
            let place = |i: usize| {
                let at = row * rows.length + i;
                (output_grad[at] * weight[i], (x[at] - centre) * scale)
            };
            let (mut sum, mut products) = (R::sum(depth), R::sum(depth));
            for (grad, standard) in (0..rows.length).map(place) {
                sum.add(grad);
                products.add(grad * standard);
            }
            let (offset, slope) = (sum.total() / count, products.total() / count);
            for (x_grad, (grad, standard)) in x_grad.iter_mut().zip((0..rows.length).map(place)) {
                *x_grad = scale * (grad - offset - standard * slope);
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
        let rows = Rows::trailing(inputs[0].shape, inputs[3].shape);
        let [x, mean, inverse_deviation, weight, output_grad] =
            [0, 1, 2, 3, 4].map(|i| inputs[i].real());
        let count = rows.length as f64;
        let run = rows.per_task();
        workers.each_chunk(
            outputs[0].real(),
            run * rows.length,
            #[inline(always)]
            |task, x_grads| {
                for (row, x_grad) in (task * run..).zip(x_grads.chunks_mut(rows.length)) {
                    let at = row * rows.length..(row + 1) * rows.length;
                    let (x, output_grad) = (&x[at.clone()], &output_grad[at]);
                    let (centre, scale) = (mean[row], inverse_deviation[row]);
                    let places = output_grad.iter().zip(weight);
                    x_grad
                        .iter_mut()
                        .zip(places)
                        .for_each(|(x_grad, (&grad, &weight))| *x_grad = grad * weight);
                    let mut sums = LaneSums::default();
                    sums.add(
                        x_grad,
                        x,
                        #[inline(always)]
                        |grad, x| [grad, grad * ((x - centre) * scale)],
                    );
                    let [offset, slope] = sums.totals().map(|sum| (sum / count) as f32);
                    for (x_grad, &x) in x_grad.iter_mut().zip(x) {
                        *x_grad = scale * (*x_grad - offset - (x - centre) * scale * slope);
                    }
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let rows = Rows::trailing(inputs[0].shape, inputs[3].shape);
        let mut bindings: Vec<_> = (0..5).map(Binding::Input).collect();
        bindings.push(Binding::Output(0));
        Ok(vec![rows.launch(Launch::new(&SHADER, bindings))])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(11 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes: [(&str, Shape, Shape); 14] = [
            ("tokens", [2, 5, 16].into(), [16].into()),
            ("one row", [7].into(), [7].into()),
            ("one element a row", [4, 1].into(), [1].into()),
            ("nothing", [0, 3].into(), [3].into()),
            ("two trailing axes", [3, 4, 5].into(), [4, 5].into()),
            ("all axes", [2, 3].into(), [2, 3].into()),
            ("one less than a workgroup", [3, 255].into(), [255].into()),
            ("a workgroup", [2, 256].into(), [256].into()),
            ("one more than a workgroup", [3, 257].into(), [257].into()),
            ("a power of two", [9, 64].into(), [64].into()),
            ("one more than a power of two", [9, 65].into(), [65].into()),
            ("a long row", [1, 3001].into(), [3001].into()),
            ("several pieces of work", [67, 2, 129].into(), [129].into()),
            ("more than 65,535 rows", [65_537, 3].into(), [3].into()),
        ];
        let case = |(i, (about, shape, row)): (usize, (&'static str, Shape, Shape))| {
            let seed = 5 * i as u64;
            let leading = Shape::new(&shape[..shape.len() - row.len()]).unwrap_or(shape);
            let inputs = vec![
                normal(shape, seed),
                normal(leading, seed + 1),
                uniform(leading, 0.1, 3.0, seed + 2),
                normal(row, seed + 3),
                normal(shape, seed + 4),
            ];
            Case::new(about, Self, inputs)
        };
        shapes.into_iter().enumerate().map(case).collect()
    }
}
