//! `axenic explain`: what a trained run looks at.

use super::compute::Compute;
use super::{Outcome, show};
use crate::error::Result;
use crate::explain::attention_overlay;
use crate::report;
use crate::systems::ife::graphs::TASKS;
use crate::systems::ife::reader::{Reader, pictures};
use crate::systems::ife::result::Example;
use crate::systems::ife::run::RunFolder;
use crate::train::Files;
use clap::ValueEnum;
use std::path::{Path, PathBuf};

/// Shows what the network looks at: overlays as PNG, and one HTML page.
///
/// Example: axenic explain run gel.jpg --out explained
#[derive(clap::Args)]
pub(super) struct Explain {
    /// The run folder
    run: PathBuf,
    /// The image files
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// The folder to write
    #[arg(long)]
    out: PathBuf,
    /// How
    #[arg(long, value_enum, default_value_t = Method::Attention)]
    method: Method,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// The network's own attention over the rows of the gel
    Attention,
}

impl Explain {
    pub(super) fn run(self) -> Result<Outcome> {
        let Method::Attention = self.method;
        let folder = RunFolder::open(&self.run)?;
        let size = folder.config()?.model.size;
        let pictures = pictures(self.images.clone(), size, self.compute.threads)?;
        let (reader, mut runner) = Reader::open(&folder, 1, || self.compute.runner())?;
        let files = Files::default();
        files.make_folder(&self.out)?;
        let mut examples = Vec::new();
        let mut outcome = Outcome::Done;
        for (i, (path, picture)) in self.images.iter().zip(pictures).enumerate() {
            match picture.and_then(|picture| reader.read(&mut runner, &picture, None)) {
                Ok(example) => {
                    write_overlays(&files, &self.out, i, path, &example)?;
                    examples.push(example);
                }
                Err(e) if e.is_input() => {
                    show::note(&format!("axenic: {e}"));
                    outcome = Outcome::Incomplete;
                }
                Err(e) => return Err(e),
            }
        }
        let page = self.out.join("explain.html");
        files.write(&page, report::explain_html(&examples)?.as_bytes())?;
        show::result(&format!("{}\n", page.display()))?;
        Ok(outcome)
    }
}

/// A PNG for each of the last two stages and each task, as in `1-gel-stage4-heavy.png`: the last stage's map says what
/// decided, the one before has twice the rows. The number keeps equal names apart.
fn write_overlays(
    files: &Files,
    out: &Path,
    index: usize,
    image: &Path,
    example: &Example,
) -> Result<()> {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    let stages = example.attention.len();
    let last_two = (1..=stages)
        .zip(&example.attention)
        .skip(stages.saturating_sub(2));
    for (stage, maps) in last_two {
        for (task, map) in TASKS.iter().zip(maps) {
            let overlay = attention_overlay(&example.pixels, example.size, map)?;
            let path = out.join(format!("{}-{stem}-stage{stage}-{task}.png", index + 1));
            files.write(
                &path,
                &report::encode_png(&overlay.pixels, overlay.width, overlay.height)?,
            )?;
        }
    }
    Ok(())
}
