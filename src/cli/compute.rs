//! What many commands share: on what to compute, with how many threads, and which seeds there are.

use crate::error::{Error, Result};
use crate::exec::{Cpu, Executor, Reference};
use crate::graph::{self, Graph};
use crate::ops::{WinogradTile, with_winograd};
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
    /// Tiles in which the cpu computes 3 × 3 convolutions, by Winograd's algorithm; 2x2 if not said
    #[arg(long, value_enum, value_name = "TILE")]
    pub(super) winograd: Option<Winograd>,
    /// How a gpu stores what it computes, in f32 always; full if nothing else is said
    #[arg(long, value_enum)]
    pub(super) precision: Option<Precision>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Winograd {
    /// 2.25 times fewer multiplications than by the definition
    #[value(name = "2x2")]
    Two,
    /// 4 times fewer, and rounding errors two to three times as large
    #[value(name = "4x4")]
    Four,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Precision {
    /// In f32
    Full,
    /// In f16 between products and what follows them; training scales its loss
    Mixed,
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
    /// The precision that is asked for.
    pub(super) fn precision(&self) -> Option<graph::Precision> {
        self.precision.map(|precision| match precision {
            Precision::Full => graph::Precision::Full,
            Precision::Mixed => graph::Precision::Mixed,
        })
    }

    /// The same in this precision.
    pub(super) fn in_precision(&self, precision: graph::Precision) -> Self {
        let precision = match precision {
            graph::Precision::Full => Precision::Full,
            graph::Precision::Mixed | graph::Precision::Half => Precision::Mixed,
        };
        Self {
            precision: Some(precision),
            ..self.clone()
        }
    }

    /// That what computes has the precision that is asked for, as far as can be said before it is opened.
    pub(super) fn check_precision(&self) -> Result<()> {
        let is_gpu = match self.device {
            Device::Gpu => true,
            Device::Auto => gpu::is_real(),
            Device::Cpu | Device::Reference => false,
        };
        if is_gpu || self.precision != Some(Precision::Mixed) {
            return Ok(());
        }
        Err(Error::device(match self.device {
            Device::Auto => {
                "mixed precision needs a gpu, and no real one was found; use --precision full, or --device gpu for one in \
                 software"
            }
            _ => "mixed precision is a gpu's; use --device gpu, or --precision full",
        }))
    }

    pub(super) fn executor(&self) -> Result<Box<dyn Executor>> {
        self.check_precision()?;
        let precision = self.precision().unwrap_or_default();
        Ok(match self.device {
            Device::Reference => Box::new(Reference::new(self.threads)?),
            Device::Cpu => Box::new(Cpu::new(self.threads)?),
            Device::Gpu => gpu::open(gpu::Checks::Off, precision)?,
            Device::Auto if gpu::is_real() => gpu::open(gpu::Checks::Off, precision)?,
            Device::Auto => Box::new(Cpu::new(self.threads)?),
        })
    }

    /// The same gpu once more, with every check of the shader compiler on; `None` if the host computes.
    pub(super) fn checked_twin(&self) -> Result<Option<Box<dyn Executor>>> {
        let precision = self.precision().unwrap_or_default();
        match self.device {
            Device::Gpu => gpu::open(gpu::Checks::On, precision).map(Some),
            Device::Auto if gpu::is_real() => gpu::open(gpu::Checks::On, precision).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn runner(&self) -> Result<Runner> {
        Ok(Runner::new(self.executor()?).with_winograd(self.winograd()))
    }

    /// The runner that goes on where a device is lost.
    pub(super) fn spare(&self) -> Result<Runner> {
        Ok(Runner::new(Box::new(Cpu::new(self.threads)?)).with_winograd(self.winograd()))
    }

    /// The graph as it is computed here.
    pub(super) fn graph(&self, graph: &Graph) -> Graph {
        let graph = graph.folded();
        match self.winograd() {
            Some(tile) => with_winograd(&graph, tile),
            None => graph,
        }
    }

    fn winograd(&self) -> Option<WinogradTile> {
        self.winograd.map(|winograd| match winograd {
            Winograd::Two => WinogradTile::Two,
            Winograd::Four => WinogradTile::Four,
        })
    }
}

#[cfg(feature = "gpu")]
mod gpu {
    use crate::error::Result;
    use crate::exec::Executor;
    use crate::exec::gpu::{Choice, Gpu, Kind};
    use crate::graph::Precision;

    pub(super) use crate::exec::gpu::Checks;

    /// The best adapter: a real one if there is one.
    pub(super) fn open(checks: Checks, precision: Precision) -> Result<Box<dyn Executor>> {
        let gpu = Gpu::with_checks(&Choice::Any, checks)?;
        Ok(Box::new(gpu.in_precision(precision)?))
    }

    /// Whether there is an adapter that is no software.
    pub(super) fn is_real() -> bool {
        let adapters = Gpu::adapters();
        adapters
            .iter()
            .any(|adapter| adapter.kind != Kind::Software)
    }
}

#[cfg(not(feature = "gpu"))]
mod gpu {
    use crate::error::{Error, Result};
    use crate::exec::Executor;
    use crate::graph::Precision;

    pub(super) enum Checks {
        On,
        Off,
    }

    pub(super) fn open(_checks: Checks, _precision: Precision) -> Result<Box<dyn Executor>> {
        Err(Error::device(
            "this program was built without the feature `gpu`; use --device cpu",
        ))
    }

    pub(super) fn is_real() -> bool {
        false
    }
}
