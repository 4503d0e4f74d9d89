//! Two executors in step: the same plan and inputs, compared node by node.

use super::{Executor, Moment};
use crate::array::Array;
use crate::error::Result;
use crate::graph::Graph;
use crate::plan::Plan;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// How far apart two executors are in one value.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The node.
    pub node: usize,
    /// Which of its values.
    pub output: usize,
    /// ‖a − b‖ / ‖b‖, or ‖a‖ where b is all zero; infinite where only one of them is NaN.
    pub relative: f64,
    /// The largest difference of two elements.
    pub largest: f64,
}

/// Runs a graph on both executors from the same leaves and inputs, and compares every value that both compute. `b` is
/// what `a` is measured against.
///
/// # Errors
/// As [`Executor::run`].
pub fn compare(
    graph: &Arc<Graph>,
    a: &mut dyn Executor,
    b: &mut dyn Executor,
    lasting: &[(&str, &Array)],
    inputs: &[(&str, &Array)],
) -> Result<Vec<Difference>> {
    let mut seen: HashMap<usize, Vec<Array>> = HashMap::new();
    let mut keep = |moment: Moment| {
        seen.insert(moment.node, moment.outputs);
        ControlFlow::Continue(())
    };
    run_fresh(graph, b, lasting, inputs, &mut keep)?;
    let mut differences = Vec::new();
    let mut against = |moment: Moment| {
        let other = seen.get(&moment.node).map_or(&[][..], Vec::as_slice);
        for (output, (a, b)) in moment.outputs.iter().zip(other).enumerate() {
            differences.push(difference(moment.node, output, a, b));
        }
        ControlFlow::Continue(())
    };
    run_fresh(graph, a, lasting, inputs, &mut against)?;
    Ok(differences)
}

fn run_fresh(
    graph: &Arc<Graph>,
    executor: &mut dyn Executor,
    lasting: &[(&str, &Array)],
    inputs: &[(&str, &Array)],
    watch: &mut super::Watch,
) -> Result<()> {
    let plan = executor.prepare(Arc::new(Plan::new(graph.clone(), executor.target())?))?;
    lasting
        .iter()
        .try_for_each(|&(name, value)| executor.write(name, value.clone()))?;
    executor.run(plan, inputs, Some(watch))?;
    Ok(())
}

fn difference(node: usize, output: usize, a: &Array, b: &Array) -> Difference {
    let (a, b) = (a.to_f64(), b.to_f64());
    let (mut distance, mut norm, mut largest) = (0.0, 0.0, 0f64);
    for (&x, &y) in a.iter().zip(b.iter()) {
        let gap = match (x.is_nan(), y.is_nan()) {
            (true, true) => 0.0,
            (false, false) if x == y => 0.0,
            (false, false) => (x - y).abs(),
            _ => f64::INFINITY,
        };
        distance += gap * gap;
        norm += if y.is_finite() { y * y } else { 0.0 };
        largest = largest.max(gap);
    }
    let relative = if norm > 0.0 {
        (distance / norm).sqrt()
    } else {
        distance.sqrt()
    };
    Difference {
        node,
        output,
        relative,
        largest,
    }
}
