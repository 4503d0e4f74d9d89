//! Fine-tuning: blocks computed again, frozen parts and groups, and features kept on disk.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/disk.rs"]
mod failing;
mod features;
mod fit;
mod given;
mod groups;
mod recompute;

use axenic::array::{Element, Spec};
use axenic::exec::{Cpu, Executor, Reference};
use axenic::graph::{Graph, LeafKind};
use axenic::plan::Plan;
use axenic::rng::{Stream, stream_key};
use axenic::train::Weights;
use axenic::{Array, Result};
use std::sync::Arc;

/// One of each kind; a device only where there is an adapter.
fn executors() -> Vec<Box<dyn Executor>> {
    let mut all: Vec<Box<dyn Executor>> = vec![
        Box::new(Reference::new(1).expect("threads")),
        Box::new(Cpu::new(2).expect("threads")),
    ];
    if let Some(gpu) = common::gpu(axenic::exec::gpu::Checks::On) {
        all.push(Box::new(gpu));
    }
    all
}

/// Normal numbers, or for an index input a key of chance.
fn numbers(spec: Spec, seed: u64) -> Array {
    if spec.element == Element::Index {
        return stream_key(seed, "tuning test", 0).into();
    }
    let mut stream = Stream::new(seed, "tuning test", 0, 0);
    let values: Vec<f32> = (0..spec.shape.elements())
        .map(|_| stream.normal() as f32)
        .collect();
    Array::new(spec.shape, values).expect("as many as the shape has")
}

/// Every input of a graph.
fn inputs(graph: &Graph) -> Vec<(String, Array)> {
    let inputs = graph
        .leaves()
        .filter(|(_, leaf, _)| matches!(leaf.kind, LeafKind::Input));
    inputs
        .map(|(_, leaf, spec)| (leaf.name.clone(), numbers(spec, leaf.name.len() as u64)))
        .collect()
}

/// Outputs and lasting values, all by name, after so many runs.
fn run(executor: &mut dyn Executor, graph: &Arc<Graph>, runs: usize) -> Vec<(String, Vec<u64>)> {
    let plan = Plan::new(graph.clone(), executor.target()).expect("a plan");
    let prepared = executor.prepare(Arc::new(plan)).expect("it prepares");
    let first = Weights::initial(graph, 1).expect("weights");
    first.write_to(graph, executor).expect("they fit");
    let own = inputs(graph);
    let own: Vec<(&str, &Array)> = own.iter().map(|(name, array)| (&**name, array)).collect();
    let mut outputs = Vec::new();
    for _ in 0..runs {
        outputs = executor.run(prepared, &own, None).expect("it runs");
    }
    let names = graph.outputs().iter().map(|(name, _)| name.clone());
    let mut all: Vec<(String, Array)> = names.zip(outputs).collect();
    all.extend(
        Weights::read_back(graph, executor)
            .expect("readable")
            .tensors,
    );
    all.into_iter()
        .map(|(name, array)| (name, bits(&array)))
        .collect()
}

fn bits(array: &Array) -> Vec<u64> {
    array.to_f64().iter().map(|x| x.to_bits()).collect()
}

/// The planned peak for the host, in bytes.
fn peak(graph: Graph) -> u64 {
    let target = axenic::graph::Target::Cpu { threads: 1 };
    let plan = Plan::new(Arc::new(graph), target).expect("a plan");
    plan.peak_bytes()
}

fn refused(result: Result<Graph>) -> String {
    result.expect_err("it is refused").to_string()
}
