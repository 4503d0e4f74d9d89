//! A plan made ready: its buffers, and its launches with everything bound.

use super::device::Device;
use super::memory::{Staging, binding_bytes, buffer, bytes, copy, upload};
use super::pipeline::{Pipelines, uniform_bytes};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::exec::HostTime;
use crate::graph::{Binding, Launch, LeafKind, SCALES_BINDING, ValueId};
use crate::plan::{Place, Plan, Step};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use wgpu::{BindGroup, Buffer, BufferUsages, CommandEncoder, ComputePipeline};

/// With more launches the device starts on the first while the host still records the rest. (Recording a launch takes the
/// host about 0.7 µs, a submission 5 µs.)
const LAUNCHES_PER_SUBMISSION: usize = 1024;

/// One launch with everything bound.
struct Dispatch {
    pipeline: ComputePipeline,
    bindings: BindGroup,
    workgroups: [u32; 3],
}

/// The launches of a node; none if its outputs are empty.
pub(super) struct ReadyStep {
    pub(super) node: usize,
    pub(super) casts: Vec<ValueId>,
    dispatches: Range<usize>,
}

impl ReadyStep {
    /// Whether the device has anything to do for it.
    pub(super) fn is_empty(&self) -> bool {
        self.dispatches.is_empty()
    }
}

/// The buffers of a plan.
struct Buffers {
    slots: Vec<Buffer>,
    /// By node: the lasting ones are shared with other plans.
    leaves: HashMap<usize, Buffer>,
}

impl Buffers {
    fn of(&self, plan: &Plan, value: ValueId) -> &Buffer {
        self.at(plan.place(value))
    }

    fn at(&self, place: Place) -> &Buffer {
        match place {
            Place::Slot(slot) => &self.slots[slot],
            Place::Leaf(node) => &self.leaves[&node],
        }
    }
}

/// A copy at the end of a run.
struct Copy {
    from: Buffer,
    to: Buffer,
    bytes: u64,
}

/// A plan that can be run.
pub(super) struct Ready {
    pub(super) plan: Arc<Plan>,
    buffers: Buffers,
    pub(super) steps: Vec<ReadyStep>,
    dispatches: Vec<Dispatch>,
    results: Staging,
    assignments: Vec<Copy>,
    /// What the last run cost the host.
    pub(super) host_time: Option<HostTime>,
}

impl Ready {
    /// Makes a plan ready. `lasting` has the buffers of parameters and states by name.
    pub(super) fn new(
        device: &Device,
        pipelines: &mut Pipelines,
        plan: Arc<Plan>,
        lasting: impl Fn(&str) -> Option<Buffer>,
    ) -> Result<Self> {
        let buffers = make_buffers(device, &plan, lasting);
        let outputs = plan.graph().outputs().iter();
        let parts = outputs.map(|(_, value)| (plan.graph().spec(*value), plan.storage(*value)));
        let results = Staging::new(device, parts.collect());
        let assignments = plan_assignments(device, &plan, &buffers);
        device.check().map_err(|e| {
            let mib = plan.peak_bytes().div_ceil(1 << 20);
            e.within(format!("making room for a plan of {mib} MiB"))
        })?;
        let uniforms = Uniforms::new(device, &plan);
        let mut steps = Vec::with_capacity(plan.steps().len());
        let mut dispatches = Vec::new();
        for (i, step) in plan.steps().iter().enumerate() {
            let first = dispatches.len();
            for (k, launch) in step.launches.iter().enumerate() {
                let made = Binder {
                    device,
                    plan: &plan,
                    buffers: &buffers,
                    step,
                }
                .bind(pipelines, launch, uniforms.block(i, k, launch))
                .map_err(|e| e.within(plan.graph().describe(step.node)))?;
                dispatches.push(made);
            }
            steps.push(ReadyStep {
                node: step.node,
                casts: step.casts.clone(),
                dispatches: first..dispatches.len(),
            });
        }
        Ok(Self {
            plan,
            buffers,
            steps,
            dispatches,
            results,
            assignments,
            host_time: None,
        })
    }

    /// Sends an input.
    pub(super) fn give(&self, device: &Device, node: usize, array: &Array) {
        upload(device, &self.buffers.leaves[&node], array);
    }

    /// Runs all steps and assigns.
    pub(super) fn run(&mut self, device: &Device) -> Result<Vec<Array>> {
        let begin = Instant::now();
        let mut encoder = device.encoder();
        for (i, part) in self.dispatches.chunks(LAUNCHES_PER_SUBMISSION).enumerate() {
            if i > 0 {
                device.submit(std::mem::replace(&mut encoder, device.encoder()))?;
            }
            record(&mut encoder, part, None);
        }
        self.submit_last(device, encoder)?;
        self.host_time = Some(HostTime {
            dispatches: self.dispatches.len(),
            elapsed: begin.elapsed(),
        });
        self.results.fetch(device)
    }

    /// Records the launches of a step.
    pub(super) fn record_step(
        &self,
        encoder: &mut CommandEncoder,
        step: &ReadyStep,
        timestamps: Option<wgpu::ComputePassTimestampWrites>,
    ) {
        record(
            encoder,
            &self.dispatches[step.dispatches.clone()],
            timestamps,
        );
    }

    /// The buffer of a value.
    pub(super) fn buffer(&self, value: ValueId) -> &Buffer {
        self.buffers.of(&self.plan, value)
    }

    /// The buffer of the copy of a value in the other storage.
    pub(super) fn cast(&self, value: ValueId) -> &Buffer {
        self.buffers.at(self.plan.cast(value).0)
    }

    /// Submits what is recorded, and gives the results.
    pub(super) fn finish(&self, device: &Device, encoder: CommandEncoder) -> Result<Vec<Array>> {
        self.submit_last(device, encoder)?;
        self.results.fetch(device)
    }

    /// Submits what is recorded, behind it the reading of the results, then the assignments: a result may lie in a leaf that
    /// is overwritten.
    fn submit_last(&self, device: &Device, mut encoder: CommandEncoder) -> Result<()> {
        let outputs = self.plan.graph().outputs().iter();
        let sources = outputs.map(|(_, value)| self.buffers.of(&self.plan, *value));
        self.results.fill(&mut encoder, sources);
        for assignment in &self.assignments {
            copy(
                &mut encoder,
                &assignment.from,
                &assignment.to,
                assignment.bytes,
            );
        }
        device.submit(encoder)
    }
}

fn record(
    encoder: &mut CommandEncoder,
    dispatches: &[Dispatch],
    timestamp_writes: Option<wgpu::ComputePassTimestampWrites>,
) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
        label: None,
        timestamp_writes,
    });
    for dispatch in dispatches {
        pass.set_pipeline(&dispatch.pipeline);
        pass.set_bind_group(0, &dispatch.bindings, &[]);
        let [x, y, z] = dispatch.workgroups;
        pass.dispatch_workgroups(x, y, z);
    }
}

fn make_buffers(device: &Device, plan: &Plan, lasting: impl Fn(&str) -> Option<Buffer>) -> Buffers {
    let slots = plan.slots().iter();
    let slots = slots.map(|slot| buffer(device, slot.length)).collect();
    let leaf = |(value, leaf, spec): (ValueId, &crate::graph::Leaf, crate::array::Spec)| {
        let shared = leaf.kind.init().and_then(|_| lasting(&leaf.name));
        let buffer = shared.unwrap_or_else(|| buffer(device, spec.shape.elements()));
        if let LeafKind::Constant(array) = &leaf.kind {
            upload(device, &buffer, array);
        }
        (value.node, buffer)
    };
    Buffers {
        slots,
        leaves: plan.graph().leaves().map(leaf).collect(),
    }
}

/// The copies that carry out the assignments. A value that lies in a leaf which is itself overwritten (two states
/// exchanged) is saved first.
fn plan_assignments(device: &Device, plan: &Plan, buffers: &Buffers) -> Vec<Copy> {
    let assigns = plan.graph().assigns();
    let overwritten = |node| assigns.iter().any(|(leaf, _)| leaf.node == node);
    let (mut saves, mut copies) = (Vec::new(), Vec::new());
    for &(leaf, value) in assigns {
        let elements = plan.graph().spec(leaf).shape.elements();
        let mut from = buffers.of(plan, value).clone();
        let to = buffers.leaves[&leaf.node].clone();
        match plan.place(value) {
            Place::Leaf(node) if node == leaf.node => continue,
            Place::Leaf(node) if overwritten(node) => {
                let saved = buffer(device, elements);
                saves.push(Copy {
                    from: std::mem::replace(&mut from, saved.clone()),
                    to: saved,
                    bytes: bytes(elements),
                });
            }
            _ => {}
        }
        copies.push(Copy {
            from,
            to,
            bytes: bytes(elements),
        });
    }
    saves.append(&mut copies);
    saves
}

/// The words of all launches of a plan in one buffer.
struct Uniforms {
    buffer: Buffer,
    /// By step and launch.
    offsets: Vec<Vec<u64>>,
}

impl Uniforms {
    fn new(device: &Device, plan: &Plan) -> Self {
        let alignment = device.device.limits().min_uniform_buffer_offset_alignment as usize;
        let mut content: Vec<u8> = Vec::new();
        let mut offsets = Vec::with_capacity(plan.steps().len());
        for step in plan.steps() {
            let place = |launch: &Launch| {
                let offset = content.len().next_multiple_of(alignment);
                content.resize(offset, 0);
                content.extend_from_slice(bytemuck::cast_slice(&launch.words));
                content.resize(offset + uniform_bytes(launch) as usize, 0);
                offset as u64
            };
            offsets.push(step.launches.iter().map(place).collect());
        }
        let buffer = device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("words"),
            size: content.len().max(16) as u64,
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if !content.is_empty() {
            device.queue.write_buffer(&buffer, 0, &content);
        }
        Self { buffer, offsets }
    }

    /// What a launch binds; `None` if it has no words.
    fn block(
        &self,
        step: usize,
        launch_index: usize,
        launch: &Launch,
    ) -> Option<wgpu::BufferBinding<'_>> {
        let size = wgpu::BufferSize::new(uniform_bytes(launch))?;
        Some(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offsets[step][launch_index],
            size: Some(size),
        })
    }
}

/// Binds what the launches of a step refer to.
struct Binder<'a> {
    device: &'a Device,
    plan: &'a Plan,
    buffers: &'a Buffers,
    step: &'a Step,
}

impl Binder<'_> {
    fn bind(
        &self,
        pipelines: &mut Pipelines,
        launch: &Launch,
        words: Option<wgpu::BufferBinding>,
    ) -> Result<Dispatch> {
        let device = &self.device.device;
        let most = device.limits().max_compute_workgroups_per_dimension;
        if launch.workgroups.iter().any(|&n| n > most) {
            return Err(Error::device(format!(
                "the shader {} asks for {:?} workgroups, the device runs at most {most} along an axis",
                launch.shader.name, launch.workgroups
            )));
        }
        let pipeline = pipelines.get(self.device, launch)?;
        let whole = |binding| {
            let (buffer, words) = self.resolve(binding);
            wgpu::BufferBinding {
                buffer,
                offset: 0,
                size: wgpu::BufferSize::new(binding_bytes(words)),
            }
        };
        let scales = launch
            .scales
            .map(|binding| (SCALES_BINDING, whole(binding)));
        let entries: Vec<_> = (0..)
            .zip(launch.bindings.iter().copied().map(whole).chain(words))
            .chain(scales)
            .map(|(binding, part)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(part),
            })
            .collect();
        let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(launch.shader.name),
            layout: &pipeline.layout,
            entries: &entries,
        });
        self.device
            .check()
            .map_err(|e| e.within(format!("the shader {}", launch.shader.name)))?;
        Ok(Dispatch {
            pipeline: pipeline.pipeline,
            bindings,
            workgroups: launch.workgroups,
        })
    }

    /// The buffer of a binding and the words in it.
    fn resolve(&self, binding: Binding) -> (&Buffer, usize) {
        let (node, plan) = (self.step.node, self.plan);
        let value = |value| (plan.place(value), plan.words(value));
        let (place, words) = match binding {
            Binding::Input(i) => plan.operand(node, i),
            Binding::Output(output) => value(ValueId { node, output }),
            Binding::Scratch(i) => {
                let (slot, length) = self.step.scratch[i];
                (Place::Slot(slot), length)
            }
            Binding::Stored(i) => value(self.step.casts[i]),
            Binding::Cast(i) => plan.cast(self.step.casts[i]),
        };
        (self.buffers.at(place), words)
    }
}
