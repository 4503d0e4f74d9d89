//! An executor with the plans of a study: a training step, its shorter last batch, an evaluation. They share parameters
//! and states; each is made when it is first needed, and kept.

use super::Weights;
use crate::array::Array;
use crate::error::{Error, Result};
use crate::exec::{Executor, HostTime, Moment, Prepared};
use crate::graph::{Graph, Target};
use crate::ops::{WinogradTile, with_winograd};
use crate::plan::Plan;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Results by name.
#[derive(Debug)]
pub struct Values(Vec<(String, Array)>);

impl Values {
    /// The result of this name.
    ///
    /// # Errors
    /// The graph has none.
    pub fn get(&self, name: &str) -> Result<&Array> {
        self.0
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, array)| array)
            .ok_or_else(|| Error::shape(format!("the graph has no output {name:?}")))
    }

    /// The single number of this name.
    ///
    /// # Errors
    /// The graph has none.
    pub fn number(&self, name: &str) -> Result<f64> {
        Ok(self
            .get(name)?
            .to_f64()
            .first()
            .copied()
            .unwrap_or(f64::NAN))
    }

    /// All results, in the graph's order.
    pub fn into_inner(self) -> Vec<(String, Array)> {
        self.0
    }
}

struct Ready {
    prepared: Prepared,
    plan: Arc<Plan>,
    /// The digest of the recorded graph, if that was given as it is.
    given: Option<String>,
}

/// An executor and its plans.
pub struct Runner {
    executor: Box<dyn Executor>,
    winograd: Option<WinogradTile>,
    plans: HashMap<(&'static str, usize), Ready>,
}

impl Runner {
    /// Nothing prepared yet.
    pub fn new(executor: Box<dyn Executor>) -> Self {
        Self {
            executor,
            winograd: None,
            plans: HashMap::new(),
        }
    }

    /// The same, with all convolutions in tiles of this size where the host computes them. `None` leaves them as recorded.
    #[must_use]
    pub fn with_winograd(self, winograd: Option<WinogradTile>) -> Self {
        Self { winograd, ..self }
    }

    /// The executor.
    pub fn executor(&mut self) -> &mut dyn Executor {
        self.executor.as_mut()
    }

    /// The device in words.
    pub fn description(&self) -> String {
        self.executor.description()
    }

    /// The device in words, without the number of threads, which changes no bit.
    pub fn device(&mut self) -> String {
        match self.executor.target() {
            Target::Reference => "reference".to_string(),
            Target::Cpu { .. } => "cpu".to_string(),
            Target::Gpu(_) => self.description(),
        }
    }

    /// Prepares the graph for a purpose and batch size, unless that was done before, and gives it as it is computed
    /// ([`Graph::folded`]).
    ///
    /// # Errors
    /// Recording, planning or preparing fails.
    pub fn prepare(
        &mut self,
        purpose: &'static str,
        batch: usize,
        record: impl FnOnce() -> Result<Graph>,
    ) -> Result<Arc<Graph>> {
        if let Some(ready) = self.plans.get(&(purpose, batch)) {
            return Ok(ready.plan.graph().clone());
        }
        self.make_ready(purpose, batch, record()?.folded(), None)
    }

    /// Prepares this very graph, as one that gives the same bits whatever else is computed with it ([`Graph::fused`]). `None` if
    /// another was prepared for this purpose and batch size before, or by [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn prepare_graph(
        &mut self,
        purpose: &'static str,
        batch: usize,
        graph: &Graph,
    ) -> Result<Option<Arc<Graph>>> {
        let digest = Some(graph.digest());
        match self.plans.get(&(purpose, batch)) {
            None => {
                let prepared = self.make_ready(purpose, batch, graph.fused(), digest);
                prepared.map(Some)
            }
            Some(ready) => Ok((ready.given == digest).then(|| ready.plan.graph().clone())),
        }
    }

    fn make_ready(
        &mut self,
        purpose: &'static str,
        batch: usize,
        mut graph: Graph,
        given: Option<String>,
    ) -> Result<Arc<Graph>> {
        if let Some(tile) = self.winograd {
            graph = with_winograd(&graph, tile);
        }
        let plan = Arc::new(Plan::new(Arc::new(graph), self.executor.target())?);
        let prepared = self.executor.prepare(plan.clone())?;
        let graph = plan.graph().clone();
        let ready = Ready {
            prepared,
            plan,
            given,
        };
        self.plans.insert((purpose, batch), ready);
        Ok(graph)
    }

    /// Runs what was prepared for a purpose and batch size.
    ///
    /// # Errors
    /// It was not prepared, or the run fails.
    pub fn run(
        &mut self,
        purpose: &'static str,
        batch: usize,
        inputs: &[(&str, &Array)],
    ) -> Result<Values> {
        let (prepared, plan) = self.ready(purpose, batch)?;
        let outputs = self.executor.run(prepared, inputs, None)?;
        let names = plan.graph().outputs().iter().map(|(name, _)| name.clone());
        Ok(Values(names.zip(outputs).collect()))
    }

    /// Runs what was prepared, node by node, up to the first operation that gives NaN or infinity, and tells which one that
    /// is (as joined with what follows it, [`Graph::folded`]); nothing is assigned then. `None` if there is no such operation: then the run is done, as by [`run`](Self::run).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_to_fault(
        &mut self,
        purpose: &'static str,
        batch: usize,
        inputs: &[(&str, &Array)],
    ) -> Result<Option<String>> {
        let (prepared, plan) = self.ready(purpose, batch)?;
        let mut fault = None;
        let mut watch = |moment: Moment| {
            if moment.outputs.iter().all(Array::is_finite) {
                return ControlFlow::Continue(());
            }
            fault = Some(plan.graph().describe(moment.node));
            ControlFlow::Break(())
        };
        self.executor.run(prepared, inputs, Some(&mut watch))?;
        Ok(fault)
    }

    fn ready(&self, purpose: &'static str, batch: usize) -> Result<(Prepared, Arc<Plan>)> {
        let ready = self.plans.get(&(purpose, batch)).ok_or_else(|| {
            Error::shape(format!(
                "nothing is prepared for {purpose} with batch {batch}"
            ))
        })?;
        Ok((ready.prepared, ready.plan.clone()))
    }

    /// What the last run of a prepared plan cost the host; `None` where the host computes itself.
    pub fn host_time(&self, purpose: &'static str, batch: usize) -> Option<HostTime> {
        let ready = self.plans.get(&(purpose, batch))?;
        self.executor.host_time(ready.prepared)
    }

    /// The floating-point operations of a prepared plan; 0 if there is none.
    pub fn flops(&self, purpose: &'static str, batch: usize) -> u64 {
        self.plans
            .get(&(purpose, batch))
            .map_or(0, |ready| ready.plan.cost().flops)
    }

    /// The planned peak bytes: those of the largest plan, and what all others keep of parameters.
    pub fn peak_bytes(&self) -> u64 {
        let plans = || self.plans.values().map(|ready| &ready.plan);
        let largest = plans().map(|plan| plan.peak_bytes() - plan.kept_bytes());
        let kept: u64 = plans().map(|plan| plan.kept_bytes()).sum();
        largest.max().unwrap_or(0) + kept
    }

    /// The present values of a prepared graph's parameters and states.
    ///
    /// # Errors
    /// The executor fails.
    pub fn weights(&mut self, graph: &Graph) -> Result<Weights> {
        Weights::read_back(graph, self.executor.as_mut())
    }

    /// Sets the parameters and states of a prepared graph.
    ///
    /// # Errors
    /// The weights do not fit.
    pub fn set_weights(&mut self, graph: &Graph, weights: Weights) -> Result<()> {
        weights.write_to(graph, self.executor.as_mut())
    }
}
