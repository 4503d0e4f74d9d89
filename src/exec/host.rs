//! What the two host executors share: memory in slots, and the walk over a plan's steps.

use super::buffer::{Buffer, Given, Values, to_array};
use super::{Moment, Prepared, Watch};
use crate::array::{Array, Element, Numbers, Spec};
use crate::error::{Error, Result};
use crate::graph::{AnyOp, Leaf, LeafKind, ValueId, View, ViewMut};
use crate::plan::{Place, Plan, Slot, Step};
use crate::workers::Workers;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// A number type in which the host executes.
pub(super) trait HostReal: crate::real::Real + bytemuck::Pod {
    /// Runs an operation at this precision.
    fn run(
        op: &dyn AnyOp,
        inputs: &[View<Self>],
        outputs: &mut [ViewMut<Self>],
        scratch: &mut [&mut [Self]],
        workers: &Workers,
    );
    /// Computes what an operation keeps of an input.
    fn keep(_op: &dyn AnyOp, _inputs: &[View<Self>], _kept: &mut [Self], _workers: &Workers) {}
    /// An array's numbers in this precision.
    fn of_array(array: &Array) -> Cow<'_, [Self]>;
    /// An array's numbers in this precision, in the same memory if they are so already.
    fn from_array(array: Array) -> Vec<Self>;
    /// Numbers as an array holds them.
    fn into_numbers(values: Vec<Self>) -> Numbers;
}

struct Lasting<R> {
    spec: Spec,
    /// How often it has been written.
    writes: u64,
    /// Nothing until it is written: what is written brings its own memory.
    buffer: Option<Buffer<R>>,
}

struct Ready<R> {
    plan: Arc<Plan>,
    /// For each slot the buffer of the pool that it uses.
    pooled: Vec<usize>,
    constants: HashMap<usize, Buffer<R>>,
    /// By step.
    kept: HashMap<usize, OfLeaf<R>>,
}

/// What an operation has computed of a leaf.
struct OfLeaf<R> {
    values: Values<R>,
    /// How often the leaf had been written then.
    writes: Option<u64>,
}

/// The state of a host executor.
pub(super) struct Host<R> {
    workers: Workers,
    lasting: HashMap<String, Lasting<R>>,
    plans: Vec<Ready<R>>,
    /// The memory of all plans' slots: only one plan runs at a time.
    pool: Vec<Buffer<R>>,
}

impl<R: HostReal> Host<R> {
    pub(super) fn new(workers: Workers) -> Self {
        Self {
            workers,
            lasting: HashMap::new(),
            plans: Vec::new(),
            pool: Vec::new(),
        }
    }

    pub(super) fn workers(&self) -> &Workers {
        &self.workers
    }

    pub(super) fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        let mut constants = HashMap::new();
        for (value, leaf, spec) in plan.graph().leaves() {
            match &leaf.kind {
                LeafKind::Constant(array) => {
                    constants.insert(value.node, Buffer::from_array(array.as_ref().clone()));
                }
                LeafKind::Input => {}
                LeafKind::Parameter(_) | LeafKind::State(_) => self.declare(leaf, spec)?,
            }
        }
        let mut kept = HashMap::new();
        for (index, step) in plan.steps().iter().enumerate() {
            if let Some(keeping) = step.kept.filter(|keeping| keeping.outlasts) {
                let values = Values::zeros(keeping.what.length)?;
                let writes = None;
                kept.insert(index, OfLeaf { values, writes });
            }
        }
        let pooled = self.reserve(plan.slots())?;
        self.plans.push(Ready {
            plan,
            pooled,
            constants,
            kept,
        });
        Ok(Prepared(self.plans.len() - 1))
    }

    pub(super) fn plan(&self, Prepared(index): Prepared) -> &Arc<Plan> {
        &self.plans[index].plan
    }

    /// Finds a buffer of the pool for each slot, the largest for the largest, and grows them as needed.
    fn reserve(&mut self, slots: &[Slot]) -> Result<Vec<usize>> {
        let mut pooled = vec![0; slots.len()];
        for element in [Element::Real, Element::Index] {
            let mut of_kind: Vec<usize> = (0..slots.len())
                .filter(|&slot| slots[slot].element == element)
                .collect();
            of_kind.sort_by_key(|&slot| std::cmp::Reverse(slots[slot].length));
            let mut buffers: Vec<usize> = (0..self.pool.len())
                .filter(|&i| self.pool[i].element() == element)
                .collect();
            buffers.sort_by_key(|&i| std::cmp::Reverse(self.pool[i].len()));
            for (rank, slot) in of_kind.into_iter().enumerate() {
                if rank == buffers.len() {
                    buffers.push(self.pool.len());
                    self.pool.push(Buffer::zeros(element, 0)?);
                }
                if self.pool[buffers[rank]].len() < slots[slot].length {
                    self.pool[buffers[rank]] = Buffer::zeros(element, slots[slot].length)?;
                }
                pooled[slot] = buffers[rank];
            }
        }
        Ok(pooled)
    }

    fn declare(&mut self, leaf: &Leaf, spec: Spec) -> Result<()> {
        let own = self.lasting.entry(leaf.name.clone());
        let own = own.or_insert(Lasting {
            spec,
            writes: 0,
            buffer: None,
        });
        if own.spec == spec {
            return Ok(());
        }
        Err(Error::shape(format!(
            "{:?} has shape {} here and {spec} in the new plan",
            leaf.name, own.spec
        )))
    }

    pub(super) fn write(&mut self, name: &str, value: Array) -> Result<()> {
        let lasting = self
            .lasting
            .get_mut(name)
            .ok_or_else(|| super::unknown_leaf(name))?;
        super::check_spec(name, lasting.spec, value.spec())?;
        lasting.buffer = Some(Buffer::from_array(value));
        lasting.writes += 1;
        Ok(())
    }

    pub(super) fn read(&self, name: &str) -> Result<Array> {
        let lasting = self
            .lasting
            .get(name)
            .ok_or_else(|| super::unknown_leaf(name))?;
        let buffer = lasting
            .buffer
            .as_ref()
            .ok_or_else(|| super::no_value(name))?;
        to_array(buffer.view(lasting.spec))
    }

    pub(super) fn run(
        &mut self,
        Prepared(index): Prepared,
        inputs: &[(&str, &Array)],
        watch: Option<&mut Watch>,
    ) -> Result<Vec<Array>> {
        let plan = self.plans[index].plan.clone();
        let inputs = super::match_inputs(&plan, inputs)?;
        let given: HashMap<usize, Given<R>> = inputs
            .into_iter()
            .map(|(node, array)| (node, Given::new(array)))
            .collect();
        let is_written = |name: &str| {
            self.lasting
                .get(name)
                .is_some_and(|own| own.buffer.is_some())
        };
        super::check_written(&plan, is_written)?;
        // The slots leave their place for the run, so that leaves and slots can be borrowed side by side.
        let pooled = self.plans[index].pooled.clone();
        let mut slots: Vec<Buffer<R>> = pooled
            .iter()
            .map(|&i| std::mem::replace(&mut self.pool[i], Buffer::nothing()))
            .collect();
        let mut kept = std::mem::take(&mut self.plans[index].kept);
        let memory = Memory {
            plan: &plan,
            constants: &self.plans[index].constants,
            lasting: &self.lasting,
            given: &given,
        };
        let walked = memory.walk(&mut slots, &mut kept, &self.workers, watch);
        let finished = match walked {
            Ok(ControlFlow::Continue(())) => memory.results(&slots).map(Some),
            Ok(ControlFlow::Break(())) => Ok(None),
            Err(e) => Err(e),
        };
        let outcome = finished.map(|finished| match finished {
            None => Vec::new(),
            Some((outputs, assigned)) => {
                for (&(leaf, _), new) in plan.graph().assigns().iter().zip(assigned) {
                    let leaf = plan.graph().nodes()[leaf.node].leaf();
                    if let Some(own) = leaf.and_then(|leaf| self.lasting.get_mut(&leaf.name)) {
                        own.store(new, &mut slots);
                    }
                }
                outputs
            }
        });
        self.plans[index].kept = kept;
        pooled
            .into_iter()
            .zip(slots)
            .for_each(|(i, slot)| self.pool[i] = slot);
        outcome
    }
}

/// A value to be assigned: still in its slot, where no other assignment looks for it, or copied because one may, or may
/// overwrite the leaf that it lies in.
enum New<R> {
    InSlot(usize),
    Copied(Buffer<R>),
}

impl<R: HostReal> Lasting<R> {
    /// Takes a new value; where leaf and slot are of one length, they exchange their memory.
    fn store(&mut self, new: New<R>, slots: &mut [Buffer<R>]) {
        self.writes += 1;
        match (new, &mut self.buffer) {
            (New::InSlot(slot), Some(own)) if own.len() == slots[slot].len() => {
                std::mem::swap(own, &mut slots[slot]);
            }
            (New::InSlot(slot), Some(own)) => own.copy_from(slots[slot].view(self.spec)),
            (New::InSlot(_), None) => unreachable!("a run needs every leaf written"),
            (New::Copied(buffer), own) => *own = Some(buffer),
        }
    }
}

/// Outputs and what the assigned leaves are to become, both in the graph's order.
type Results<R> = (Vec<Array>, Vec<New<R>>);

/// Everything a step reads that is no slot.
struct Memory<'a, R: Clone> {
    plan: &'a Plan,
    constants: &'a HashMap<usize, Buffer<R>>,
    lasting: &'a HashMap<String, Lasting<R>>,
    given: &'a HashMap<usize, Given<'a, R>>,
}

impl<R: HostReal> Memory<'_, R> {
    /// Computes the steps in order until the end, or until the watch breaks.
    fn walk(
        &self,
        slots: &mut [Buffer<R>],
        kept: &mut HashMap<usize, OfLeaf<R>>,
        workers: &Workers,
        mut watch: Option<&mut Watch>,
    ) -> Result<ControlFlow<()>> {
        for (index, step) in self.plan.steps().iter().enumerate() {
            let begin = Instant::now();
            self.compute(step, slots, kept.get_mut(&index), workers);
            if let Some(watch) = watch.as_mut() {
                let elapsed = begin.elapsed();
                let count = self.plan.graph().nodes()[step.node].outputs.len();
                let values = (0..count).map(|output| {
                    to_array(self.view(
                        slots,
                        ValueId {
                            node: step.node,
                            output,
                        },
                    ))
                });
                let moment = Moment {
                    node: step.node,
                    outputs: values.collect::<Result<_>>()?,
                    casts: Vec::new(),
                    elapsed,
                };
                if watch(moment).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn compute(
        &self,
        step: &Step,
        slots: &mut [Buffer<R>],
        of_leaf: Option<&mut OfLeaf<R>>,
        workers: &Workers,
    ) {
        let node = &self.plan.graph().nodes()[step.node];
        let Some(op) = node.op() else { return };
        // Outputs and scratch leave their slots while the node runs: no slot is read and written by one node.
        let mut take = |slot: usize| std::mem::replace(&mut slots[slot], Buffer::nothing());
        let mut written: Vec<(usize, Buffer<R>)> = Vec::with_capacity(node.outputs.len());
        for output in 0..node.outputs.len() {
            if let Place::Slot(slot) = self.plan.place(ValueId {
                node: step.node,
                output,
            }) {
                written.push((slot, take(slot)));
            }
        }
        let mut scratch: Vec<(usize, Buffer<R>)> = step
            .scratch
            .iter()
            .map(|&(slot, _)| (slot, take(slot)))
            .collect();
        let inputs: Vec<View<R>> = node
            .inputs
            .iter()
            .map(|&value| self.view(slots, value))
            .collect();
        let mut outputs: Vec<ViewMut<R>> = written
            .iter_mut()
            .zip(&node.outputs)
            .map(|((_, buffer), &spec)| buffer.view_mut(spec))
            .collect();
        let mut panels: Vec<&mut [R]> = Vec::with_capacity(scratch.len() + 1);
        for ((_, buffer), &(_, length)) in scratch.iter_mut().zip(&step.scratch) {
            if let Buffer::Real(values) = buffer {
                panels.push(&mut values[..length]);
            }
        }
        match (step.kept, of_leaf) {
            (None, _) => {}
            (Some(keeping), Some(own)) => {
                let writes = Some(self.writes(node.inputs[keeping.what.input]));
                if own.writes != writes {
                    workers.enter(|| R::keep(op, &inputs, &mut own.values, workers));
                    own.writes = writes;
                }
                panels.push(&mut own.values);
            }
            (Some(_), None) => {
                let Some(kept) = panels.last_mut() else {
                    unreachable!("the plan gave it scratch memory")
                };
                workers.enter(|| R::keep(op, &inputs, kept, workers));
            }
        }
        workers.enter(|| R::run(op, &inputs, &mut outputs, &mut panels, workers));
        for (slot, buffer) in written.into_iter().chain(scratch) {
            slots[slot] = buffer;
        }
    }

    fn view<'s>(&'s self, slots: &'s [Buffer<R>], value: ValueId) -> View<'s, R> {
        let spec = self.plan.graph().spec(value);
        match self.plan.place(value) {
            Place::Slot(slot) => slots[slot].view(spec),
            Place::Leaf(node) => self.leaf(node, spec),
        }
    }

    /// How often the leaf that a value lies in has been written.
    fn writes(&self, value: ValueId) -> u64 {
        let graph = self.plan.graph();
        let leaf = graph.nodes()[graph.root(value).node].leaf();
        leaf.and_then(|leaf| self.lasting.get(&leaf.name))
            .map_or(0, |own| own.writes)
    }

    fn leaf(&self, node: usize, spec: Spec) -> View<'_, R> {
        let leaf = self.plan.graph().nodes()[node].leaf();
        let lasting = leaf
            .filter(|leaf| leaf.kind.init().is_some())
            .and_then(|leaf| self.lasting[&leaf.name].buffer.as_ref());
        match (lasting, self.given.get(&node)) {
            (Some(lasting), _) => lasting.view(spec),
            (None, Some(given)) => given.view(spec),
            (None, None) => self.constants[&node].view(spec),
        }
    }

    fn results(&self, slots: &[Buffer<R>]) -> Result<Results<R>> {
        let graph = self.plan.graph();
        let outputs = graph
            .outputs()
            .iter()
            .map(|(_, value)| to_array(self.view(slots, *value)))
            .collect::<Result<_>>()?;
        let mut taken = vec![false; slots.len()];
        let assigned = graph.assigns().iter();
        let assigned = assigned.map(|&(_, value)| match self.plan.place(value) {
            Place::Slot(slot) if !std::mem::replace(&mut taken[slot], true) => New::InSlot(slot),
            _ => New::Copied(Buffer::copy_of(self.view(slots, value))),
        });
        Ok((outputs, assigned.collect()))
    }
}
