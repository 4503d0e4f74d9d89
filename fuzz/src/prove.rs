//! What must hold of every graph that could be recorded.

use axenic::Array;
use axenic::conformance::{Finding, Sample, audit};
use axenic::exec::{Cpu, Executor, Moment, Reference};
use axenic::graph::{Graph, Limits, Target};
use axenic::plan::Plan;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

/// Larger graphs are planned, but not run.
const MAX_FLOPS: u64 = 20_000_000;
const MAX_BYTES: u64 = 64 << 20;
/// Magnitudes within which f32 neither overflows nor underflows on the way: outside, rounding bounds promise nothing.
const TAME: RangeInclusive<f64> = 1e-6..=1e6;

/// The graph can be planned, no value is overwritten while it is alive, both host executors run it, and every number of
/// the fast one lies within its bound.
pub(crate) fn prove(graph: Graph, lasting: &[(String, Array)], inputs: &[(String, Array)]) {
    let graph = Arc::new(graph);
    assert!(!graph.to_string().is_empty());
    let planned = |target| Plan::new(graph.clone(), target);
    // A device may be too small; that is an answer too.
    drop(planned(Target::Gpu(Limits::default())));
    let plan = planned(Target::Cpu { threads: 2 }).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    assert!(plan.steps().is_empty() || !plan.to_string().is_empty());
    let plan = planned(Target::Reference).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    if plan.cost().flops > MAX_FLOPS || plan.peak_bytes() > MAX_BYTES {
        return;
    }
    let (lasting, inputs) = (named(lasting), named(inputs));
    let is_tame = run_reference(&graph, &lasting, &inputs);
    let mut cpu = Cpu::new(2).expect("threads");
    let findings = audit(&graph, &mut cpu, &lasting, &inputs, Sample::All)
        .unwrap_or_else(|e| panic!("{e}\n{graph}"));
    if is_tame && let Some(finding) = findings.iter().find(is_wrong) {
        panic!("{finding:?}\n{graph}");
    }
}

/// An infinite bound proves nothing about random numbers: they may lie on a pole.
fn is_wrong(finding: &&Finding) -> bool {
    finding.bound.is_finite() && finding.ratio > 1.0
}

fn named(all: &[(String, Array)]) -> Vec<(&str, &Array)> {
    all.iter()
        .map(|(name, array)| (name.as_str(), array))
        .collect()
}

/// Runs on the reference; gives whether all numbers are tame.
fn run_reference(
    graph: &Arc<Graph>,
    lasting: &[(&str, &Array)],
    inputs: &[(&str, &Array)],
) -> bool {
    let given = lasting.iter().chain(inputs).map(|(_, array)| array);
    let mut tame = given.into_iter().all(|array| is_tame(array));
    let mut watch = |moment: Moment| {
        tame &= moment.outputs.iter().all(is_tame);
        ControlFlow::Continue(())
    };
    let mut reference = Reference::new(2).expect("threads");
    let mut run = || {
        let plan = Arc::new(Plan::new(graph.clone(), reference.target())?);
        let prepared = reference.prepare(plan)?;
        for &(name, value) in lasting {
            reference.write(name, value.clone())?;
        }
        reference.run(prepared, inputs, Some(&mut watch))
    };
    run().unwrap_or_else(|e| panic!("{e}\n{graph}"));
    tame
}

fn is_tame(array: &Array) -> bool {
    let tame = |x: &f64| *x == 0.0 || TAME.contains(&x.abs());
    array.as_u32().is_some() || array.to_f64().iter().all(tame)
}
