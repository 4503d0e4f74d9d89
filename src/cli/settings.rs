//! The options that choose a configuration.

use super::compute::seeds;
use crate::error::{Error, Result};
use crate::systems::ife::config::{Config, Preset};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Settings {
    /// The configuration to start from; paper without it
    #[arg(long, value_parser = Preset::NAMED.map(|(name, _)| name))]
    preset: Option<String>,
    /// A configuration file; what it leaves out comes from the preset
    #[arg(long)]
    config: Option<PathBuf>,
    /// One setting, as in epochs=20 or train.epochs=20; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Where all chance comes from (the same as --set seed=N)
    #[arg(long, value_parser = seeds())]
    seed: Option<u64>,
}

impl Settings {
    /// True if nothing was chosen.
    pub(super) fn is_plain(&self) -> bool {
        self.preset.is_none()
            && self.config.is_none()
            && self.settings.is_empty()
            && self.seed.is_none()
    }

    /// The configuration chosen; the preset `paper` where nothing else was.
    pub(super) fn resolve(&self) -> Result<Config> {
        let mut config = Preset::parse(self.preset.as_deref().unwrap_or("paper"))?.config();
        if let Some(path) = &self.config {
            let bytes = crate::data::file::read_whole(path, MAX_CONFIG_BYTES)
                .map_err(|e| e.within(path.display()))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| Error::input(format!("{} is not UTF-8 text", path.display())))?;
            config = Config::read(&text, &config).map_err(|e| e.within(path.display()))?;
        }
        for setting in &self.settings {
            config = config.with(setting)?;
        }
        match self.seed {
            Some(seed) => config.with(&format!("train.seed={seed}")),
            None => Ok(config),
        }
    }
}

/// A configuration file has a few hundred bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
