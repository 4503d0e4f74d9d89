//! The reference: f64 on the host, by the rooms' definitions; and evaluation without ceremony.

use super::host::{Host, HostReal};
use super::{Executor, Prepared, Watch};
use crate::array::{Array, Element, Numbers, Spec};
use crate::error::{Error, Result};
use crate::graph::{AnyOp, Graph, Recorder, Slice, SliceMut, Target, Tensor, View, ViewMut};
use crate::plan::Plan;
use crate::real::{Bounded, Real};
use crate::workers::Workers;
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

    fn from_array(array: &Array) -> Vec<f64> {
        array.to_f64().into_owned()
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
        self.0.prepare(plan)
    }

    fn write(&mut self, name: &str, value: &Array) -> Result<()> {
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
            reference.write(&leaf.name, &init.numbers(0, &leaf.name, spec)?)?;
        }
    }
    let outputs = reference.run(plan, &[], None)?;
    outputs
        .try_into()
        .map_err(|_| Error::shape("an output was lost"))
}

/// One operation in [`Bounded`] arithmetic on inputs that the device holds exactly: for every real output its values and
/// the bounds of an f32 device's error; for an index output the indices, with bound zero.
///
/// # Errors
/// The inputs do not fit the operation.
pub fn eval_bounded(
    op: &dyn AnyOp,
    inputs: &[Array],
    workers: &Workers,
) -> Result<Vec<(Array, Vec<f64>)>> {
    let specs: Vec<_> = inputs.iter().map(Array::spec).collect();
    let exact: Vec<Vec<Bounded>> = inputs
        .iter()
        .map(|array| array.to_f64().iter().map(|&x| Bounded::exact(x)).collect())
        .collect();
    let views: Vec<View<Bounded>> = inputs
        .iter()
        .zip(&exact)
        .map(|(array, exact)| View {
            shape: array.shape(),
            slice: array.as_u32().map_or(Slice::Real(exact), Slice::Index),
        })
        .collect();
    let outputs = op.outputs(&specs)?;
    let zeros = |spec: &Spec| {
        (
            vec![Bounded::ZERO; spec.shape.elements()],
            vec![0u32; spec.shape.elements()],
        )
    };
    let mut memory: Vec<(Vec<Bounded>, Vec<u32>)> = outputs.iter().map(zeros).collect();
    let is_index = |i: usize| outputs[i].element == Element::Index;
    let mut out: Vec<ViewMut<Bounded>> = memory
        .iter_mut()
        .enumerate()
        .map(|(i, (reals, indices))| ViewMut {
            shape: outputs[i].shape,
            slice: if is_index(i) {
                SliceMut::Index(indices)
            } else {
                SliceMut::Real(reals)
            },
        })
        .collect();
    op.eval_bounded(&views, &mut out, workers);
    let finish = |(i, (reals, indices)): (usize, (Vec<Bounded>, Vec<u32>))| {
        let shape = outputs[i].shape;
        if is_index(i) {
            let n = indices.len();
            return Ok((Array::new(shape, indices)?, vec![0.0; n]));
        }
        let values: Vec<f64> = reals.iter().map(|x| x.value()).collect();
        Ok((
            Array::new(shape, values)?,
            reals.iter().map(|x| x.error()).collect(),
        ))
    };
    memory.into_iter().enumerate().map(finish).collect()
}
