//! Adapters, the choice among them, and an opened device that turns every fault into an error.

use super::proof;
use crate::error::{Error, Result};
use crate::graph::{Class, Limits, Matrices, Precision, Side};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Which adapter to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best real GPU; an adapter in software is none.
    #[default]
    Real,
    /// The best adapter, one in software if there is no other.
    Any,
    /// The best adapter whose name contains this text, upper and lower case alike.
    Named(String),
}

/// The kinds of adapters, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU lent to a virtual machine.
    Virtual,
    /// The driver does not say.
    Other,
    /// No GPU: the host's cores behind a GPU's interface.
    Software,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Discrete => "discrete",
            Kind::Integrated => "integrated",
            Kind::Virtual => "virtual",
            Kind::Other => "unknown kind",
            Kind::Software => "software",
        })
    }
}

/// What is known of an adapter before it is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// The name that its driver gives it.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The interface it is reached through: `Vulkan`, `Metal`, `DX12`.
    pub backend: String,
    /// The driver with its version.
    pub driver: String,
    /// What planning must heed.
    pub limits: Limits,
    /// The largest buffer, in bytes.
    pub buffer_bytes: u64,
    /// Whether it can measure its own time.
    pub timestamps: bool,
    /// Its cooperative matrices.
    pub matrices: Offer,
}

/// What became of an adapter's offer of cooperative matrices of f16 with sums in f32.
#[derive(Clone, Debug, PartialEq)]
pub enum Offer {
    /// There is none that fits, and why not.
    None(&'static str),
    /// There is one; the adapter has not been opened.
    Open(Matrices),
    /// Products of the opened device were right.
    Proven(Matrices),
    /// They were not, or could not be computed: what was wrong. They are not used.
    Refused(String),
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sized = |matrices: &Matrices| format!("{0} × {0}", matrices.side.length());
        match self {
            Offer::None(why) => write!(f, "none: {why}"),
            Offer::Open(matrices) => write!(f, "{}, to be proven", sized(matrices)),
            Offer::Proven(matrices) => write!(f, "{}, proven right", sized(matrices)),
            Offer::Refused(why) => write!(f, "not used: {why}"),
        }
    }
}

/// The workgroup memory of the largest tile of split operands, rounded up.
const MATRIX_BYTES: u32 = 28 << 10;

/// The features that shaders with cooperative matrices need.
fn matrix_features() -> wgpu::Features {
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SHADER_F16
}

/// What an adapter offers, as far as it claims.
fn offer(adapter: &wgpu::Adapter, info: &wgpu::AdapterInfo) -> Offer {
    use wgpu::CooperativeScalarType::{F16, F32};
    if !adapter.features().contains(matrix_features()) {
        return Offer::None("the driver has none");
    }
    let properties = adapter.cooperative_matrix_properties();
    let has = |side: Side| {
        let n = side.length();
        properties.iter().any(|own| {
            [own.m_size, own.n_size, own.k_size] == [n; 3]
                && [own.ab_type, own.cr_type] == [F16, F32]
        })
    };
    let sides = [Side::Sixteen, Side::Eight];
    let Some(side) = sides.into_iter().find(|&side| has(side)) else {
        return Offer::None("the driver has none of f16 with sums in f32, 16 × 16 or 8 × 8");
    };
    // Metal does not tell; the subgroups of the GPUs that have matrices there are of 32.
    let subgroup = match (info.backend, info.subgroup_min_size, info.subgroup_max_size) {
        (wgpu::Backend::Metal, ..) => 32,
        (_, least, most) if least == most => most,
        _ => return Offer::None("the size of its subgroups is not fixed"),
    };
    if !matches!(subgroup, 8 | 16 | 32) {
        return Offer::None("its subgroups are not of 8, 16 or 32");
    }
    if adapter.limits().max_compute_workgroup_storage_size < MATRIX_BYTES {
        return Offer::None("its workgroup memory is too small");
    }
    Offer::Open(Matrices { side, subgroup })
}

impl Adapter {
    fn new(adapter: &wgpu::Adapter) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let matrices = offer(adapter, &info);
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => Kind::Discrete,
            wgpu::DeviceType::IntegratedGpu => Kind::Integrated,
            wgpu::DeviceType::VirtualGpu => Kind::Virtual,
            wgpu::DeviceType::Cpu => Kind::Software,
            wgpu::DeviceType::Other => Kind::Other,
        };
        // A binding ends with its buffer, and its length is a whole number of vectors.
        let binding_bytes = limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size)
            & !15;
        Self {
            name: info.name,
            kind,
            backend: match info.backend {
                wgpu::Backend::Dx12 => "DX12".to_string(),
                backend => format!("{backend:?}"),
            },
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_string(),
            limits: Limits {
                binding_bytes,
                storage_buffers: limits.max_storage_buffers_per_shader_stage,
                invocations: limits.max_compute_invocations_per_workgroup,
                workgroup_bytes: limits.max_compute_workgroup_storage_size,
                halves: adapter.features().contains(wgpu::Features::SHADER_F16),
                precision: Precision::Full,
                matrices: None,
                tiling: class(kind, &limits, info.subgroup_max_size).tiling(),
            },
            buffer_bytes: limits.max_buffer_size,
            timestamps: adapter.features().contains(wgpu::Features::TIMESTAMP_QUERY),
            matrices,
        }
    }
}

/// The class of an adapter. One that does not say what it is counts as discrete if it looks like one.
fn class(kind: Kind, limits: &wgpu::Limits, subgroup: u32) -> Class {
    let is_large = limits.max_compute_workgroup_storage_size >= 32 << 10
        && limits.max_compute_invocations_per_workgroup >= 1024
        && subgroup >= 32;
    match kind {
        Kind::Software => Class::Software,
        Kind::Integrated => Class::Integrated,
        Kind::Discrete => Class::Discrete,
        Kind::Virtual | Kind::Other if is_large => Class::Discrete,
        Kind::Virtual | Kind::Other => Class::Integrated,
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, self.backend)?;
        if self.driver.is_empty() {
            Ok(())
        } else {
            write!(f, ", driver {}", self.driver)
        }
    }
}

/// All adapters, best first.
pub(super) fn adapters() -> Vec<Adapter> {
    enumerate().into_iter().map(|(about, _)| about).collect()
}

/// All adapters, best first; those that offer cooperative matrices are opened and have to prove them.
pub(super) fn proven_adapters() -> Vec<Adapter> {
    let prove = |(about, adapter): (Adapter, wgpu::Adapter)| match about.matrices {
        Offer::Open(_) => Device::of(about.clone(), &adapter).map_or_else(
            |e| Adapter {
                matrices: Offer::Refused(e.to_string()),
                ..about
            },
            |device| device.adapter,
        ),
        _ => about,
    };
    enumerate().into_iter().map(prove).collect()
}

fn enumerate() -> Vec<(Adapter, wgpu::Adapter)> {
    /// Loading the drivers takes tens of milliseconds, and some print as they are loaded: once is enough.
    static INSTANCE: LazyLock<wgpu::Instance> = LazyLock::new(|| {
        wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::PRIMARY,
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        })
    });
    let instance = &*INSTANCE;
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let mut found: Vec<_> = found
        .into_iter()
        .map(|adapter| (Adapter::new(&adapter), adapter))
        .collect();
    // A stable sort: among equals the interface's own order stays, and Vulkan comes before DX12.
    found.sort_by_key(|(about, _)| about.kind);
    found
}

fn choose(choice: &Choice) -> Result<(Adapter, wgpu::Adapter)> {
    let found = enumerate();
    let names: Vec<String> = found
        .iter()
        .map(|(about, _)| format!("{} ({})", about.name, about.kind))
        .collect();
    let fits = |about: &Adapter| match choice {
        Choice::Real => about.kind != Kind::Software,
        Choice::Any => true,
        Choice::Named(part) => about.name.to_lowercase().contains(&part.to_lowercase()),
    };
    let chosen = found.into_iter().find(|(about, _)| fits(about));
    chosen.ok_or_else(|| {
        let names = names.join(", ");
        Error::device(match (choice, names.is_empty()) {
            (_, true) => {
                "no adapter was found; install the GPU's Vulkan driver (in software, on Debian: the package \
                 mesa-vulkan-drivers), or compute with --device cpu"
                    .to_string()
            }
            (Choice::Named(part), false) => {
                format!("no adapter's name contains {part:?}; there are: {names}")
            }
            (_, false) => format!(
                "no GPU was found, only {names}; install the GPU's driver, compute with --device cpu, or ask for the \
                 adapter by its name"
            ),
        })
    })
}

/// Whether a device is opened with what wgpu calls experimental.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Experiments {
    None,
    /// Cooperative matrices.
    Matrices,
}

impl Experiments {
    #[expect(
        unsafe_code,
        reason = "wgpu's one door to cooperative matrices, which it calls experimental"
    )]
    fn token(self) -> wgpu::ExperimentalFeatures {
        match self {
            Experiments::None => wgpu::ExperimentalFeatures::disabled(),
            // SAFETY: The token asks to acknowledge that what lies behind it may have faults that its types do not exclude.
            // Behind it is used cooperative matrices alone, in one text, `shaders/lib/tile_matrix.wgsl`, and there
            // - only of a side, element types and subgroup that the driver itself lists, with workgroups that are a whole
            //   number of subgroups, and in control flow that is the same for all invocations of a subgroup;
            // - only on workgroup memory: a matrix starts at a multiple of its side within the rows or columns of the tile, and
            //   at a depth that is a multiple of it within the step's, and its lines are a pitch of the tile apart, so that it
            //   lies inside; sides and pitches are whole multiples of the 16 bytes to which Vulkan has it aligned.
            // A device that computes wrong products, or refuses, is found out by `proof` before it is used.
            Experiments::Matrices => unsafe { wgpu::ExperimentalFeatures::enabled() },
        }
    }
}

/// An opened device with its queue.
pub(super) struct Device {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) adapter: Adapter,
    faults: Arc<Faults>,
}

/// What went wrong since it was last asked for. wgpu reports here from inside its calls, whatever thread makes them.
#[derive(Default)]
struct Faults {
    fault: Mutex<Option<Fault>>,
    lost: Mutex<Option<String>>,
}

enum Fault {
    Memory,
    Refused(String),
}

impl Faults {
    fn note(&self, error: wgpu::Error) {
        let fault = match error {
            wgpu::Error::OutOfMemory { .. } => Fault::Memory,
            wgpu::Error::Validation { description, .. }
            | wgpu::Error::Internal { description, .. } => Fault::Refused(one_line(&description)),
        };
        // The first fault is the cause, later ones are its consequences.
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(fault);
    }

    fn lose(&self, why: String) {
        self.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(why);
    }

    fn check(&self) -> Result<()> {
        if let Some(why) = &*self.lost.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(Error::device(format!(
                "the device was lost: {why}; run again, with a smaller batch if its memory may have run out, or with \
                 --device cpu"
            )));
        }
        let fault = self
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match fault {
            None => Ok(()),
            Some(Fault::Memory) => Err(Error::device(
                "the device's memory does not suffice; use a smaller batch",
            )),
            Some(Fault::Refused(why)) => Err(Error::device(format!("the device refuses: {why}"))),
        }
    }
}

/// wgpu's errors are trees over several lines.
fn one_line(text: &str) -> String {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && *line != "Caused by:");
    lines.collect::<Vec<_>>().join(": ")
}

impl Device {
    /// Opens the chosen adapter with all it offers. Cooperative matrices have to prove themselves first.
    pub(super) fn open(choice: &Choice) -> Result<Self> {
        let (about, adapter) = choose(choice)?;
        Self::of(about, &adapter)
    }

    fn of(about: Adapter, adapter: &wgpu::Adapter) -> Result<Self> {
        let Offer::Open(matrices) = about.matrices else {
            return Self::request(about, adapter, Experiments::None);
        };
        let opened = Self::request(about.clone(), adapter, Experiments::Matrices);
        let proven = opened.and_then(|device| match device.proof(matrices) {
            None => Ok(device),
            Some(why) => Err(Error::device(why)),
        });
        match proven {
            Ok(mut device) => {
                device.adapter.matrices = Offer::Proven(matrices);
                device.adapter.limits.matrices = Some(matrices);
                Ok(device)
            }
            // What failed, if only to open, is not trusted with anything else: the device is opened without.
            Err(why) => {
                let mut device = Self::request(about, adapter, Experiments::None)?;
                device.adapter.matrices = Offer::Refused(why.to_string());
                Ok(device)
            }
        }
    }

    /// What is wrong with the device's products of matrices. An adapter is asked once.
    fn proof(&self, matrices: Matrices) -> Option<String> {
        static KNOWN: Mutex<Vec<(String, Option<String>)>> = Mutex::new(Vec::new());
        let name = self.adapter.to_string();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, outcome)) = known.iter().find(|(own, _)| *own == name) {
            return outcome.clone();
        }
        let outcome = proof::prove(self, matrices).err().map(|e| e.to_string());
        known.push((name, outcome.clone()));
        outcome
    }

    fn request(about: Adapter, adapter: &wgpu::Adapter, experiments: Experiments) -> Result<Self> {
        let features = match experiments {
            Experiments::None => wgpu::Features::empty(),
            Experiments::Matrices => matrix_features(),
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("axenic"),
            required_features: features
                | adapter.features()
                    & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16),
            required_limits: adapter.limits(),
            // A plan makes few buffers, once: small pools waste least.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            experimental_features: experiments.token(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| {
                let why = one_line(&e.to_string());
                Error::device(format!("{about} cannot be opened: {why}; update its driver, or compute with --device cpu"))
            })?;
        let faults = Arc::new(Faults::default());
        let (noting, losing) = (faults.clone(), faults.clone());
        device.on_uncaptured_error(Arc::new(move |error| noting.note(error)));
        device.set_device_lost_callback(move |reason, why| {
            losing.lose(if why.is_empty() {
                format!("{reason:?}").to_lowercase()
            } else {
                one_line(&why)
            });
        });
        Ok(Self {
            device,
            queue,
            adapter: about,
            faults,
        })
    }

    /// Whether anything went wrong since the last check.
    pub(super) fn check(&self) -> Result<()> {
        self.faults.check()
    }

    pub(super) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    pub(super) fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<()> {
        let commands = encoder.finish();
        self.check()?;
        self.queue.submit([commands]);
        self.check()
    }

    /// Waits until everything submitted has been done.
    pub(super) fn wait(&self) -> Result<()> {
        // wgpu panics if the device is lost while it waits; everywhere else it reports.
        let poll = || self.device.poll(wgpu::PollType::wait_indefinitely());
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => self.faults.lose(e.to_string()),
            Err(_) => self
                .faults
                .lose("the driver gave up while computing".to_string()),
        }
        self.check()
    }
}
