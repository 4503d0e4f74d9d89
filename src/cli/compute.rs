//! What many commands share: on what to compute, with how many threads, and which seeds there are.

use crate::error::Result;
use crate::exec::{Cpu, Executor, Reference};
use crate::train::Runner;
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Compute {
    /// What computes: auto is a real GPU if there is one, else the cpu
    #[arg(long, value_enum, default_value_t)]
    pub(super) device: Device,
    /// Worker threads of the host; 0 is one for each core. Results do not depend on it
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Device {
    /// A real GPU if there is one, else the cpu
    #[default]
    Auto,
    /// f32 on all cores
    Cpu,
    /// Any GPU, a software one too
    Gpu,
    /// f64, slow, by the definitions
    Reference,
}

/// The seeds that a configuration can hold: TOML's integers are signed.
pub(super) fn seeds() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(..=i64::MAX as u64)
}

impl Compute {
    pub(super) fn executor(&self) -> Result<Box<dyn Executor>> {
        Ok(match self.device {
            Device::Reference => Box::new(Reference::new(self.threads)?),
            Device::Cpu => Box::new(Cpu::new(self.threads)?),
            Device::Gpu => gpu()?,
            Device::Auto => match real_gpu()? {
                Some(gpu) => gpu,
                None => Box::new(Cpu::new(self.threads)?),
            },
        })
    }

    pub(super) fn runner(&self) -> Result<Runner> {
        Ok(Runner::new(self.executor()?))
    }
}

#[cfg(feature = "gpu")]
fn gpu() -> Result<Box<dyn Executor>> {
    Ok(Box::new(crate::exec::gpu::Gpu::new(
        &crate::exec::gpu::Choice::Any,
    )?))
}

#[cfg(not(feature = "gpu"))]
fn gpu() -> Result<Box<dyn Executor>> {
    Err(crate::error::Error::device(
        "this program was built without the feature `gpu`; use --device cpu",
    ))
}

/// The best real GPU, if there is one.
#[cfg(feature = "gpu")]
fn real_gpu() -> Result<Option<Box<dyn Executor>>> {
    use crate::exec::gpu::{Choice, Gpu, Kind};
    if Gpu::adapters()
        .iter()
        .all(|adapter| adapter.kind == Kind::Software)
    {
        return Ok(None);
    }
    Ok(Some(Box::new(Gpu::new(&Choice::Real)?)))
}

#[cfg(not(feature = "gpu"))]
fn real_gpu() -> Result<Option<Box<dyn Executor>>> {
    Ok(None)
}
