//! The gradients of a layer normalisation's weight and bias.
//!
//! **Definition.** weight_grad = Σ output_grad · (x − mean) · inverse_deviation, bias_grad = Σ output_grad, over all
//! rows, for each place in a row.
//!
//! **Shape.** x […, R…], output_grad as x; mean, inverse_deviation […]; weight_grad, bias_grad [R…].
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** On a device slices of at least 16 rows are added in order, then the slices, 256 at most; the host adds
//! in double precision.
//!
//! **Cost.** Five operations an element; x and output_grad are read once; bound by memory.
//!
//! **Reference.** `torch.ops.aten.native_layer_norm_backward`.

use super::support::{Rows, Slices, WORKGROUP, expect_same, normal, uniform};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Target, Tensor,
    View, ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "layer_norm_affine_grad",
    text: include_str!("../../shaders/layer_norm_affine_grad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

static COMBINE: Shader = Shader {
    name: "layer_norm_affine_grad.combine",
    text: include_str!("../../shaders/layer_norm_affine_grad.combine.wgsl"),
    uses: &[library::INDEX],
};

/// The fewest rows that an invocation of a device adds before another does the next.
const SHORTEST: usize = 16;

/// Places whose sums a worker of the host keeps at once.
const PLACES: usize = 32;

/// The gradients of weight and bias of [`LayerNorm`](super::LayerNorm), see the room's documentation.
#[derive(Clone, Debug)]
pub struct LayerNormAffineGrad;

/// The gradients (weight_grad, bias_grad) of a layer normalisation, given the mean and the inverse deviation of each row.
///
/// ```
/// # use axenic::{eval, ops};
/// let [weight_grad, bias_grad] = eval(|r| {
///     let (x, grad) = (r.constant([[1.0, 3.0], [5.0, 5.0]]), r.constant([[1.0, 2.0], [4.0, 8.0]]));
///     let (mean, inverse) = (r.constant([2.0, 5.0]), r.constant([0.5, 1.0]));
///     Ok(ops::layer_norm_affine_grad(x, mean, inverse, grad)?.into())
/// })?;
/// assert_eq!((weight_grad, bias_grad), ([-0.5, 1.0].into(), [5.0, 10.0].into()));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit together.
#[track_caller]
pub fn layer_norm_affine_grad<'g>(
    x: Tensor<'g>,
    mean: Tensor<'g>,
    inverse_deviation: Tensor<'g>,
    output_grad: Tensor<'g>,
) -> Result<(Tensor<'g>, Tensor<'g>)> {
    let inputs = [x, mean, inverse_deviation, output_grad];
    let outputs = x.recorder().apply(LayerNormAffineGrad, &inputs)?;
    Ok((outputs[0], outputs[1]))
}

impl Op for LayerNormAffineGrad {
    const NAME: &'static str = "layer_norm_affine_grad";
    const INPUTS: &'static [&'static str] = &["x", "mean", "inverse_deviation", "output_grad"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[1, 2], &[0, 1]);

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x, mean, inverse_deviation, output_grad] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [x, output_grad], ["x", "output_grad"])?;
        expect_same(
            Self::NAME,
            [mean, inverse_deviation],
            ["mean", "inverse_deviation"],
        )?;
        if !x.starts_with(&mean) {
            return Err(Error::shape(format!(
                "layer_norm_affine_grad: mean {mean} is not the first axes of x {x}"
            )));
        }
        Ok(vec![Spec::real(row_of(x, mean)?); 2])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("layer_norm_affine_grad: no second derivative"))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outputs[0].shape.elements()
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (rows, depth) = geometry(inputs[0].shape, inputs[1].shape);
        let [x, mean, inverse_deviation, output_grad] = [0, 1, 2, 3].map(|i| inputs[i].real());
        let [weight_grads, bias_grads] = outputs else {
            unreachable!("there are two outputs")
        };
        let results = weight_grads.real().iter_mut().zip(bias_grads.real());
        for ((weight_grad, bias_grad), place) in results.zip(range) {
            let (mut products, mut sum) = (R::sum(depth), R::sum(depth));
            for row in 0..rows.count {
                let at = row * rows.length + place;
                products.add(output_grad[at] * ((x[at] - mean[row]) * inverse_deviation[row]));
                sum.add(output_grad[at]);
            }
            (*weight_grad, *bias_grad) = (products.total(), sum.total());
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let (rows, _) = geometry(inputs[0].shape, inputs[1].shape);
        let [x, mean, inverse_deviation, output_grad] = [0, 1, 2, 3].map(|i| inputs[i].real());
        let [weight_grads, bias_grads] = outputs else {
            unreachable!("there are two outputs")
        };
        let tasks = weight_grads
            .real()
            .chunks_mut(PLACES)
            .zip(bias_grads.real().chunks_mut(PLACES));
        workers.each(
            tasks.enumerate(),
            #[inline(always)]
            |(task, (weight_grads, bias_grads))| {
                let mut totals = [[0f64; PLACES]; 2];
                for row in 0..rows.count {
                    let start = row * rows.length + task * PLACES;
                    let at = start..start + weight_grads.len();
                    let (centre, scale) = (mean[row], inverse_deviation[row]);
                    let [products, sums] = &mut totals;
                    let totals = products.iter_mut().zip(sums);
                    for ((product, sum), (&x, &grad)) in
                        totals.zip(x[at.clone()].iter().zip(&output_grad[at]))
                    {
                        *product += f64::from(grad * ((x - centre) * scale));
                        *sum += f64::from(grad);
                    }
                }
                let results = weight_grads.iter_mut().zip(bias_grads);
                for (i, (weight_grad, bias_grad)) in results.enumerate() {
                    (*weight_grad, *bias_grad) = (totals[0][i] as f32, totals[1][i] as f32);
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let (rows, _) = geometry(inputs[0].shape, inputs[1].shape);
        let slices = slices_of(&rows);
        let partial = [Binding::Scratch(0), Binding::Scratch(1)];
        let mut bindings: Vec<_> = (0..4).map(Binding::Input).collect();
        bindings.extend(partial);
        let blocks = rows.length.div_ceil(WORKGROUP);
        let first = Launch::new(&SHADER, bindings)
            .words(&[rows.length, rows.count, slices.count, slices.length])
            .groups(blocks * slices.count);
        let [weight_grad, bias_grad] = partial;
        let results = [
            weight_grad,
            bias_grad,
            Binding::Output(0),
            Binding::Output(1),
        ];
        let combine = Launch::new(&COMBINE, results)
            .words(&[rows.length, slices.count])
            .elements(rows.length, WORKGROUP);
        Ok(vec![first, combine])
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        let (rows, _) = geometry(inputs[0].shape, inputs[1].shape);
        match target {
            Target::Gpu(_) => vec![rows.length * slices_of(&rows).count; 2],
            Target::Reference | Target::Cpu { .. } => Vec::new(),
        }
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(5 * inputs[0].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let shapes: [(&str, Shape, Shape); 15] = [
            ("tokens", [2, 5, 16].into(), [2, 5].into()),
            ("one row", [7].into(), Shape::SCALAR),
            ("one element a row", [4, 1].into(), [4].into()),
            ("no rows", [0, 3].into(), [0].into()),
            ("empty rows", [3, 0].into(), [3].into()),
            ("two trailing axes", [3, 4, 5].into(), [3].into()),
            ("one less than a workgroup", [3, 255].into(), [3].into()),
            ("a workgroup", [2, 256].into(), [2].into()),
            ("one more than a workgroup", [3, 257].into(), [3].into()),
            ("three workgroups", [19, 701].into(), [19].into()),
            ("a slice", [16, 31].into(), [16].into()),
            ("one more than a slice", [17, 33].into(), [17].into()),
            (
                "slices of a prime number of rows",
                [1009, 5].into(),
                [1009].into(),
            ),
            (
                "slices longer than the least",
                [4111, 3].into(),
                [4111].into(),
            ),
            ("more than 65,535 rows", [65_537, 2].into(), [65_537].into()),
        ];
        let case = |(i, (about, shape, leading)): (usize, (&'static str, Shape, Shape))| {
            let seed = 4 * i as u64;
            let inputs = vec![
                normal(shape, seed),
                normal(leading, seed + 1),
                uniform(leading, 0.1, 3.0, seed + 2),
                normal(shape, seed + 3),
            ];
            Case::new(about, Self, inputs)
        };
        shapes.into_iter().enumerate().map(case).collect()
    }
}

/// The last axes of x, those that `leading` lacks.
fn row_of(x: Shape, leading: Shape) -> Result<Shape> {
    Shape::new(&x[leading.len()..])
}

/// The rows, and the additions that an element passes through on a device: those of a slice, then the slices'.
fn geometry(x: Shape, leading: Shape) -> (Rows, usize) {
    let rows = Rows {
        length: x[leading.len()..].iter().product(),
        inner: 1,
        count: leading.elements(),
    };
    let slices = slices_of(&rows);
    (rows, slices.length + slices.count)
}

fn slices_of(rows: &Rows) -> Slices {
    Slices::at_least(SHORTEST, rows.count)
}
