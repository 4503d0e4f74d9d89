//! Shaders made ready: one module a shader, one pipeline for each of its uses.

use super::device::Device;
use crate::error::{Error, Result};
use crate::graph::{Binding, Launch, Products, SCALES_BINDING, Storage};
use std::collections::HashMap;
use wgpu::{BindGroupLayout, BufferBindingType, BufferSize, ComputePipeline, ShaderModule};

/// Whether shaders run with the checks that WebGPU demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// As they are written, with nothing inserted: fast.
    #[default]
    Off,
    /// Every index, loop and division is guarded, and workgroup memory starts as zeros: for tests and audits.
    On,
}

/// Bindings are whole multiples of this: the longest element that shaders bind, `vec4<f32>`.
pub(super) const BINDING_BYTES: u64 = 16;

/// Bytes of a launch's uniform block: its words, in whole `vec4`s.
pub(super) fn uniform_bytes(launch: &Launch) -> u64 {
    (4 * launch.words.len() as u64).next_multiple_of(16)
}

/// A pipeline, and how its bindings are laid out.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub(super) pipeline: ComputePipeline,
    pub(super) layout: BindGroupLayout,
}

/// What tells one use of a shader from another.
#[derive(PartialEq, Eq, Hash)]
struct Use {
    shader: &'static str,
    storage: Storage,
    products: Products,
    has_scales: bool,
    constants: Vec<(&'static str, u64)>,
    bindings: Vec<BufferBindingType>,
    uniform_bytes: u64,
}

/// All pipelines that an executor has needed so far.
pub(super) struct Pipelines {
    checks: Checks,
    modules: HashMap<(&'static str, Storage, Products), ShaderModule>,
    pipelines: HashMap<Use, Pipeline>,
}

impl Pipelines {
    pub(super) fn new(checks: Checks) -> Self {
        Self {
            checks,
            modules: HashMap::new(),
            pipelines: HashMap::new(),
        }
    }

    /// The pipeline of a launch.
    pub(super) fn get(&mut self, device: &Device, launch: &Launch) -> Result<Pipeline> {
        let key = Use {
            shader: launch.shader.name,
            storage: launch.storage,
            products: launch.products,
            has_scales: launch.scales.is_some(),
            constants: launch
                .constants
                .iter()
                .map(|&(name, value)| (name, value.to_bits()))
                .collect(),
            bindings: launch.bindings.iter().map(binding_type).collect(),
            uniform_bytes: uniform_bytes(launch),
        };
        if let Some(pipeline) = self.pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        let available = device.adapter.limits.storage_buffers;
        let bound = key.bindings.len() + usize::from(key.has_scales);
        if bound > available as usize {
            return Err(Error::device(format!(
                "the shader {} binds {bound} buffers, the device has room for {available}",
                key.shader
            )));
        }
        let module = self
            .modules
            .entry((launch.shader.name, launch.storage, launch.products))
            .or_insert_with(|| module(&device.device, launch, self.checks));
        let layout = layout(&device.device, &key);
        let pipeline = pipeline(&device.device, launch, module, &layout, self.checks);
        device
            .check()
            .map_err(|e| e.within(format!("the shader {}", key.shader)))?;
        let made = Pipeline { pipeline, layout };
        self.pipelines.insert(key, made.clone());
        Ok(made)
    }
}

fn binding_type(binding: &Binding) -> BufferBindingType {
    BufferBindingType::Storage {
        read_only: binding.is_read(),
    }
}

fn module(device: &wgpu::Device, launch: &Launch, checks: Checks) -> ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(launch.shader.name),
        source: wgpu::ShaderSource::Wgsl(launch.source().into()),
    };
    match checks {
        Checks::On => device.create_shader_module(descriptor),
        Checks::Off => unchecked_module(device, descriptor),
    }
}

#[expect(
    unsafe_code,
    reason = "wgpu's one door to shaders without inserted checks"
)]
fn unchecked_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor,
) -> ShaderModule {
    // SAFETY: Without its checks wgpu relies on the text for four things. The texts are the crate's own, never a user's,
    // and each keeps them:
    // - No access lies outside a binding. Every index derives from the workgroup and invocation numbers, which the
    //   shader compares with the counts in its uniform block, and from the lengths and strides there. Room, launch and
    //   words come from one shape, the graph's shape rules fix all shapes before anything runs, and a binding is never
    //   shorter than its value in whole vectors. An index that is data (a label, a position) is compared with its bound in the shader.
    // - Loops end: they count up or down to a word of the uniform block or a constant.
    // - No divisor is zero: divisors are lengths of axes of values that have elements; nodes without any do not run.
    // - Ray queries, task and mesh shaders are not used at all.
    // `tests/ops.rs` runs every case of every room with and without checks and compares the bits.
    unsafe {
        device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
    }
}

fn layout(device: &wgpu::Device, key: &Use) -> BindGroupLayout {
    let entry = |binding: usize, ty, bytes| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        // With the least size known here, dispatches need not compare it.
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: BufferSize::new(bytes),
        },
        count: None,
    };
    let mut entries: Vec<_> = key
        .bindings
        .iter()
        .enumerate()
        .map(|(i, &ty)| entry(i, ty, BINDING_BYTES))
        .collect();
    if key.uniform_bytes > 0 {
        entries.push(entry(
            entries.len(),
            BufferBindingType::Uniform,
            key.uniform_bytes,
        ));
    }
    if key.has_scales {
        let storage = BufferBindingType::Storage { read_only: true };
        entries.push(entry(SCALES_BINDING as usize, storage, BINDING_BYTES));
    }
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(key.shader),
        entries: &entries,
    })
}

fn pipeline(
    device: &wgpu::Device,
    launch: &Launch,
    module: &ShaderModule,
    layout: &BindGroupLayout,
    checks: Checks,
) -> ComputePipeline {
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(launch.shader.name),
        bind_group_layouts: &[Some(layout)],
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(launch.shader.name),
        layout: Some(&layout),
        module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &launch.constants,
            zero_initialize_workgroup_memory: checks == Checks::On,
        },
        cache: None,
    })
}
