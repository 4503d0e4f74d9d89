//! What no input may do: every target takes bytes, makes of them what a stranger could give, and panics if the library
//! breaks a promise. A refusal is no finding; a panic, an overflow, a wrong number and a lost value are.
//!
//! `fuzz_targets/` holds an entry for libFuzzer to each function here, `seeds/` the inputs that a run starts from, among
//! them those that once found something. `smoke` runs every target for a while.

mod chance;
mod graphs;
mod op;
mod prove;
mod saved;

pub use graphs::graphs;
pub use op::op;
pub use saved::saved;

use axenic::data::decode::decode_bytes;
use axenic::data::gel_table::GelTable;
use axenic::systems::ife::config::{Config, Preset};
use axenic::train::Weights;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Bytes as an image file.
pub fn images(bytes: &[u8]) {
    if let Ok(decoded) = decode_bytes(bytes) {
        let (height, width) = (decoded.image.height(), decoded.image.width());
        assert_eq!(decoded.image.samples().len(), height * width * 3);
    }
}

/// Bytes as a weight file of any origin, and as one of ours (a checkpoint is one): what is read can be written, and
/// reads the same.
pub fn weights(bytes: &[u8]) {
    let own = Weights::parse_own(bytes);
    let Ok(weights) = Weights::parse(bytes) else {
        assert!(own.is_err(), "what strangers may give, we may");
        return;
    };
    let written = weights.to_bytes().expect("what was read can be written");
    let again = Weights::parse_own(&written).expect("what was written can be read");
    assert_eq!(weights.digest(), again.digest());
}

/// Bytes as the label tables of a data folder: one, or with a zero byte between them those of training and test.
pub fn tables(bytes: &[u8]) {
    let folder = data_folder();
    let label = folder.join("label");
    let (names, texts) = match bytes.iter().position(|&byte| byte == 0) {
        Some(at) => (["train.csv", "test.csv"], [&bytes[..at], &bytes[at + 1..]]),
        None => (["all.csv", "test.csv"], [bytes, &[]]),
    };
    for name in ["all.csv", "train.csv", "test.csv"] {
        match names.iter().position(|own| *own == name) {
            Some(i) if i == 0 || names[0] == "train.csv" => {
                fs::write(label.join(name), texts[i]).expect("a writable folder");
            }
            _ => drop(fs::remove_file(label.join(name))),
        }
    }
    let table = GelTable::read(folder);
    assert!(!table.records.is_empty() || !table.problems.is_empty());
    for record in &table.records {
        let path = record.path.canonicalize().expect("a listed image exists");
        assert!(path.starts_with(folder), "{record:?} is outside the folder");
        assert!(record.class < 9 && record.heavy < 4 && record.light < 3);
    }
    for problem in &table.problems {
        assert!(!problem.to_string().is_empty());
    }
}

/// A data folder of this process with two images, as a canonical path.
fn data_folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/tables")
            .join(std::process::id().to_string());
        for name in ["label", "data"] {
            fs::create_dir_all(folder.join(name)).expect("a writable folder");
        }
        for name in ["1.JPG", "2.JPG"] {
            fs::write(folder.join("data").join(name), name).expect("a writable folder");
        }
        folder.canonicalize().expect("it exists")
    })
}

/// Bytes as a configuration file, and each of its lines as a setting: what is read is written so that it reads the same.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let base = Preset::Paper.config();
    let settings = text.lines().filter_map(|line| base.with(line).ok());
    for config in Config::read(text, &base).into_iter().chain(settings) {
        let written = config.to_toml().expect("what was read can be written");
        let again = Config::read(&written, &base).expect("what was written can be read");
        assert_eq!(again, config);
    }
}
