//! Rows of a table by their numbers: the lookup of an embedding.
//!
//! **Definition.** y[…, d] = table[indices[…], d]. An index that is no row gives NaN for all of its d: whoever reads indices
//! checks them first.
//!
//! **Shape.** table [V, D], indices […] (up to five axes); y […, D].
//!
//! **Gradient.** ∂L/∂table is `gather_grad` of ∂L/∂y.
//!
//! **Numerics.** Exact.
//!
//! **Cost.** A copy; bound by memory.
//!
//! **Reference.** `torch.nn.functional.embedding`.

use super::support::{WORKGROUP, array, indices, normal};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_index, expect_inputs, expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "gather",
    text: include_str!("../../shaders/gather.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// Rows of a table, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Gather;

/// The rows of `table` [V, D] whose numbers are `indices` […], as […, D].
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::gather(r.constant([[1.0, 2.0], [3.0, 4.0]]), r.constant([1u32]))?]))?;
/// assert_eq!(y, [[3.0, 4.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The table has not two axes, the indices more than five or are real.
#[track_caller]
pub fn gather<'g>(table: Tensor<'g>, indices: Tensor<'g>) -> Result<Tensor<'g>> {
    table.recorder().apply_one(Gather, &[table, indices])
}

/// The row of a table [V, D], if there is one of this number.
fn row<R>(table: &[R], shape: Shape, index: u32) -> Option<&[R]> {
    let start = index as usize * shape[1];
    ((index as usize) < shape[0]).then(|| &table[start..start + shape[1]])
}

impl Op for Gather {
    const NAME: &'static str = "gather";
    const INPUTS: &'static [&'static str] = &["table", "indices"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [table, indices] = expect_inputs(Self::NAME, inputs)?;
        let [table] = expect_reals(Self::NAME, &[table])?;
        let indices = expect_index(Self::NAME, "indices", indices)?;
        let [_, width] = *table else {
            return Err(Error::shape(format!(
                "gather: the table must have the axes [V, D], got {table}"
            )));
        };
        let shape = Shape::new(&[&indices[..], &[width]].concat());
        Ok(vec![Spec::real(shape.map_err(|e| e.within(Self::NAME))?)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let rows = call.inputs[0].shape()[0];
        let table_grad = |grad| super::gather_grad(call.inputs[1], grad, rows);
        Ok(vec![output_grads[0].map(table_grad).transpose()?, None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (table, shape, indices) = (inputs[0].real(), inputs[0].shape, inputs[1].index());
        for (y, i) in outputs[0].real().iter_mut().zip(range) {
            let row = row(table, shape, indices[i / shape[1]]);
            *y = row.map_or(R::constant(f64::NAN), |row| row[i % shape[1]]);
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let (table, shape, indices) = (inputs[0].real(), inputs[0].shape, inputs[1].index());
        let width = shape[1].max(1);
        let rows = (16_384 / width).max(1);
        workers.each_chunk(outputs[0].real(), rows * width, |i, y| {
            for (y, &index) in y.chunks_exact_mut(width).zip(&indices[i * rows..]) {
                match row(table, shape, index) {
                    Some(row) => y.copy_from_slice(row),
                    None => y.fill(f32::NAN),
                }
            }
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let [rows, width] = [0, 1].map(|axis: usize| inputs[0].shape[axis]);
        let count = inputs[1].shape.elements() * width;
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings).words(&[count, width, rows]);
        Ok(vec![launch.float(f64::NAN).elements(count, WORKGROUP)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        // What is read of the table is what is written.
        let outputs = self.outputs(inputs).unwrap_or_default();
        let read = [&inputs[1..], &outputs].concat();
        Cost::new(0, &read, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |about, [rows, width]: [usize; 2], shape: Shape, seed| {
            let inputs = vec![
                normal([rows, width], seed),
                indices(shape, rows.max(1), seed + 1),
            ];
            Case::new(about, Self, inputs)
        };
        let given = |about, [rows, width]: [usize; 2], numbers: Vec<u32>, seed| {
            let shape = [numbers.len()].into();
            Case::new(
                about,
                Self,
                vec![normal([rows, width], seed), array(shape, numbers)],
            )
        };
        vec![
            case("a few rows", [7, 5], [11].into(), 10),
            case("tokens", [13, 17], [3, 5].into(), 20),
            case("one index", [7, 3], Shape::SCALAR, 30),
            case("five axes", [5, 2], [2, 1, 3, 1, 2].into(), 40),
            case("one row", [1, 3], [4].into(), 50),
            case("one number", [1, 1], [1].into(), 60),
            case("no indices", [3, 4], [0, 2].into(), 70),
            case("rows of nothing", [3, 0], [5].into(), 80),
            given("an empty table", [0, 3], vec![0, 1], 90),
            given(
                "indices out of range",
                [3, 2],
                vec![3, 1, u32::MAX, 2, 0x8000_0000],
                100,
            ),
            given("the same row again and again", [4, 3], vec![2; 37], 110),
            given("first and last", [257, 2], vec![0, 256, 255, 1], 120),
            case("rows as long as a workgroup", [5, 256], [7].into(), 130),
            case("rows one longer", [5, 257], [7].into(), 140),
            case("more than a piece", [31, 67], [523].into(), 150),
            case("more than 65,535 indices", [11, 2], [65_539].into(), 160),
        ]
    }
}
