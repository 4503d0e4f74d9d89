//! `axenic init`: the commented default configuration.

use super::{Outcome, System, show};
use crate::error::Result;
use crate::systems::ife::config::COMMENTED;

/// Prints a system's commented default configuration.
///
/// Example: axenic init ife > ife.toml
#[derive(clap::Args)]
pub(super) struct Init {
    /// The system
    system: System,
}

impl Init {
    pub(super) fn run(self) -> Result<Outcome> {
        let System::Ife = self.system;
        show::result(COMMENTED)?;
        Ok(Outcome::Done)
    }
}
