//! The gpu executor: f32 on a device, by the rooms' shaders, through wgpu; in mixed precision much is stored as f16.
//!
//! Everything that can be made once is made when a plan is prepared: buffers (one for each slot), pipelines (one for each
//! use of a shader), bind groups and the words of all launches. A run then sends its inputs, records one dispatch for
//! each launch, submits, and reads back nothing but the graph's outputs.
//!
//! A device cannot fail silently: wgpu's errors are collected as they occur and returned by the call that caused them, a
//! lost device by every call from then on.

mod device;
mod memory;
mod pipeline;
mod proof;
mod ready;
mod watched;

pub use device::{Adapter, Choice, Kind, Offer};
pub use pipeline::Checks;

use super::{Executor, HostTime, Prepared, Timing, Watch};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{Leaf, Precision, Storage, Target};
use crate::plan::Plan;
use device::Device;
use memory::Staging;
use pipeline::Pipelines;
use ready::Ready;
use std::collections::HashMap;
use std::sync::Arc;

/// A parameter or state, shared by all plans.
struct Lasting {
    spec: Spec,
    buffer: wgpu::Buffer,
    written: bool,
}

/// Runs plans on a device.
pub struct Gpu {
    device: Device,
    pipelines: Pipelines,
    lasting: HashMap<String, Lasting>,
    plans: Vec<Ready>,
}

impl Gpu {
    /// All adapters of this machine, best first.
    pub fn adapters() -> Vec<Adapter> {
        device::adapters()
    }

    /// All adapters of this machine, best first; those that offer cooperative matrices are opened, and have proved them or
    /// not.
    pub fn proven_adapters() -> Vec<Adapter> {
        device::proven_adapters()
    }

    /// An executor on the chosen adapter, its shaders running without checks.
    ///
    /// # Errors
    /// There is no such adapter, or it cannot be opened; the error says what to do.
    pub fn new(choice: &Choice) -> Result<Self> {
        Self::with_checks(choice, Checks::Off)
    }

    /// An executor on the chosen adapter, its shaders running with or without checks.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub fn with_checks(choice: &Choice, checks: Checks) -> Result<Self> {
        Ok(Self {
            device: Device::open(choice)?,
            pipelines: Pipelines::new(checks),
            lasting: HashMap::new(),
            plans: Vec::new(),
        })
    }

    /// The same executor, for plans of this precision.
    ///
    /// # Errors
    /// The device's shaders cannot read and write f16.
    pub fn in_precision(mut self, precision: Precision) -> Result<Self> {
        let limits = &mut self.device.adapter.limits;
        if precision != Precision::Full && !limits.halves {
            return Err(Error::device(format!(
                "{} has no half precision in shaders (SHADER_F16), which mixed precision needs; update its driver, or \
                 compute in full precision",
                self.device.adapter
            )));
        }
        limits.precision = precision;
        Ok(self)
    }

    /// The adapter it runs on.
    pub fn adapter(&self) -> &Adapter {
        &self.device.adapter
    }

    /// Makes sure that a lasting leaf has its buffer.
    fn declare(&mut self, leaf: &Leaf, spec: Spec) -> Result<()> {
        match self.lasting.get(&leaf.name) {
            Some(old) if old.spec != spec => Err(Error::shape(format!(
                "{:?} has shape {} here and {spec} in the new plan",
                leaf.name, old.spec
            ))),
            Some(_) => Ok(()),
            None => {
                let buffer = memory::buffer(&self.device, spec.shape.elements());
                self.device
                    .check()
                    .map_err(|e| e.within(format!("{:?} {spec}", leaf.name)))?;
                let lasting = Lasting {
                    spec,
                    buffer,
                    written: false,
                };
                self.lasting.insert(leaf.name.clone(), lasting);
                Ok(())
            }
        }
    }
}

impl Executor for Gpu {
    fn description(&self) -> String {
        let mixed = match self.device.adapter.limits.precision {
            Precision::Full => "",
            Precision::Mixed | Precision::Half => ", mixed precision",
        };
        format!("gpu ({}{mixed})", self.device.adapter)
    }

    fn target(&self) -> Target {
        Target::Gpu(self.device.adapter.limits)
    }

    fn timing(&self) -> Timing {
        if self.device.adapter.timestamps {
            Timing::DeviceClock
        } else {
            Timing::RoundTrip
        }
    }

    fn host_time(&self, Prepared(index): Prepared) -> Option<HostTime> {
        self.plans[index].host_time
    }

    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        self.device.check()?;
        super::check_target(self, &plan)?;
        for (_, leaf, spec) in plan.graph().leaves() {
            if leaf.kind.init().is_some() {
                self.declare(leaf, spec)?;
            }
        }
        let lasting = |name: &str| self.lasting.get(name).map(|own| own.buffer.clone());
        let ready = Ready::new(&self.device, &mut self.pipelines, plan, lasting)?;
        self.plans.push(ready);
        Ok(Prepared(self.plans.len() - 1))
    }

    fn plan(&self, Prepared(index): Prepared) -> &Arc<Plan> {
        &self.plans[index].plan
    }

    fn write(&mut self, name: &str, value: Array) -> Result<()> {
        let lasting = self
            .lasting
            .get_mut(name)
            .ok_or_else(|| super::unknown_leaf(name))?;
        super::check_spec(name, lasting.spec, value.spec())?;
        memory::upload(&self.device, &lasting.buffer, &value);
        self.device
            .check()
            .map_err(|e| e.within(format!("{name:?} {}", lasting.spec)))?;
        lasting.written = true;
        Ok(())
    }

    fn read(&mut self, name: &str) -> Result<Array> {
        let lasting = self
            .lasting
            .get(name)
            .ok_or_else(|| super::unknown_leaf(name))?;
        let staging = Staging::new(&self.device, vec![(lasting.spec, Storage::Full)]);
        let mut encoder = self.device.encoder();
        staging.fill(&mut encoder, [&lasting.buffer]);
        self.device.submit(encoder)?;
        let only = staging.fetch(&self.device)?.pop();
        only.ok_or_else(|| super::unknown_leaf(name))
    }

    fn run(
        &mut self,
        Prepared(index): Prepared,
        inputs: &[(&str, &Array)],
        watch: Option<&mut Watch>,
    ) -> Result<Vec<Array>> {
        let ready = &mut self.plans[index];
        let inputs = super::match_inputs(&ready.plan, inputs)?;
        let is_written = |name: &str| self.lasting.get(name).is_some_and(|own| own.written);
        super::check_written(&ready.plan, is_written)?;
        self.device.check()?;
        for (node, array) in inputs {
            ready.give(&self.device, node, array);
        }
        match watch {
            None => ready.run(&self.device),
            Some(watch) => watched::run(&self.device, ready, watch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Binding, Graph, Launch, Shader};
    use crate::ops;

    /// `None` on a machine without any adapter; whether that is a failure is said by the suites in `tests/`.
    fn gpu() -> Option<Gpu> {
        Gpu::new(&Choice::Any).ok()
    }

    #[test]
    fn a_lost_device_is_an_error_from_then_on() {
        let Some(mut gpu) = gpu() else { return };
        let graph = Graph::record(|r| {
            let x = r.input("x", Spec::real([2]))?;
            r.output("y", ops::relu(x)?)
        });
        let graph = Arc::new(graph.expect("it can be recorded"));
        let plan = Arc::new(Plan::new(graph, gpu.target()).expect("it can be planned"));
        let prepared = gpu.prepare(plan.clone()).expect("it can be prepared");
        let x = Array::from([1.0, -1.0]);
        gpu.run(prepared, &[("x", &x)], None).expect("it runs");
        gpu.device.device.destroy();
        let errors = [
            gpu.run(prepared, &[("x", &x)], None).map(|_| ()),
            gpu.run(prepared, &[("x", &x)], None).map(|_| ()),
            gpu.prepare(plan).map(|_| ()),
        ];
        for error in errors {
            let error = error.expect_err("the device is gone");
            assert!(error.is_device());
            assert!(
                error.to_string().contains("the device was lost: "),
                "{error}"
            );
        }
    }

    #[test]
    fn a_shader_that_is_refused_is_named() {
        static WRONG: Shader = Shader {
            name: "wrong",
            text: "@compute @workgroup_size(1) fn main() { return 1; }",
            uses: &[],
        };
        static OTHER: Shader = Shader {
            name: "other",
            text: "@group(0) @binding(0) var<storage, read_write> y: array<f32>;
                   @compute @workgroup_size(1) fn main() { y[0] = 1.0; }",
            uses: &[],
        };
        let Some(mut gpu) = gpu() else { return };
        let launch = Launch::new(&WRONG, []);
        let error = gpu.pipelines.get(&gpu.device, &launch).err();
        let text = error.expect("it is refused").to_string();
        assert!(
            text.starts_with("the shader wrong: the device refuses: "),
            "{text}"
        );
        // Bound read-only, but written.
        let launch = Launch::new(&OTHER, [Binding::Input(0)]);
        let error = gpu.pipelines.get(&gpu.device, &launch).err();
        let text = error.expect("it is refused").to_string();
        assert!(
            text.starts_with("the shader other: the device refuses: "),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
        let launch = Launch::new(&OTHER, [Binding::Output(0)]);
        gpu.pipelines.get(&gpu.device, &launch).expect("it fits");
    }

    #[test]
    fn a_buffer_beyond_the_device_is_an_error() {
        let Some(gpu) = gpu() else { return };
        memory::buffer(&gpu.device, 1 << 50);
        let error = gpu.device.check().expect_err("it is refused");
        assert!(error.is_device());
        gpu.device.check().expect("an error is told once");
    }

    #[test]
    fn an_unknown_adapter_is_an_error_that_lists_those_there_are() {
        let error = Gpu::new(&Choice::Named("no such device".to_string())).err();
        let text = error.expect("there is none").to_string();
        match Gpu::adapters().first() {
            Some(adapter) => assert!(text.contains(&adapter.name), "{text}"),
            None => assert!(text.starts_with("no adapter was found"), "{text}"),
        }
    }
}
