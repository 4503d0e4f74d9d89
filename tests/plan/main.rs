//! Plans on all executors: slots never change results, state lasts and is shared, wrong use is refused in the same words.

use axenic::exec::{Cpu, Executor, Prepared, Reference};
use axenic::graph::{Graph, Recorder};
use axenic::plan::Plan;
use axenic::rng::Stream;
use axenic::shape::Shape;
use axenic::{Array, Result};
use std::sync::Arc;

#[cfg(feature = "gpu")]
#[path = "../common/mod.rs"]
mod common;
mod kept;
mod random;
mod state;
mod storage;

/// One of each kind; a device only where there is an adapter.
fn executors() -> Vec<Box<dyn Executor>> {
    let mut all: Vec<Box<dyn Executor>> = vec![
        Box::new(Reference::new(1).expect("threads")),
        Box::new(Cpu::new(2).expect("threads")),
    ];
    #[cfg(feature = "gpu")]
    {
        use axenic::exec::gpu::Checks;
        if let (Some(on), Some(off)) = (common::gpu(Checks::On), common::gpu(Checks::Off)) {
            all.push(Box::new(on));
            all.push(Box::new(off));
        }
    }
    all
}

fn record(build: impl for<'g> FnOnce(&'g Recorder) -> Result<()>) -> Arc<Graph> {
    Arc::new(Graph::record(build).expect("it can be recorded"))
}

fn prepare(executor: &mut dyn Executor, graph: &Arc<Graph>) -> Prepared {
    let plan = Plan::new(graph.clone(), executor.target()).expect("it can be planned");
    executor
        .prepare(Arc::new(plan))
        .expect("it can be prepared")
}

fn bits(array: &Array) -> Vec<u64> {
    array.to_f64().iter().map(|x| x.to_bits()).collect()
}

fn numbers(shape: Shape, seed: u64) -> Array {
    let mut stream = Stream::new(seed, "plan test", 0, 0);
    let values: Vec<f32> = (0..shape.elements())
        .map(|_| stream.normal() as f32)
        .collect();
    Array::new(shape, values).expect("as many as the shape has")
}
