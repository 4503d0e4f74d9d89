//! `axenic synth`: a synthetic data set as files.

use super::{Outcome, System, show};
use crate::error::Result;
use crate::systems::ife::synth::{Balance, write_dataset};
use crate::train::Progress as _;
use crate::workers::Workers;
use clap::ValueEnum;
use std::path::{Path, PathBuf};

/// Writes a synthetic data set as real image files and label tables, in the system's own layout.
///
/// Example: axenic synth ife --out gels --count 900 --balance even --seed 7
#[derive(clap::Args)]
pub(super) struct Synth {
    /// The system
    system: System,
    /// The folder to write; must not exist or be empty
    #[arg(long)]
    out: PathBuf,
    /// How many images
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// How often each class comes: as in a clinic, or all alike
    #[arg(long, value_enum, default_value_t = BalanceWord::Real)]
    balance: BalanceWord,
    /// Where all chance comes from
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Worker threads; 0 is one for each core. Results do not depend on it
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BalanceWord {
    Real,
    Even,
}

impl Synth {
    pub(super) fn run(self) -> Result<Outcome> {
        let System::Ife = self.system;
        let balance = match self.balance {
            BalanceWord::Real => Balance::Real,
            BalanceWord::Even => Balance::Even,
        };
        render(&self.out, self.count, balance, self.seed, self.threads)?;
        show::note(&format!(
            "wrote {} gels to {}",
            self.count,
            self.out.display()
        ));
        Ok(Outcome::Done)
    }
}

/// Renders gels into a folder on so many threads, and shows how far it has come.
pub(super) fn render(
    folder: &Path,
    count: usize,
    balance: Balance,
    seed: u64,
    threads: usize,
) -> Result<()> {
    let workers = Workers::new(threads)?;
    let mut progress = show::Shown::default();
    progress.begin("rendering synthetic gels", "gels", count as u64);
    let mut shown = 0;
    let mut advance = |done: usize| {
        progress.advance((done - shown) as u64);
        shown = done;
    };
    let written = workers.enter(|| write_dataset(folder, count, balance, seed, &mut advance));
    progress.end();
    written
}
