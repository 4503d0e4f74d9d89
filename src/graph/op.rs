//! The contract of an operation: everything the engine needs to know of one, stated in one place by its room.
//!
//! A room implements [`Op`], whose host formula [`Op::eval`] is generic over the number type. The engine handles
//! operations as [`AnyOp`], which is object-safe; the blanket implementation below is the bridge, written once.

use super::attributes::Attributes;
use super::case::Case;
use super::fuse::{Follower, Joined};
use super::launch::{Launch, Limits, Target};
use super::precision::Halves;
use super::recorder::Tensor;
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::real::{Bounded, Real};
use crate::shape::Shape;
use crate::workers::Workers;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// An operation: mathematics, shape rule, gradient rule, host formula, launches, cost and test cases.
pub trait Op: Debug + Clone + Send + Sync + 'static {
    /// The operation's name: the stem of its room and of its shaders (`<name>.wgsl`, further passes `<name>.<pass>.wgsl`).
    const NAME: &'static str;
    /// The names of the inputs, in order; a last name ending in `…` stands for any number.
    const INPUTS: &'static [&'static str];
    /// What of it mixed precision stores as halves.
    const HALVES: Halves = Halves::NEVER;

    /// The values that tell this use from another.
    fn attributes(&self) -> Attributes;

    /// The operation with the given attributes; those left out take their defaults.
    fn from_attributes(attributes: &Attributes) -> Result<Self>;

    /// Shapes and element types of the one to four outputs, or why the inputs do not fit.
    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>>;

    /// The gradient rule: for every input the gradient that the outputs' gradients send back, recorded as operations.
    /// `None` where nothing flows (indices, and inputs that the definition declares constant).
    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>>;

    /// Inputs that the gradient rule holds constant, though the outputs depend on them. Any other real input to which it
    /// sends no gradient must move nothing.
    fn constant_inputs(&self) -> &'static [usize] {
        &[]
    }

    /// Into how many equal, contiguous parts the outputs can be cut such that each can be computed alone. By default a
    /// single output is cut into its elements, and several are not cut.
    fn pieces(&self, outputs: &[Spec]) -> usize {
        if let [only] = outputs {
            only.shape.elements()
        } else {
            1
        }
    }

    /// The definition: computes the pieces of `range`. The output views hold just those pieces.
    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>);

    /// The fast f32 version for the host, over whole outputs. By default [`Op::eval`], shared out by pieces.
    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        eval_in_parallel(self, inputs, outputs, workers);
    }

    /// The dispatches that compute the outputs on a device.
    fn launches(&self, inputs: &[Spec], limits: &Limits) -> Result<Vec<Launch>>;

    /// Scratch buffers (in elements of four bytes) that the computation on `target` needs beside inputs and outputs.
    fn scratch(&self, _inputs: &[Spec], _target: &Target) -> Vec<usize> {
        Vec::new()
    }

    /// What [`Op::eval_cpu`] needs of one of its inputs alone. Whoever calls that calls [`keep`](Op::keep) before, but once as long
    /// as that input stays the same, and gives what is kept as the last scratch buffer, behind those of [`scratch`](Op::scratch).
    fn kept(&self, _inputs: &[Spec]) -> Option<Kept> {
        None
    }

    /// Computes what is [`kept`](Op::kept) of an input.
    fn keep(&self, _inputs: &[View<f32>], _kept: &mut [f32], _workers: &Workers) {}

    /// This operation on `inputs` and the one that reads what it gives as one that computes both in one pass over memory, where
    /// there is one.
    fn followed_by(&self, _inputs: &[Spec], _next: &Follower) -> Option<Joined<Self>> {
        None
    }

    /// The input whose bytes are the output's bytes: the node then costs nothing.
    fn alias_of_input(&self) -> Option<usize> {
        None
    }

    /// Work and traffic.
    fn cost(&self, inputs: &[Spec]) -> Cost;

    /// Inputs worth checking: typical, odd, degenerate.
    fn cases() -> Vec<Case<Self>>;
}

/// What an operation computes of one of its inputs alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The input.
    pub input: usize,
    /// Its elements.
    pub length: usize,
}

/// One use of an operation in a graph, as its gradient rule sees it.
pub struct Call<'g> {
    /// The inputs.
    pub inputs: Vec<Tensor<'g>>,
    /// The outputs.
    pub outputs: Vec<Tensor<'g>>,
}

/// An input of a host formula.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, R> {
    /// The lengths of the axes.
    pub shape: Shape,
    /// The elements.
    pub slice: Slice<'a, R>,
}

/// The elements of a [`View`].
#[derive(Clone, Copy, Debug)]
pub enum Slice<'a, R> {
    /// Reals.
    Real(&'a [R]),
    /// Indices.
    Index(&'a [u32]),
}

impl<'a, R> View<'a, R> {
    /// The elements of a real input; the shape rule has made sure that it is one.
    pub fn real(&self) -> &'a [R] {
        match self.slice {
            Slice::Real(slice) => slice,
            Slice::Index(_) => unreachable!("the shape rule admits reals only"),
        }
    }

    /// The elements of an index input; the shape rule has made sure that it is one.
    pub fn index(&self) -> &'a [u32] {
        match self.slice {
            Slice::Index(slice) => slice,
            Slice::Real(_) => unreachable!("the shape rule admits indices only"),
        }
    }
}

/// An output of a host formula, or the part of it that a range of pieces makes up.
#[derive(Debug)]
pub struct ViewMut<'a, R> {
    /// The lengths of the axes of the whole output.
    pub shape: Shape,
    /// The elements to write.
    pub slice: SliceMut<'a, R>,
}

/// The elements of a [`ViewMut`].
#[derive(Debug)]
pub enum SliceMut<'a, R> {
    /// Reals.
    Real(&'a mut [R]),
    /// Indices.
    Index(&'a mut [u32]),
}

impl<'a, R> ViewMut<'a, R> {
    /// The elements of a real output.
    pub fn real(&mut self) -> &mut [R] {
        match &mut self.slice {
            SliceMut::Real(slice) => slice,
            SliceMut::Index(_) => unreachable!("the shape rule gives reals here"),
        }
    }

    /// The elements of an index output.
    pub fn index(&mut self) -> &mut [u32] {
        match &mut self.slice {
            SliceMut::Index(slice) => slice,
            SliceMut::Real(_) => unreachable!("the shape rule gives indices here"),
        }
    }

    /// Cuts the elements into runs of at most `length`, in order.
    fn chunks(self, length: usize) -> Vec<ViewMut<'a, R>> {
        let shape = self.shape;
        let cut = |slice| ViewMut { shape, slice };
        match self.slice {
            SliceMut::Real(slice) => slice
                .chunks_mut(length)
                .map(|part| cut(SliceMut::Real(part)))
                .collect(),
            SliceMut::Index(slice) => slice
                .chunks_mut(length)
                .map(|part| cut(SliceMut::Index(part)))
                .collect(),
        }
    }

    fn len(&self) -> usize {
        match &self.slice {
            SliceMut::Real(slice) => slice.len(),
            SliceMut::Index(slice) => slice.len(),
        }
    }

    fn reborrow(&mut self) -> ViewMut<'_, R> {
        let slice = match &mut self.slice {
            SliceMut::Real(slice) => SliceMut::Real(slice),
            SliceMut::Index(slice) => SliceMut::Index(slice),
        };
        ViewMut {
            shape: self.shape,
            slice,
        }
    }
}

/// Computes all pieces of an operation by its definition, shared out among the workers. Pieces are cut by the shapes
/// alone, and each is computed as it would be alone, so the result does not depend on the number of workers.
pub fn eval_in_parallel<O: Op, R: Real>(
    op: &O,
    inputs: &[View<R>],
    outputs: &mut [ViewMut<R>],
    workers: &Workers,
) {
    let specs: Vec<Spec> = outputs
        .iter()
        .map(|output| Spec::real(output.shape))
        .collect();
    let pieces = op.pieces(&specs);
    share_pieces(pieces, inputs, outputs, workers, &|outputs, range| {
        op.eval(inputs, outputs, range)
    });
}

/// A host formula applied to the pieces of a range.
type Evaluate<'a, R> = dyn Fn(&mut [ViewMut<R>], Range<usize>) + Send + Sync + 'a;

fn share_pieces<R: Real>(
    pieces: usize,
    inputs: &[View<R>],
    outputs: &mut [ViewMut<R>],
    workers: &Workers,
    eval: &Evaluate<'_, R>,
) {
    if pieces == 0 || outputs.iter().all(|output| output.len() == 0) {
        return;
    }
    // A run of pieces is worth a worker's while from some ten thousand element visits on.
    let elements = inputs
        .iter()
        .map(|input| input.shape.elements())
        .chain(outputs.iter().map(ViewMut::len));
    let per_run = (16_384 * pieces / elements.sum::<usize>().max(1)).clamp(1, pieces);
    if per_run >= pieces {
        return eval(outputs, 0..pieces);
    }
    let mut runs: Vec<Vec<ViewMut<R>>> =
        (0..pieces.div_ceil(per_run)).map(|_| Vec::new()).collect();
    for output in outputs.iter_mut() {
        let per_piece = output.len() / pieces;
        for (run, part) in runs
            .iter_mut()
            .zip(output.reborrow().chunks(per_piece * per_run))
        {
            run.push(part);
        }
    }
    workers.each(runs.into_iter().enumerate(), |(i, mut run)| {
        eval(&mut run, i * per_run..((i + 1) * per_run).min(pieces));
    });
}

/// Work and traffic of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations; a multiply-add counts two.
    pub flops: u64,
    /// Bytes read, in single precision, each input once.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl Cost {
    /// The given work, with every input read once and every output written once.
    pub fn new(flops: usize, inputs: &[Spec], outputs: &[Spec]) -> Self {
        let bytes = |specs: &[Spec]| {
            specs
                .iter()
                .map(|spec| 4 * spec.shape.elements() as u64)
                .sum()
        };
        Self {
            flops: flops as u64,
            bytes_read: bytes(inputs),
            bytes_written: bytes(outputs),
        }
    }
}

/// An operation whose type is forgotten: what a node holds and executors call. Implemented for every [`Op`].
#[expect(
    missing_docs,
    reason = "each method is the one of the same name in `Op`, at one number type"
)]
pub trait AnyOp: Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn attributes(&self) -> Attributes;
    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>>;
    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>>;
    fn halves(&self) -> Halves;
    fn constant_inputs(&self) -> &'static [usize];
    fn pieces(&self, outputs: &[Spec]) -> usize;
    fn eval_reference(&self, inputs: &[View<f64>], outputs: &mut [ViewMut<f64>], workers: &Workers);
    fn eval_bounded(
        &self,
        inputs: &[View<Bounded>],
        outputs: &mut [ViewMut<Bounded>],
        range: Range<usize>,
    );
    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    );
    fn launches(&self, inputs: &[Spec], limits: &Limits) -> Result<Vec<Launch>>;
    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize>;
    fn kept(&self, inputs: &[Spec]) -> Option<Kept>;
    fn keep(&self, inputs: &[View<f32>], kept: &mut [f32], workers: &Workers);
    fn followed_by(&self, inputs: &[Spec], next: &Follower) -> Option<Joined<Arc<dyn AnyOp>>>;
    fn alias_of_input(&self) -> Option<usize>;
    fn cost(&self, inputs: &[Spec]) -> Cost;
}

impl<O: Op> AnyOp for O {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn attributes(&self) -> Attributes {
        Op::attributes(self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        Op::outputs(self, inputs)
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Op::vjp(self, call, output_grads)
    }

    fn halves(&self) -> Halves {
        O::HALVES
    }

    fn constant_inputs(&self) -> &'static [usize] {
        Op::constant_inputs(self)
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        Op::pieces(self, outputs)
    }

    fn eval_reference(
        &self,
        inputs: &[View<f64>],
        outputs: &mut [ViewMut<f64>],
        workers: &Workers,
    ) {
        eval_in_parallel(self, inputs, outputs, workers);
    }

    fn eval_bounded(
        &self,
        inputs: &[View<Bounded>],
        outputs: &mut [ViewMut<Bounded>],
        range: Range<usize>,
    ) {
        self.eval(inputs, outputs, range);
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        Op::eval_cpu(self, inputs, outputs, scratch, workers);
    }

    fn launches(&self, inputs: &[Spec], limits: &Limits) -> Result<Vec<Launch>> {
        Op::launches(self, inputs, limits)
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        Op::scratch(self, inputs, target)
    }

    fn kept(&self, inputs: &[Spec]) -> Option<Kept> {
        Op::kept(self, inputs)
    }

    fn keep(&self, inputs: &[View<f32>], kept: &mut [f32], workers: &Workers) {
        Op::keep(self, inputs, kept, workers);
    }

    fn followed_by(&self, inputs: &[Spec], next: &Follower) -> Option<Joined<Arc<dyn AnyOp>>> {
        let Joined { op, gather } = Op::followed_by(self, inputs, next)?;
        let op = Arc::new(op);
        Some(Joined { op, gather })
    }

    fn alias_of_input(&self) -> Option<usize> {
        Op::alias_of_input(self)
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Op::cost(self, inputs)
    }
}

/// The inputs of an operation that takes exactly `N`, or an error that says how many came.
pub fn expect_inputs<const N: usize>(name: &str, inputs: &[Spec]) -> Result<[Spec; N]> {
    inputs
        .try_into()
        .map_err(|_| Error::shape(format!("{name}: takes {N} inputs, got {}", inputs.len())))
}

/// Like [`expect_inputs`], and all of them must be real.
pub fn expect_reals<const N: usize>(name: &str, inputs: &[Spec]) -> Result<[Shape; N]> {
    let specs: [Spec; N] = expect_inputs(name, inputs)?;
    match specs
        .iter()
        .position(|spec| *spec != Spec::real(spec.shape))
    {
        Some(i) => Err(Error::shape(format!(
            "{name}: input {i} holds indices, real numbers are needed"
        ))),
        None => Ok(specs.map(|spec| spec.shape)),
    }
}

/// That `spec`, the input called `what`, holds indices.
pub fn expect_index(name: &str, what: &str, spec: Spec) -> Result<Shape> {
    if spec == Spec::index(spec.shape) {
        Ok(spec.shape)
    } else {
        Err(Error::shape(format!(
            "{name}: {what} holds real numbers, indices are needed"
        )))
    }
}
