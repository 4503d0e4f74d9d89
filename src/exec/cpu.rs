//! The fast host executor: f32, all cores, each room's `eval_cpu`.

use super::host::{Host, HostReal};
use super::{Executor, Prepared, Watch};
use crate::array::{Array, Numbers};
use crate::error::Result;
use crate::graph::{AnyOp, Target, View, ViewMut};
use crate::plan::Plan;
use crate::workers::Workers;
use std::borrow::Cow;
use std::sync::Arc;

/// Runs plans in f32 on the host's cores. The bits do not depend on the number of workers.
pub struct Cpu(Host<f32>);

impl Cpu {
    /// An executor with this many workers; 0 means one for each core.
    ///
    /// # Errors
    /// The system refuses the threads.
    pub fn new(threads: usize) -> Result<Self> {
        Ok(Self(Host::new(Workers::new(threads)?)))
    }
}

impl HostReal for f32 {
    fn run(
        op: &dyn AnyOp,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        op.eval_cpu(inputs, outputs, scratch, workers);
    }

    fn keep(op: &dyn AnyOp, inputs: &[View<f32>], kept: &mut [f32], workers: &Workers) {
        op.keep(inputs, kept, workers);
    }

    fn of_array(array: &Array) -> Cow<'_, [f32]> {
        array.to_f32()
    }

    fn from_array(array: Array) -> Vec<f32> {
        array.into_f32()
    }

    fn into_numbers(values: Vec<f32>) -> Numbers {
        Numbers::F32(values)
    }
}

impl Executor for Cpu {
    fn description(&self) -> String {
        format!("cpu ({} threads)", self.0.workers().count())
    }

    fn target(&self) -> Target {
        Target::Cpu {
            threads: self.0.workers().count(),
        }
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
