//! The product of matrices, of one pair or of a batch.
//!
//! **Definition.** y[…, i, j] = Σ over l of a[…, i, l] · b[…, l, j], plus bias[j] and residual[…, i, j] if there are such
//! inputs; and the `activation` of that. a or b may be given with its last two axes swapped (`transpose_a`, `transpose_b`).
//!
//! **Shape.** a [batch…, M, K] and b [batch…, K, N] give [batch…, M, N]. The batch axes are equal, or one operand is a
//! single matrix that serves all of the other's batch. bias `[N]`; residual as y. An empty sum is 0.
//!
//! **Gradient.** ∂L/∂a = ∂L/∂y · bᵀ and ∂L/∂b = aᵀ · ∂L/∂y, summed over the batch for an operand that served all of it;
//! ∂L/∂bias is ∂L/∂y summed over all but its last axis, ∂L/∂residual is ∂L/∂y. Before all of them comes the activation's:
//! `relu_grad`, or `gelu_grad`, for which what the activation saw is computed once more.
//!
//! **Numerics.** The products of one element are added in an order that depends on the executor: depth K. The bias comes last,
//! then the residual, each with a rounding of its own; the activation is as in its room.
//! On a device whose cooperative matrices multiply (tensor cores), sums of 64 terms or more have operands split in two
//! numbers of half precision, or in mixed precision are halves already; `src/graph/matrices.rs` derives what that costs.
//!
//! **Cost.** 2·M·N·K operations for each matrix of the batch, and a few for each element of y for what follows, where a
//! piece of it is computed. The host computes pieces of 128 columns and up to 512 rows; a device computes tiles of 64 × 64 to
//! 128 × 128.
//!
//! **Reference.** `torch.matmul`; with b transposed and a bias `torch.nn.functional.linear`.

use super::support::epilogue::{self, Activation, Epilogue, Inputs};
use super::support::product_cases::{CASES, FOLLOWED, Lengths};
use super::support::{array, normal, scaled, scales_scratch, unbroadcast};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Follower, Halves, Joined, Launch, Limits, Op, Shader,
    Target, Tensor, View, ViewMut, library,
};
use crate::product::{Accumulate, Matrix, MatrixMut, product};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "matmul",
    text: include_str!("../../shaders/matmul.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::NORMAL,
        library::EPILOGUE,
        library::TILE,
        library::TILE_LANES,
    ],
};

/// The columns of a piece of work on the host: two panels.
const COLUMNS: usize = 128;
/// The rows of a piece of work on the host at most, and about as few as pay for packing its columns of b.
const ROWS: [usize; 2] = [512, 64];
/// The pieces that the host makes at least, if there are rows enough.
const PIECES: usize = 16;

/// Whether the last two axes of an operand are swapped before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transpose {
    /// They are.
    Yes,
    /// They are not.
    No,
}

impl Transpose {
    const WORDS: [(&'static str, Transpose); 2] = [("yes", Transpose::Yes), ("no", Transpose::No)];

    fn word(self) -> &'static str {
        match self {
            Transpose::Yes => "yes",
            Transpose::No => "no",
        }
    }

    fn flipped(self) -> Self {
        match self {
            Transpose::Yes => Transpose::No,
            Transpose::No => Transpose::Yes,
        }
    }

    /// A contiguous operand of `rows` × `columns` as used.
    fn matrix(self, slice: &[f32], [rows, columns]: [usize; 2]) -> Matrix<'_> {
        match self {
            Transpose::Yes => Matrix::columns(slice, rows),
            Transpose::No => Matrix::rows(slice, columns),
        }
    }

    /// The strides between rows and between columns, as used, of a contiguous operand of `rows` × `columns` as used.
    fn strides(self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        match self {
            Transpose::Yes => [1, rows],
            Transpose::No => [columns, 1],
        }
    }
}

/// The product of matrices, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Matmul {
    /// Whether a's last two axes are swapped.
    pub transpose_a: Transpose,
    /// Whether b's last two axes are swapped.
    pub transpose_b: Transpose,
    /// What is applied to each element at last.
    pub activation: Activation,
}

/// The matrix product a · b, either operand transposed on the way.
///
/// ```
/// # use axenic::{eval, ops::{self, Transpose}};
/// let no = Transpose::No;
/// let [y] = eval(|r| Ok([ops::matmul(r.constant([[1.0, 2.0]]), r.constant([[3.0], [4.0]]), no, no)?]))?;
/// assert_eq!(y, [[11.0]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The inner lengths or the batch axes differ, or an operand has fewer than two axes.
#[track_caller]
pub fn matmul<'g>(
    a: Tensor<'g>,
    b: Tensor<'g>,
    transpose_a: Transpose,
    transpose_b: Transpose,
) -> Result<Tensor<'g>> {
    let op = Matmul {
        transpose_a,
        transpose_b,
        activation: Activation::Identity,
    };
    a.recorder().apply_one(op, &[a, b])
}

/// x · weightᵀ + bias in one pass over memory: x […, D], weight [K, D] and bias `[K]` give […, K].
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::linear(r.constant([[1.0, 2.0]]), r.constant([[3.0, 4.0]]), r.constant([0.5]))?]))?;
/// assert_eq!(y, [[11.5]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// As [`matmul`], or the bias has not K elements.
#[track_caller]
pub fn linear<'g>(x: Tensor<'g>, weight: Tensor<'g>, bias: Tensor<'g>) -> Result<Tensor<'g>> {
    let op = Matmul {
        transpose_a: Transpose::No,
        transpose_b: Transpose::Yes,
        activation: Activation::Identity,
    };
    x.recorder().apply_one(op, &[x, weight, bias])
}

/// The lengths of a product, as executors see it.
#[derive(Clone, Copy, Debug)]
struct Extents {
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    /// The elements between the matrices of a batch, 0 for an operand that serves all of it.
    a_step: usize,
    b_step: usize,
}

impl Matmul {
    fn extents(&self, a: Shape, b: Shape) -> Extents {
        let ([m, k], [_, n]) = (last_two(a, self.transpose_a), last_two(b, self.transpose_b));
        let batch = if a.len() > 2 { a } else { b };
        let step = |operand: Shape, size| if operand.len() > 2 { size } else { 0 };
        let whole = Extents {
            batch: batch[..batch.len() - 2].iter().product(),
            m,
            n,
            k,
            a_step: step(a, m * k),
            b_step: step(b, k * n),
        };
        if whole.b_step == 0 && self.transpose_a == Transpose::No {
            // All rows of the batch meet the same b: one tall product.
            let (batch, m) = (1, whole.batch * m);
            return Extents { batch, m, ..whole };
        }
        whole
    }

    /// The operands of the product number `index` of the batch, from row `row` of a and column `column` of b on.
    fn operands<'a>(
        &self,
        extents: &Extents,
        [a, b]: [&'a [f32]; 2],
        [index, row, column]: [usize; 3],
    ) -> [Matrix<'a>; 2] {
        let Extents { m, n, k, .. } = *extents;
        let a = self
            .transpose_a
            .matrix(&a[index * extents.a_step..], [m, k]);
        let b = self
            .transpose_b
            .matrix(&b[index * extents.b_step..], [k, n]);
        [a.from(row, 0), b.from(0, column)]
    }
}

/// The lengths of the last two axes, as used.
fn last_two(shape: Shape, transpose: Transpose) -> [usize; 2] {
    let (rows, columns) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    match transpose {
        Transpose::Yes => [columns, rows],
        Transpose::No => [rows, columns],
    }
}

/// A batch of matrices as one tall matrix.
fn tall<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    let columns = x.shape()[x.shape().len() - 1];
    let rows = x.shape()[..x.shape().len() - 1].iter().product();
    super::reshape(x, [rows, columns])
}

impl Op for Matmul {
    const NAME: &'static str = "matmul";
    const INPUTS: &'static [&'static str] = &["a", "b", "bias, residual…"];
    const HALVES: Halves = Halves::ALWAYS;

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::none()
            .with("transpose_a", self.transpose_a.word())
            .with("transpose_b", self.transpose_b.word());
        self.activation.describe(attributes)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let choice = |name| attributes.choice(name, Transpose::No, &Transpose::WORDS);
        Ok(Self {
            transpose_a: choice("transpose_a")?,
            transpose_b: choice("transpose_b")?,
            activation: Activation::of(attributes)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let own = Inputs::expect(Self::NAME, inputs)?;
        let [a, b] = own.operands;
        if a.len() < 2 || b.len() < 2 {
            return Err(Error::shape(format!(
                "matmul: both operands need at least two axes: {a} × {b}"
            )));
        }
        let ([m, k], [inner, n]) = (last_two(a, self.transpose_a), last_two(b, self.transpose_b));
        if k != inner {
            return Err(Error::shape(format!(
                "matmul: inner lengths differ, {k} and {inner}: {a} × {b} ({})",
                self.attributes()
            )));
        }
        let (outer_a, outer_b) = (&a[..a.len() - 2], &b[..b.len() - 2]);
        if !outer_a.is_empty() && !outer_b.is_empty() && outer_a != outer_b {
            return Err(Error::shape(format!(
                "matmul: batch axes differ, {outer_a:?} and {outer_b:?}: {a} × {b}"
            )));
        }
        if let Some(bias) = own.bias.filter(|bias| *bias != [n].into()) {
            return Err(Error::shape(format!(
                "matmul: the bias is {bias}, a row of the result has {n} elements"
            )));
        }
        let outer = if outer_a.is_empty() { outer_b } else { outer_a };
        let y = Shape::new(&[outer, &[m, n]].concat())?;
        own.expect_residual(Self::NAME, y)?;
        Ok(vec![Spec::real(y)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None; call.inputs.len()]);
        };
        let plain = Self {
            activation: Activation::Identity,
            ..*self
        };
        let grad = epilogue::vjp(call, plain, self.activation, grad)?;
        let (a, b) = (call.inputs[0], call.inputs[1]);
        let (ta, tb) = (self.transpose_a, self.transpose_b);
        let a_grad = match ta {
            Transpose::No => matmul(grad, b, Transpose::No, tb.flipped())?,
            Transpose::Yes => matmul(b, grad, tb, Transpose::Yes)?,
        };
        // Where one b serves the whole batch of a, the sum over the batch is part of a single, longer product.
        let (a_rows, grad_rows) = if b.shape().len() == 2 && ta == Transpose::No {
            (tall(a)?, tall(grad)?)
        } else {
            (a, grad)
        };
        let b_grad = match tb {
            Transpose::No => matmul(a_rows, grad_rows, ta.flipped(), Transpose::No)?,
            Transpose::Yes => matmul(grad_rows, a_rows, Transpose::Yes, ta)?,
        };
        let mut input_grads = vec![
            Some(unbroadcast(a_grad, a.shape())?),
            Some(unbroadcast(b_grad, b.shape())?),
        ];
        // Of the bias and the residual.
        for added in &call.inputs[2..] {
            input_grads.push(Some(unbroadcast(grad, added.shape())?));
        }
        Ok(input_grads)
    }

    fn followed_by(&self, inputs: &[Spec], next: &Follower) -> Option<Joined<Self>> {
        let activation = epilogue::followed_by(inputs.len(), self.activation, next)?;
        Some(Joined::of(Self {
            activation,
            ..*self
        }))
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (a, b) = (inputs[0].real(), inputs[1].real());
        let epilogue = Epilogue::new(inputs, self.activation);
        let extents = self.extents(inputs[0].shape, inputs[1].shape);
        let Extents { m, n, k, .. } = extents;
        let (a_strides, b_strides) = (
            self.transpose_a.strides([m, k]),
            self.transpose_b.strides([k, n]),
        );
        for (y, index) in outputs[0].real().iter_mut().zip(range) {
            let (batch, i, j) = (index / (m * n), index / n % m, index % n);
            let a_row = batch * extents.a_step + i * a_strides[0];
            let b_column = batch * extents.b_step + j * b_strides[1];
            let mut sum = R::sum(k);
            (0..k).for_each(|l| {
                sum.add(a[a_row + l * a_strides[1]] * b[b_column + l * b_strides[0]])
            });
            *y = epilogue.apply(sum.total(), j, index);
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let operands = [inputs[0].real(), inputs[1].real()];
        let extents = self.extents(inputs[0].shape, inputs[1].shape);
        let Extents { batch, m, n, k, .. } = extents;
        let y = outputs[0].real();
        if y.is_empty() {
            return;
        }
        let (rows, wide) = (rows_per_piece(batch, m, n), n.div_ceil(COLUMNS));
        let overwrite = Accumulate::Overwrite;
        // Afterwards: long sums are added up in memory, and one that starts from the bias would lose digits each time.
        let epilogue = Epilogue::new(inputs, self.activation);
        if wide == 1 {
            let pieces = y.chunks_mut(m * n).enumerate().flat_map(|(index, y)| {
                let blocks = y.chunks_mut(rows * n).enumerate();
                blocks.map(move |(block, y)| (index, block * rows, y))
            });
            return workers.each(
                pieces,
                #[inline(always)]
                |(index, row, y)| {
                    let [a, b] = self.operands(&extents, operands, [index, row, 0]);
                    let size = [y.len() / n, n, k];
                    product(size, a, b, MatrixMut::rows(&mut *y, n), overwrite);
                    for (i, y) in y.chunks_exact_mut(n).enumerate() {
                        epilogue.finish_row(y, 0, (index * m + row + i) * n);
                    }
                },
            );
        }
        let mut pieces: Vec<Vec<&mut [f32]>> = (0..batch * m.div_ceil(rows) * wide)
            .map(|_| Vec::new())
            .collect();
        for (row, y) in y.chunks_exact_mut(n).enumerate() {
            let high = row / m * m.div_ceil(rows) + row % m / rows;
            let runs = y.chunks_mut(COLUMNS).zip(&mut pieces[high * wide..]);
            runs.for_each(|(run, piece)| piece.push(run));
        }
        workers.each(
            pieces.into_iter().enumerate(),
            #[inline(always)]
            |(piece, mut y)| {
                let (high, column) = (piece / wide, piece % wide * COLUMNS);
                let (index, row) = (high / m.div_ceil(rows), high % m.div_ceil(rows) * rows);
                let [a, b] = self.operands(&extents, operands, [index, row, column]);
                let size = [y.len(), y[0].len(), k];
                product(size, a, b, MatrixMut::Rows(&mut y), overwrite);
                for (i, y) in y.iter_mut().enumerate() {
                    epilogue.finish_row(y, column, (index * m + row + i) * n + column);
                }
            },
        );
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        match target {
            Target::Gpu(limits) => {
                let launches = self.launches(inputs, limits).unwrap_or_default();
                scales_scratch(&launches).into_iter().collect()
            }
            Target::Cpu { .. } | Target::Reference => Vec::new(),
        }
    }

    fn launches(&self, inputs: &[Spec], limits: &Limits) -> Result<Vec<Launch>> {
        let extents = self.extents(inputs[0].shape, inputs[1].shape);
        let Extents { batch, m, n, k, .. } = extents;
        let [bias, residual] = epilogue::bindings(inputs);
        let mut bindings: Vec<_> = [0, 1, bias, residual].map(Binding::Input).into();
        bindings.push(Binding::Output(0));
        let is = |condition| f64::from(u8::from(condition));
        let (ta, tb) = (
            self.transpose_a == Transpose::Yes,
            self.transpose_b == Transpose::Yes,
        );
        let tile = limits.tiling.tile(batch, [m, n]);
        let launch = Launch::new(&SHADER, bindings)
            .words(&[batch, m, n, k])
            .words(&self.transpose_a.strides([m, k]))
            .words(&self.transpose_b.strides([k, n]))
            .words(&[extents.a_step, extents.b_step])
            .constant("TILE_A_BY_ROWS", is(ta))
            .constant("TILE_B_BY_DEPTH", is(tb))
            .constant("A_QUADS", is(ta && m.is_multiple_of(4)))
            .constant("B_QUADS", is(!tb && n.is_multiple_of(4)));
        let launch = epilogue::describe(launch, inputs, self.activation);
        let launch = launch.by(limits.products(batch, [m, n], k));
        let launches = vec![tile.cover(launch, batch, [m, n])];
        Ok(scaled(launches, inputs, [0, 1], 0))
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let Extents { batch, m, n, k, .. } = self.extents(inputs[0].shape, inputs[1].shape);
        let outputs = self.outputs(inputs).unwrap_or_default();
        let each = 2 * k + epilogue::flops(inputs, self.activation);
        Cost::new(each * batch * m * n, inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |&(about, transpose_a, transpose_b, a, b): &Lengths| {
            let op = Self {
                transpose_a,
                transpose_b,
                activation: Activation::Identity,
            };
            let shape = |lengths| Shape::new(lengths).unwrap_or_else(|e| unreachable!("{e}"));
            Case::new(about, op, vec![normal(shape(a), 1), normal(shape(b), 2)])
        };
        let followed = |&(ref lengths, further, activation): &(Lengths, usize, Activation)| {
            let mut case = case(lengths);
            case.op.activation = activation;
            let specs = [0, 1].map(|i| case.inputs[i].spec());
            let y = case.op.outputs(&specs);
            let y = y.unwrap_or_else(|e| unreachable!("{e}"))[0].shape;
            let all = [normal([y[y.len() - 1]], 3), normal(y, 4)];
            case.inputs.extend(all.into_iter().take(further));
            case
        };
        let mut cases: Vec<_> = CASES.iter().map(case).collect();
        cases.extend(FOLLOWED.iter().map(followed));
        // A term that the bias swallows, twice: together they are more than a rounding.
        let no = Transpose::No;
        let mut small = case(&("a large bias", no, no, &[1, 1024], &[1024, 1]));
        let term = |l: usize| {
            if l.is_multiple_of(512) {
                0.4 * f32::EPSILON
            } else {
                0.0
            }
        };
        small.inputs[0] = array([1, 1024].into(), vec![1.0_f32; 1024]);
        small.inputs[1] = array([1024, 1].into(), (0..1024).map(term).collect::<Vec<f32>>());
        small.inputs.push(array([1].into(), vec![1.0_f32]));
        // Terms that cancel, so that rounding decides what the rectifier sees.
        let mut cancelling = small.clone();
        cancelling.about = "sums around nothing, rectified";
        cancelling.op.activation = Activation::Relu;
        let term = |l: usize| [0.1_f32, 0.7, -0.3, -0.5][l % 4] * (1 + l / 4) as f32;
        cancelling.inputs[1] = array([1024, 1].into(), (0..1024).map(term).collect::<Vec<f32>>());
        cancelling.inputs[2] = array([1].into(), vec![7e-4_f32]);
        cases.extend([small, cancelling.without_differences()]);
        cases
    }
}

/// The rows of a piece of work on the host: equal parts of all.
fn rows_per_piece(batch: usize, m: usize, n: usize) -> usize {
    let [most, least] = ROWS;
    let wanted = PIECES.div_ceil(batch * n.div_ceil(COLUMNS));
    let parts = wanted.min(m.div_ceil(least)).max(m.div_ceil(most));
    m.div_ceil(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{Cpu, Executor};
    use crate::graph::Graph;
    use crate::plan::Plan;
    use std::sync::Arc;

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (no, yes) = (Transpose::No, Transpose::Yes);
        for (rows, transpose_b) in [(1, no), (2, no), (17, no), (300, no), (300, yes)] {
            let (a, b) = (normal([rows, 129], 1), normal([129, 1000], 2));
            let graph = Graph::record(|r| {
                let (a, b) = (r.input("a", a.spec())?, r.input("b", b.spec())?);
                let b = match transpose_b {
                    Transpose::No => b,
                    Transpose::Yes => crate::ops::transpose(b, &[1, 0])?,
                };
                r.output("y", matmul(a, b, no, transpose_b)?)
            });
            let graph = Arc::new(graph.expect("it records"));
            let run = |threads| {
                let mut cpu = Cpu::new(threads).expect("threads");
                let plan = Plan::new(graph.clone(), cpu.target()).expect("a plan");
                let plan = cpu.prepare(Arc::new(plan)).expect("it fits");
                let y = cpu.run(plan, &[("a", &a), ("b", &b)], None);
                y.expect("it runs").remove(0).to_f32().into_owned()
            };
            let alone = run(1);
            assert!(
                [2, 3, 7].into_iter().all(|n| run(n) == alone),
                "{rows} rows"
            );
        }
    }
}
