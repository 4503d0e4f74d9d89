//! The gradient of a lookup in a table: what arrives at the same row is added up.
//!
//! **Definition.** table_grad[v, d] = Σ of output_grad[…, d] over the places where indices[…] = v. An index that is no row
//! contributes nothing.
//!
//! **Shape.** indices […], output_grad […, D]; table_grad [V, D], where the attribute `num_embeddings` is V.
//!
//! **Gradient.** With respect to output_grad: `gather`, whose transpose this operation is (for indices that are rows).
//!
//! **Numerics.** The terms of a row are added in the order of the indices: as many additions as the row occurs.
//!
//! **Cost.** One addition for each element of output_grad. On a device a workgroup for each row reads all the indices and adds
//! only where they match: V · |indices| comparisons, and no two invocations add to the same number.
//!
//! **Reference.** `torch.ops.aten.embedding_dense_backward`.

use super::support::{WORKGROUP, array, indices, normal};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_index, expect_inputs, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "gather_grad",
    text: include_str!("../../shaders/gather_grad.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// The gradient of [`Gather`](super::Gather), see the room's documentation.
#[derive(Clone, Debug)]
pub struct GatherGrad {
    /// The rows of the table.
    pub num_embeddings: usize,
}

/// The gradient of a table of `num_embeddings` rows for [`gather`](super::gather) at `indices` […], given that of its result
/// […, D].
///
/// ```
/// # use axenic::{eval, ops};
/// let [grad] = eval(|r| Ok([ops::gather_grad(r.constant([1u32, 1]), r.constant([[2.0], [3.0]]), 3)?]))?;
/// assert_eq!(grad, [[0.0], [5.0], [0.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit, or the indices are real.
#[track_caller]
pub fn gather_grad<'g>(
    indices: Tensor<'g>,
    output_grad: Tensor<'g>,
    num_embeddings: usize,
) -> Result<Tensor<'g>> {
    let op = GatherGrad { num_embeddings };
    output_grad
        .recorder()
        .apply_one(op, &[indices, output_grad])
}

impl Op for GatherGrad {
    const NAME: &'static str = "gather_grad";
    const INPUTS: &'static [&'static str] = &["indices", "output_grad"];
    const HALVES: Halves = Halves::FOLLOWS.except(&[], &[0]);

    fn attributes(&self) -> Attributes {
        Attributes::none().with("num_embeddings", self.num_embeddings)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            num_embeddings: attributes.int("num_embeddings", 1)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [indices, output_grad] = expect_inputs(Self::NAME, inputs)?;
        let [output_grad] = expect_reals(Self::NAME, &[output_grad])?;
        let indices = expect_index(Self::NAME, "indices", indices)?;
        let width = match output_grad.split_last() {
            Some((&width, outer)) if *outer == *indices => width,
            _ => {
                return Err(Error::shape(format!(
                    "gather_grad: output_grad {output_grad} must have the axes of indices {indices} and one more"
                )));
            }
        };
        let shape = Shape::new(&[self.num_embeddings, width]);
        Ok(vec![Spec::real(shape.map_err(|e| e.within(Self::NAME))?)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let back = |grad| super::gather(grad, call.inputs[0]);
        Ok(vec![None, output_grads[0].map(back).transpose()?])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (indices, output_grad) = (inputs[0].index(), inputs[1].real());
        let width = outputs[0].shape[1];
        let new = |_| R::sum(indices.len());
        let mut sums: Vec<_> = range.clone().map(new).collect();
        for (place, &index) in indices.iter().enumerate() {
            // The part of the row that lies within the range.
            let row = index as usize * width;
            let (start, end) = (row.max(range.start), (row + width).min(range.end));
            for i in start..end {
                sums[i - range.start].add(output_grad[place * width + i - row]);
            }
        }
        let table_grad = outputs[0].real().iter_mut();
        table_grad
            .zip(sums)
            .for_each(|(grad, sum)| *grad = sum.total());
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let (indices, output_grad) = (inputs[0].index(), inputs[1].real());
        let width = outputs[0].shape[1].max(1);
        let places = Places::new(indices, self.num_embeddings);
        let rows = (16_384 / width).max(1);
        workers.each_chunk(outputs[0].real(), rows * width, |i, table_grad| {
            for (row, grad) in (i * rows..).zip(table_grad.chunks_exact_mut(width)) {
                grad.fill(0.0);
                for &place in places.of(row) {
                    let terms = &output_grad[place as usize * width..][..width];
                    grad.iter_mut()
                        .zip(terms)
                        .for_each(|(sum, term)| *sum += term);
                }
            }
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let count = inputs[0].shape.elements();
        let width = inputs[1].shape[inputs[1].shape.len() - 1];
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings).words(&[count, width, self.num_embeddings]);
        Ok(vec![
            launch.groups(self.num_embeddings * width.div_ceil(WORKGROUP)),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(inputs[1].shape.elements(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, numbers: crate::array::Array, width, num_embeddings, seed| {
            let shape = numbers.shape().pushed(width);
            Case::new(
                about,
                Self { num_embeddings },
                vec![numbers, normal(shape, seed)],
            )
        };
        let case = |about, [rows, width]: [usize; 2], shape: Shape, seed| {
            of(about, indices(shape, rows, seed + 1), width, rows, seed)
        };
        let given = |about, [rows, width]: [usize; 2], numbers: Vec<u32>, seed| {
            of(
                about,
                array([numbers.len()].into(), numbers),
                width,
                rows,
                seed,
            )
        };
        let strangers = vec![3, 1, u32::MAX, 2, 0x8000_0000, 1];
        vec![
            case("a few rows", [7, 5], [11].into(), 10),
            case("tokens", [13, 17], [3, 5].into(), 20),
            case("one index", [7, 3], Shape::SCALAR, 30),
            case("five axes", [5, 2], [2, 1, 3, 1, 2].into(), 40),
            case("one row", [1, 3], [4].into(), 50),
            case("one number", [1, 1], [1].into(), 60),
            case("no indices", [3, 4], [0, 2].into(), 70),
            case("rows of nothing", [3, 0], [5].into(), 80),
            given("an empty table", [0, 3], vec![0, 1], 90).without_differences(),
            given("indices out of range", [3, 2], strangers, 100).without_differences(),
            given("the same row again and again", [4, 3], vec![2; 37], 110),
            given("first and last", [257, 2], vec![0, 256, 255, 1, 256], 120),
            case("rows as long as a workgroup", [5, 256], [7].into(), 130),
            case("rows one longer", [5, 257], [7].into(), 140),
            case(
                "as many indices as a workgroup has invocations",
                [3, 2],
                [256].into(),
                150,
            ),
            case("one index more", [3, 2], [257].into(), 160),
            case("more than a piece", [331, 67], [523].into(), 170),
            case("more than 65,535 rows", [65_539, 1], [5].into(), 180),
        ]
    }
}

/// Where each row of a table occurs among indices, in order.
struct Places {
    /// The first of a row's places; one entry more than there are rows.
    starts: Vec<usize>,
    places: Vec<u32>,
}

impl Places {
    fn new(indices: &[u32], rows: usize) -> Self {
        let mut starts = vec![0; rows + 1];
        let known = |index: u32| (index as usize) < rows;
        for &index in indices.iter().filter(|&&index| known(index)) {
            starts[index as usize + 1] += 1;
        }
        (0..rows).for_each(|row| starts[row + 1] += starts[row]);
        let mut next = starts.clone();
        let mut places = vec![0; starts[rows]];
        for (place, &index) in indices
            .iter()
            .enumerate()
            .filter(|(_, index)| known(**index))
        {
            places[next[index as usize]] = place as u32;
            next[index as usize] += 1;
        }
        Self { starts, places }
    }

    fn of(&self, row: usize) -> &[u32] {
        &self.places[self.starts[row]..self.starts[row + 1]]
    }
}
