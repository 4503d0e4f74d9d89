//! What a device can do at most, measured.

use crate::array::{Array, Spec};
use crate::error::Result;
use crate::exec::{Executor, Moment};
use crate::graph::{Cost, Graph, Target};
use crate::ops::{Transpose, matmul, relu};
use crate::plan::Plan;
use crate::rng::Stream;
use serde::Serialize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// The two limits under which every operation runs: how fast a device computes, and how fast it moves data. The name
/// comes from the figure: the attainable speed over the work for each byte rises with a slope, then is level.
///
/// S. Williams, A. Waterman, D. Patterson: Roofline: an insightful visual performance model for multicore architectures,
/// Communications of the ACM 52 (4), 2009.
#[derive(Clone, Debug, Serialize)]
pub struct Roofline {
    /// Floating-point operations in a second: the fastest product of two square matrices.
    pub flops_per_second: f64,
    /// Bytes read and written in a second: the largest element-wise operation, too large for caches where it can be.
    pub bytes_per_second: f64,
    /// Rows of the largest matrices that were tried.
    pub matmul_rows: usize,
    /// Elements of the largest element-wise operation.
    pub relu_elements: usize,
}

/// What limits an operation, if nothing else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Computing.
    Compute,
    /// Moving data.
    Memory,
}

/// A run this long says more about the device than about starting it.
const LONG_ENOUGH: Duration = Duration::from_millis(10);

/// No value of a measurement is larger.
const LARGEST_BYTES: u64 = 256 << 20;

const RUNS: usize = 3;

impl Roofline {
    /// Measures a matrix product and an element-wise operation, growing until a run takes ten milliseconds or the values
    /// reach 256 MiB (or what the device can bind).
    ///
    /// # Errors
    /// The device fails.
    pub fn measure(executor: &mut dyn Executor) -> Result<Self> {
        let largest = match executor.target() {
            Target::Gpu(limits) => limits.binding_bytes.min(LARGEST_BYTES),
            Target::Reference | Target::Cpu { .. } => LARGEST_BYTES,
        };
        let fits = |elements: usize| 4 * elements as u64 <= largest;

        let (mut rows, mut flops_per_second) = (256, 0.0_f64);
        loop {
            let (cost, time) = fastest(executor, Arc::new(product(rows)?))?;
            flops_per_second = flops_per_second.max(per_second(cost.flops, time));
            if time >= LONG_ENOUGH || !fits(4 * rows * rows) {
                break;
            }
            rows *= 2;
        }
        let mut elements = 1 << 20;
        let bytes_per_second = loop {
            let (cost, time) = fastest(executor, Arc::new(stream(elements)?))?;
            if time >= LONG_ENOUGH || !fits(4 * elements) {
                break per_second(cost.bytes_read + cost.bytes_written, time);
            }
            elements *= 4;
        };
        Ok(Self {
            flops_per_second,
            bytes_per_second,
            matmul_rows: rows,
            relu_elements: elements,
        })
    }

    /// The least time that work can take, in nanoseconds: that of its computing or of its traffic, whichever is longer.
    pub fn attainable_nanoseconds(&self, cost: Cost) -> f64 {
        let (compute, memory) = self.seconds(cost);
        1e9 * compute.max(memory)
    }

    /// Which of the two takes longer.
    pub fn bound(&self, cost: Cost) -> Bound {
        let (compute, memory) = self.seconds(cost);
        if compute > memory {
            Bound::Compute
        } else {
            Bound::Memory
        }
    }

    fn seconds(&self, cost: Cost) -> (f64, f64) {
        let bytes = cost.bytes_read + cost.bytes_written;
        (
            cost.flops as f64 / self.flops_per_second,
            bytes as f64 / self.bytes_per_second,
        )
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

fn product(rows: usize) -> Result<Graph> {
    Graph::record(|r| {
        let a = r.input("a", Spec::real([rows, rows]))?;
        let b = r.input("b", Spec::real([rows, rows]))?;
        r.output("y", matmul(a, b, Transpose::No, Transpose::No)?)
    })
}

fn stream(elements: usize) -> Result<Graph> {
    Graph::record(|r| {
        let x = r.input("x", Spec::real([elements]))?;
        r.output("y", relu(x)?)
    })
}

/// The work of a graph's only step and its shortest time, behind a run that warms up.
fn fastest(executor: &mut dyn Executor, graph: Arc<Graph>) -> Result<(Cost, Duration)> {
    let plan = Arc::new(Plan::new(graph.clone(), executor.target())?);
    let prepared = executor.prepare(plan.clone())?;
    let numbers = graph
        .leaves()
        .map(|(value, leaf, spec)| Ok((leaf.name.as_str(), noise(spec, value.node)?)));
    let numbers: Vec<(&str, Array)> = numbers.collect::<Result<_>>()?;
    let inputs: Vec<(&str, &Array)> = numbers.iter().map(|(name, array)| (*name, array)).collect();
    let mut best = Duration::MAX;
    for run in 0..=RUNS {
        let mut watch = |moment: Moment| {
            if run > 0 {
                best = best.min(moment.elapsed);
            }
            ControlFlow::Continue(())
        };
        executor.run(prepared, &inputs, Some(&mut watch))?;
    }
    Ok((plan.cost(), best))
}

/// Numbers as data have them: constant ones cost some devices less power, and let them run faster than they can. A block
/// of random numbers, repeated.
fn noise(spec: Spec, number: usize) -> Result<Array> {
    let mut stream = Stream::new(0, "roofline", 0, number as u64);
    let block: Vec<f32> = (0..4093).map(|_| stream.range(-1.0, 1.0) as f32).collect();
    let repeated = block.iter().copied().cycle().take(spec.shape.elements());
    Array::new(spec.shape, repeated.collect::<Vec<f32>>())
}
