//! The reference: f64 on the host, by the rooms' definitions; and evaluation without ceremony.

use super::host::{Host, HostReal};
use super::{Executor, Prepared, Watch};
use crate::array::{Array, Element, Numbers, Spec};
use crate::error::{Error, Result};
use crate::graph::{AnyOp, Graph, Parts, Recorder, Slice, SliceMut, Target, Tensor, View, ViewMut};
use crate::plan::Plan;
use crate::real::{Bounded, Real};
use crate::shape::Shape;
use crate::workers::Workers;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Runs plans in f64, written to be obviously right.
pub struct Reference(Host<f64>);

impl Reference {
    /// An executor with this many workers; 0 means one for each core.
    ///
    /// # Errors
    /// The system refuses the threads.
    pub fn new(threads: usize) -> Result<Self> {
        Ok(Self(Host::new(Workers::new(threads)?)))
    }
}

impl HostReal for f64 {
    fn run(
        op: &dyn AnyOp,
        inputs: &[View<f64>],
        outputs: &mut [ViewMut<f64>],
        _scratch: &mut [&mut [f64]],
        workers: &Workers,
    ) {
        op.eval_reference(inputs, outputs, workers);
    }

    fn of_array(array: &Array) -> Cow<'_, [f64]> {
        array.to_f64()
    }

    fn from_array(array: Array) -> Vec<f64> {
        array.into_f64()
    }

    fn into_numbers(values: Vec<f64>) -> Numbers {
        Numbers::F64(values)
    }
}

impl Executor for Reference {
    fn description(&self) -> String {
        format!("reference ({} threads, f64)", self.0.workers().count())
    }

    fn target(&self) -> Target {
        Target::Reference
    }

    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        super::check_target(self, &plan)?;
        self.0.prepare(plan)
    }

    fn plan(&self, prepared: Prepared) -> &Arc<Plan> {
        self.0.plan(prepared)
    }

    fn write(&mut self, name: &str, value: Array) -> Result<()> {
        self.0.write(name, value)
    }

    fn read(&mut self, name: &str) -> Result<Array> {
        self.0.read(name)
    }

    fn run(
        &mut self,
        plan: Prepared,
        inputs: &[(&str, &Array)],
        watch: Option<&mut Watch>,
    ) -> Result<Vec<Array>> {
        self.0.run(plan, inputs, watch)
    }
}

/// Records, plans and runs a computation on the reference in one call.
///
/// ```
/// use axenic::{eval, ops};
/// let [p] = eval(|r| Ok([ops::softmax(r.constant([1.0, 2.0, 3.0]), 0, 1.0)?]))?;
/// assert!((p.to_f64().iter().sum::<f64>() - 1.0).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// Parameters and states have their first values, from seed 0.
///
/// # Errors
/// Whatever recording returns.
pub fn eval<const N: usize>(
    build: impl for<'g> FnOnce(&'g Recorder) -> Result<[Tensor<'g>; N]>,
) -> Result<[Array; N]> {
    let graph = Graph::record(|r| {
        build(r)?
            .into_iter()
            .enumerate()
            .try_for_each(|(i, tensor)| r.output(&i.to_string(), tensor))
    })?;
    let mut reference = Reference::new(1)?;
    let graph = Arc::new(graph);
    let plan = reference.prepare(Arc::new(Plan::new(graph.clone(), Target::Reference)?))?;
    for (_, leaf, spec) in graph.leaves() {
        if let Some(init) = leaf.kind.init() {
            reference.write(&leaf.name, init.numbers(0, &leaf.name, spec)?)?;
        }
    }
    let outputs = reference.run(plan, &[], None)?;
    outputs
        .try_into()
        .map_err(|_| Error::shape("an output was lost"))
}

/// One element as it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Which element of the output.
    pub element: usize,
    /// Its value; an index too, exactly.
    pub value: f64,
    /// How far an f32 device's may lie from it.
    pub bound: f64,
}

/// The inputs that products multiply, the first ones; a bias that follows is added as it is.
const OPERANDS: usize = 2;

/// The numbers of an input, as exact as its parts are.
fn bounded(input: &Array, parts: Option<Parts>) -> Vec<Bounded> {
    let values = input.to_f64();
    let Some(parts) = parts else {
        return values.iter().map(|&x| Bounded::exact(x)).collect();
    };
    let finite = values.iter().filter(|x| x.is_finite());
    let largest = finite.fold(0.0, |top: f64, x| top.max(x.abs()));
    let off = |&x: &f64| Bounded::with_error(x, parts.operand_error(x, largest));
    values.iter().map(off).collect()
}

/// One operation in [`Bounded`] arithmetic on inputs that the device holds exactly: for every output the elements of the
/// pieces chosen (see [`Op::pieces`](crate::graph::Op::pieces)), with the bounds of an f32 device's error; an index has
/// bound zero. Where `parts` says that operands become half precision, each is off by what that may cost.
///
/// # Errors
/// The inputs do not fit the operation.
pub fn eval_bounded(
    op: &dyn AnyOp,
    inputs: &[Array],
    parts: Option<Parts>,
    pieces: &[Range<usize>],
    workers: &Workers,
) -> Result<Vec<Vec<Expected>>> {
    let specs: Vec<_> = inputs.iter().map(Array::spec).collect();
    let of = |(i, array)| bounded(array, parts.filter(|_| i < OPERANDS));
    let exact: Vec<Vec<Bounded>> = inputs.iter().enumerate().map(of).collect();
    let views: Vec<View<Bounded>> = inputs
        .iter()
        .zip(&exact)
        .map(|(array, exact)| View {
            shape: array.shape(),
            slice: array.as_u32().map_or(Slice::Real(exact), Slice::Index),
        })
        .collect();
    let outputs = op.outputs(&specs)?;
    let all = op.pieces(&outputs).max(1);
    let length = |spec: &Spec| spec.shape.elements() / all;
    let mut runs: Vec<(Range<usize>, Vec<Held>)> = pieces
        .iter()
        .map(|run| {
            let held = outputs
                .iter()
                .map(|spec| Held::new(*spec, run.len() * length(spec)));
            (run.clone(), held.collect())
        })
        .collect();
    workers.each(runs.iter_mut(), |(run, held)| {
        let mut out: Vec<ViewMut<Bounded>> = held.iter_mut().map(Held::view).collect();
        op.eval_bounded(&views, &mut out, run.clone());
    });
    let mut expected: Vec<Vec<Expected>> = outputs.iter().map(|_| Vec::new()).collect();
    for (run, held) in runs {
        for ((expected, held), spec) in expected.iter_mut().zip(held).zip(&outputs) {
            held.append_to(expected, run.start * length(spec));
        }
    }
    Ok(expected)
}

/// The memory of a run of pieces.
enum Held {
    Real(Shape, Vec<Bounded>),
    Index(Shape, Vec<u32>),
}

impl Held {
    fn new(spec: Spec, length: usize) -> Self {
        match spec.element {
            Element::Real => Held::Real(spec.shape, vec![Bounded::ZERO; length]),
            Element::Index => Held::Index(spec.shape, vec![0; length]),
        }
    }

    fn view(&mut self) -> ViewMut<'_, Bounded> {
        let (shape, slice) = match self {
            Held::Real(shape, values) => (*shape, SliceMut::Real(values)),
            Held::Index(shape, values) => (*shape, SliceMut::Index(values)),
        };
        ViewMut { shape, slice }
    }

    fn append_to(self, expected: &mut Vec<Expected>, first: usize) {
        match self {
            Held::Real(_, values) => {
                expected.extend(values.iter().zip(first..).map(|(x, element)| Expected {
                    element,
                    value: x.value(),
                    bound: x.error(),
                }))
            }
            Held::Index(_, values) => {
                expected.extend(values.iter().zip(first..).map(|(&x, element)| Expected {
                    element,
                    value: f64::from(x),
                    bound: 0.0,
                }))
            }
        }
    }
}
