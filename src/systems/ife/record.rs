//! The audit record of a run, `record.json`: by what program, on what device, from which data, with which settings it
//! came to be, and the digests of what it left. [`verify`](super::verify) holds a run folder against it.

use super::fit::Task;
use super::images::Part;
use super::run::{RunFolder, Standing};
use crate::data::file::read_whole;
use crate::data::gel_table::Problem;
use crate::error::{Error, Result};
use crate::ops;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of its file in the run folder.
pub const FILE: &str = "record.json";
/// The exact versions of all dependencies, as the program was built with them.
const LOCK_FILE: &str = include_str!("../../../Cargo.lock");
/// The member that holds the digest of all the others.
const OWN_DIGEST: &str = "record_sha256";
/// The most bytes of a record or of a file that it lists.
pub(super) const MAX_BYTES: u64 = 4 << 30;

/// The audit record of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// `ife`.
    pub system: String,
    /// What trained: one session, and one more each time the run was resumed.
    pub sessions: Vec<Session>,
    /// The program of the last session.
    pub program: Program,
    /// Where all chance came from.
    pub seed: u64,
    /// SHA-256 of the configuration as TOML.
    pub config_sha256: String,
    /// What was trained on.
    pub data: Data,
    /// What came of it; nothing as long as the run is not finished.
    pub result: Option<Outcome>,
}

/// One call of the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The command line.
    pub command: Vec<String>,
    /// The device and its driver.
    pub device: String,
    /// The program's version.
    pub axenic: String,
}

/// The program, as far as results depend on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its version.
    pub axenic: String,
    /// SHA-256 of Cargo.lock.
    pub lock_sha256: String,
    /// SHA-256 of each shader's whole text.
    pub shaders: BTreeMap<String, String>,
}

/// The data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The folder.
    pub folder: PathBuf,
    /// SHA-256 over all images' names, labels and bytes, in whatever order.
    pub sha256: String,
    /// Images in the training, validation and test part.
    pub images: [usize; 3],
    /// How many images were converted, and how.
    pub converted: String,
    /// Labelled images that were not used, by name.
    pub without: Vec<String>,
    /// What was wrong with the data.
    pub problems: Vec<String>,
}

/// What a finished run left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The epoch whose weights were kept, from 1.
    pub best_epoch: usize,
    /// SHA-256 over the names, shapes and numbers of these weights.
    pub weights_sha256: String,
    /// SHA-256 of each file, by its path in the run folder.
    pub files: BTreeMap<String, String>,
}

impl Program {
    /// The program that is running.
    pub fn this() -> Self {
        let digest = |(name, text): (String, String)| (name, sha256(text.as_bytes()));
        Self {
            axenic: env!("CARGO_PKG_VERSION").to_string(),
            lock_sha256: sha256(LOCK_FILE.as_bytes()),
            shaders: ops::shaders().into_iter().map(digest).collect(),
        }
    }
}

impl Record {
    /// Begins a session of a run: the record is written before anything is trained. A run that is resumed keeps the
    /// sessions it had.
    ///
    /// # Errors
    /// The record cannot be written, or one that is there cannot be read.
    pub fn begin(task: &Task<'_>, device: String, command: Vec<String>) -> Result<Self> {
        let Task {
            config,
            images,
            folder,
            ..
        } = task;
        let path = folder.path().join(FILE);
        let mut sessions = match path.exists() {
            true => {
                Self::read(folder.path())
                    .map_err(|e| Error::input(format!("{e}; remove it to go on with a new one")))?
                    .sessions
            }
            false => Vec::new(),
        };
        let program = Program::this();
        sessions.push(Session {
            command,
            device,
            axenic: program.axenic.clone(),
        });
        let count = |part| images.part(part).len();
        let record = Self {
            system: "ife".to_string(),
            sessions,
            program,
            seed: config.train.seed,
            config_sha256: sha256(config.to_toml()?.as_bytes()),
            data: Data {
                folder: std::path::absolute(&images.folder)
                    .unwrap_or_else(|_| images.folder.clone()),
                sha256: images.digest.clone(),
                images: [Part::Train, Part::Validation, Part::Test].map(count),
                converted: images.converted(),
                without: images.without.clone(),
                problems: images.left_out.iter().map(Problem::to_string).collect(),
            },
            result: None,
        };
        record.write(folder)?;
        Ok(record)
    }

    /// Completes the record behind the last file of the run.
    ///
    /// # Errors
    /// A file of the run cannot be read, or the record not written.
    pub fn finish(mut self, folder: &RunFolder, best_epoch: usize) -> Result<()> {
        // A device may have failed and another have gone on: the last checkpoint knows them all.
        let last = folder.checkpoints().load::<Standing>(&mut |_| {})?;
        if let (Some(last), Some(session)) = (last, self.sessions.last_mut()) {
            let devices = last.standing.devices.into_iter().map(|(_, device)| device);
            session.device = devices.collect::<Vec<_>>().join(", then ");
        }
        let root = folder.path();
        let mut files = BTreeMap::new();
        for name in files_of(root) {
            files.insert(name.clone(), file_sha256(&root.join(name))?);
        }
        self.result = Some(Outcome {
            best_epoch,
            weights_sha256: folder.load_best()?.digest(),
            files,
        });
        self.write(folder)
    }

    /// Completes the record of a finished run that ended before its record was.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn complete(folder: &RunFolder) -> Result<()> {
        match Self::read(folder.path()) {
            Ok(record) if record.result.is_none() => {
                let best_epoch = folder.load_best()?.entry("epoch")?;
                record.finish(folder, best_epoch)
            }
            // A damaged record is for `verify` to find.
            _ => Ok(()),
        }
    }

    /// Reads the record of a run.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let read = || -> Result<Self> {
            let damaged = |e| Error::checkpoint(format!("the record is damaged: {e}"));
            let bytes = read_whole(&path, MAX_BYTES)?;
            let mut members: serde_json::Map<_, _> =
                serde_json::from_slice(&bytes).map_err(damaged)?;
            let stated = members.remove(OWN_DIGEST);
            let record: Self =
                serde_json::from_value(serde_json::Value::Object(members)).map_err(damaged)?;
            if stated != Some(record.digest()?.into()) {
                return Err(Error::checkpoint(
                    "the record does not match its own digest",
                ));
            }
            Ok(record)
        };
        read().map_err(|e| e.within(path.display()))
    }

    fn members(&self) -> Result<serde_json::Map<String, serde_json::Value>> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(members)) => Ok(members),
            other => Err(Error::input(format!("the record is no object: {other:?}"))),
        }
    }

    fn digest(&self) -> Result<String> {
        let text = serde_json::Value::Object(self.members()?).to_string();
        Ok(sha256(text.as_bytes()))
    }

    fn write(&self, folder: &RunFolder) -> Result<()> {
        let mut members = self.members()?;
        members.insert(OWN_DIGEST.to_string(), self.digest()?.into());
        let text = serde_json::to_string_pretty(&members)
            .map_err(|e| Error::input(format!("the record cannot be written: {e}")))?;
        let path = folder.path().join(FILE);
        folder.files().write(&path, format!("{text}\n").as_bytes())
    }
}

/// The files of a run that its record vouches for, by their paths in its folder.
fn files_of(root: &Path) -> Vec<String> {
    let fixed = ["config.toml", "data.csv", "metrics.csv", "report.html"];
    let present = fixed.iter().filter(|name| root.join(name).is_file());
    let mut names: Vec<String> = present.map(|name| name.to_string()).collect();
    names.extend(tensor_files(root));
    names
}

/// The checkpoints and weights of a run, by their paths in its folder.
pub(super) fn tensor_files(root: &Path) -> Vec<String> {
    let entries = root.join("checkpoint").read_dir();
    let names = entries.into_iter().flatten().flatten();
    let mut names: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".safetensors"))
        .map(|name| format!("checkpoint/{name}"))
        .collect();
    names.sort_unstable();
    names
}

/// SHA-256 of a file, in hexadecimal.
pub(super) fn file_sha256(path: &Path) -> Result<String> {
    let bytes = read_whole(path, MAX_BYTES).map_err(|e| e.within(path.display()))?;
    Ok(sha256(&bytes))
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
