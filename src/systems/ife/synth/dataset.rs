//! Writing synthetic gels to disk in the layout of the released data.

use super::{Balance, Sample, sample};
use crate::data::gel_table::CLASSES;
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Gels that are rendered at once before they are written.
const BATCH: usize = 256;

/// Writes `count` gels to `dir`: `data/1.jpg`, `data/2.jpg` …, and their labels in `label/all.csv` with the columns
/// `id,label,label1,label2` (the image relative to the table's folder, the class, the heavy and the light chain).
///
/// Gel i is [`sample`]`(seed, i, balance)`. Classes are drawn, not dealt out: a small set may lack the rare ones,
/// the more so with [`Balance::Real`], where the rarest is expected 43 times in 10,000. `progress` is told how many
/// gels are written so far. Rendering is shared out among the workers this is called on ([`Workers::enter`](crate::workers::Workers::enter)), or else
/// among all cores.
///
/// # Errors
/// `count` is 0, `dir` exists and is not an empty folder, or a file cannot be written.
pub fn write_dataset(
    dir: &Path,
    count: usize,
    balance: Balance,
    seed: u64,
    progress: &mut dyn FnMut(usize),
) -> Result<()> {
    if count == 0 {
        return Err(Error::input(
            "a set of 0 gels cannot be written: ask for at least 1",
        ));
    }
    refuse_content(dir)?;
    for folder in ["data", "label"] {
        let path = dir.join(folder);
        fs::create_dir_all(&path).map_err(|e| failed("create the folder", &path, &e))?;
    }
    let mut table = String::from("id,label,label1,label2\n");
    for start in (1..=count).step_by(BATCH) {
        let end = (start + BATCH - 1).min(count);
        let gels: Vec<Sample> = (start..=end)
            .into_par_iter()
            .map(|i| sample(seed, i as u64, balance))
            .collect::<Result<_>>()?;
        for (i, gel) in (start..=end).zip(&gels) {
            let path = dir.join("data").join(format!("{i}.jpg"));
            fs::write(&path, &gel.jpeg_bytes).map_err(|e| failed("write", &path, &e))?;
            let (_, heavy, light) = CLASSES[gel.class];
            // Writing to a string cannot fail.
            let _ = writeln!(table, "../data/{i}.jpg,{},{heavy},{light}", gel.class);
        }
        progress(end);
    }
    // The table comes last: a set that was cut short has none, and cannot be taken for whole.
    let path = dir.join("label").join("all.csv");
    fs::write(&path, table).map_err(|e| failed("write", &path, &e))
}

fn refuse_content(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let mut entries = fs::read_dir(dir).map_err(|e| failed("list the folder", dir, &e))?;
    if entries.next().is_some() {
        return Err(Error::input(format!(
            "the folder {} is not empty: give one that is empty or does not exist, so that no gels are mixed",
            dir.display()
        )));
    }
    Ok(())
}

fn failed(action: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::input(format!("cannot {action} {}: {error}", path.display()))
}
