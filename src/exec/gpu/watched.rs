//! A run that is watched: one submission a node, its time taken and its outputs read back.

use super::device::Device;
use super::memory::Staging;
use super::ready::{Ready, ReadyStep};
use crate::array::{Array, Spec};
use crate::error::Result;
use crate::exec::{Moment, Watch};
use crate::graph::{Storage, ValueId};
use std::time::{Duration, Instant};

/// Runs step by step. Assigns only if the watch lets it come to the end.
pub(super) fn run(device: &Device, ready: &Ready, watch: &mut Watch) -> Result<Vec<Array>> {
    let clock = Clock::new(device);
    for step in &ready.steps {
        let moment = run_step(device, ready, step, clock.as_ref())
            .map_err(|e| e.within(ready.plan.graph().describe(step.node)))?;
        if watch(moment).is_break() {
            return Ok(Vec::new());
        }
    }
    ready.finish(device, device.encoder())
}

fn run_step(
    device: &Device,
    ready: &Ready,
    step: &ReadyStep,
    clock: Option<&Clock>,
) -> Result<Moment> {
    let (plan, graph) = (&ready.plan, ready.plan.graph());
    let node = step.node;
    let count = graph.nodes()[node].outputs.len();
    let values: Vec<_> = (0..count).map(|output| ValueId { node, output }).collect();
    let parts = values
        .iter()
        .map(|&value| (graph.spec(value), plan.storage(value)));
    let copies = step
        .casts
        .iter()
        .map(|&value| (graph.spec(value), plan.storage(value).other()));
    let ticks = clock.map(|_| (Clock::spec(), Storage::Full));
    let staging = Staging::new(device, parts.chain(copies).chain(ticks).collect());
    let outputs = values.iter().map(|&value| ready.buffer(value));
    let copies = step.casts.iter().map(|&value| ready.cast(value));

    let begin = Instant::now();
    let mut encoder = device.encoder();
    ready.record_step(&mut encoder, step, clock.map(Clock::writes));
    if let Some(clock) = clock {
        clock.resolve(&mut encoder);
    }
    let ticks = clock.map(|clock| &clock.ticks);
    staging.fill(&mut encoder, outputs.chain(copies).chain(ticks));
    device.submit(encoder)?;
    let mut outputs = staging.fetch(device)?;
    let elapsed = match clock {
        None => begin.elapsed(),
        Some(clock) => {
            let ticks = outputs.pop();
            ticks.map_or(Duration::ZERO, |ticks| clock.elapsed(&ticks))
        }
    };
    let copies = outputs.split_off(count);
    Ok(Moment {
        node,
        outputs,
        casts: step.casts.iter().copied().zip(copies).collect(),
        elapsed: if step.is_empty() {
            Duration::ZERO
        } else {
            elapsed
        },
    })
}

/// The device's own clock.
struct Clock {
    queries: wgpu::QuerySet,
    /// Where the device puts the two readings.
    ticks: wgpu::Buffer,
    nanoseconds_per_tick: f64,
}

impl Clock {
    /// Two readings of 64 bits, low words first.
    fn spec() -> Spec {
        Spec::index([4])
    }

    /// `None` where the adapter has no clock.
    fn new(device: &Device) -> Option<Self> {
        if !device.adapter.timestamps {
            return None;
        }
        let queries = device.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let ticks = device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("ticks"),
            size: 16,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let nanoseconds_per_tick = f64::from(device.queue.get_timestamp_period());
        Some(Self {
            queries,
            ticks,
            nanoseconds_per_tick,
        })
    }

    fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..2, &self.ticks, 0);
    }

    fn elapsed(&self, ticks: &Array) -> Duration {
        let Some(&[low, high, end_low, end_high]) = ticks.as_u32() else {
            return Duration::ZERO;
        };
        let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        let ticks = join(end_low, end_high).saturating_sub(join(low, high));
        Duration::from_nanos((ticks as f64 * self.nanoseconds_per_tick) as u64)
    }
}
