//! What all commands that read a weight file share: it is fitted to a model or to the network of a system.

use super::network::Configured;
use super::show;
use crate::error::Result;
use crate::train::WeightFile;
use crate::train::fit::{self, Fate, Fitted, Request, Resampling};
use clap::ValueEnum;
use std::path::Path;

/// How a table of positions is resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Resampled {
    /// As timm: cubic, and where it becomes smaller every row counts
    #[default]
    Antialiased,
    /// As DINOv2 does while running: cubic, with an offset of 0.1
    Offset,
}

impl From<Resampled> for Resampling {
    fn from(own: Resampled) -> Self {
        match own {
            Resampled::Antialiased => Self::Antialiased,
            Resampled::Offset => Self::Offset,
        }
    }
}

/// The weights of a file, fitted to a network, which takes from them what they decide.
///
/// # Errors
/// The file cannot be read or does not fit; the error names it.
pub(super) fn load(path: &Path, configured: &mut Configured, request: &Request) -> Result<Fitted> {
    let file = WeightFile::read(path)?;
    let fitted = match configured {
        Configured::Ife(config) => fit::fit(&file, &mut config.model, request),
        Configured::Model { model, image, .. } => {
            let fitted = fit::fit(&file, model.as_mut(), request);
            fitted.inspect(|fitted| *image = fitted.image)
        }
    };
    fitted.map_err(|e| e.within(path.display()))
}

/// Says which tensors are not as the file has them.
pub(super) fn say_adapted(fitted: &Fitted) {
    let lines = fitted.account.lines.iter();
    for line in lines.filter(|line| matches!(line.fate, Fate::Adapted(_))) {
        show::note(&format!("{}: {}", line.name, line.fate.how()));
    }
}
