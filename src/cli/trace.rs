//! `axenic trace`: the operations as they run.

use super::compute::Compute;
use super::network::Pass;
use super::subject::{Extent, Subject};
use super::{Outcome, show};
use crate::error::Result;
use crate::ledger::Ledger;
use crate::report;
use crate::train::Files;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs a computation node by node and prints its ledger.
///
/// The ledger has shapes, min/mean/max, time, FLOPs, bytes, how near each operation comes to what the device can do at most,
/// and the digests of the shaders that ran.
///
/// A system (`ife`) is traced with fresh parameters on synthetic images, a model (`resnet18`) with fresh ones or
/// --weights on noise, a run folder with those it has learnt. Or any of them on an --image.
///
/// Example: axenic trace ife --train --html ledger.html --chrome trace.json
#[derive(clap::Args)]
pub(super) struct Trace {
    /// A system (`ife`), a model (`resnet18`), or a run folder
    #[arg(value_name = "SYSTEM|MODEL|RUN")]
    target: String,
    /// The image to read, instead of synthetic ones
    #[arg(long, conflicts_with_all = ["train", "batch"])]
    image: Option<PathBuf>,
    /// A whole training step (forward, backward, update) instead of an inference
    #[arg(long)]
    train: bool,
    /// How many runs the times are medians of
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    runs: u64,
    #[command(flatten)]
    extent: Extent,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also write a trace for chrome://tracing and Perfetto
    #[arg(long, value_name = "FILE")]
    chrome: Option<PathBuf>,
    /// Also write a page that shows every node with its mathematics, its numbers and its shader
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    compute: Compute,
}

impl Trace {
    pub(super) fn run(self) -> Result<Outcome> {
        let pass = Pass::new(self.train);
        let subject = Subject::open(
            &self.target,
            &self.extent,
            pass,
            self.image.as_deref(),
            self.compute.precision(),
        )?;
        let mut executor = self.compute.executor()?;
        let ledger = Ledger::measure(
            &Arc::new(self.compute.graph(&subject.graph)),
            executor.as_mut(),
            &subject.lasting(),
            &subject.inputs(),
            self.runs as usize,
        )?;
        let title = self.title();
        if let Some(path) = &self.chrome {
            write(path, &report::chrome_trace(&ledger, &title)?)?;
        }
        if let Some(path) = &self.html {
            write(path, &report::ledger_html(&ledger, &title)?)?;
        }
        if self.json {
            show::json(&ledger)?;
        } else {
            show::result(&report::ledger_text(&ledger, &title))?;
        }
        Ok(Outcome::Done)
    }

    /// What was traced, in words.
    fn title(&self) -> String {
        let name = Path::new(&self.target).file_name();
        let name = name.map_or(self.target.as_str().into(), |name| name.to_string_lossy());
        let images = match self.extent.batch {
            1 => "1 image".to_string(),
            n => format!("{n} images"),
        };
        match (&self.image, self.train) {
            (Some(image), _) => format!("{name}: inference on {}", image.display()),
            (None, true) => format!("{name}: training step on {images}"),
            (None, false) => format!("{name}: inference on {images}"),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    Files::default().write(path, text.as_bytes())?;
    show::note(&format!("wrote {}", path.display()));
    Ok(())
}
