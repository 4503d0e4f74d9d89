//! What all commands that read a weight file share: it is fitted to a model or to the network of a system.

use super::network::Configured;
use super::show;
use crate::error::{Error, Result};
use crate::report::account_place;
use crate::train::WeightFile;
use crate::train::fit::{self, Account, Attempt, Fate, Fitted, Request, Resampling};
use clap::ValueEnum;
use std::path::Path;

/// How a table of positions is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Resampled {
    /// As timm: cubic, and where it becomes smaller every row counts; so it is done unless asked otherwise
    Antialiased,
    /// As DINOv2 does while running: cubic, with an offset of 0.1
    Offset,
}

/// The way that is asked for, else the usual one.
pub(super) fn resampling(asked: Option<Resampled>) -> Resampling {
    match asked {
        None => Resampling::default(),
        Some(Resampled::Antialiased) => Resampling::Antialiased,
        Some(Resampled::Offset) => Resampling::Offset,
    }
}

/// The weights of a file, fitted to a network, which takes from them what they decide.
///
/// # Errors
/// The file cannot be read or does not fit; the error names it.
pub(super) fn load(path: &Path, configured: &mut Configured, request: &Request) -> Result<Fitted> {
    match attempt(path, configured, request)? {
        Attempt::Fits(fitted) => Ok(*fitted),
        Attempt::Amiss(account) => Err(amiss(path, &account, usize::MAX)),
    }
}

/// As [`load`], with the account of every tensor also where the file does not fit.
///
/// # Errors
/// The file cannot be read, or is of another network; the error names it.
pub(super) fn attempt(
    path: &Path,
    configured: &mut Configured,
    request: &Request,
) -> Result<Attempt> {
    let file = WeightFile::read(path)?;
    let attempt = match configured {
        Configured::Ife(config) => fit::attempt(&file, &mut config.model, request),
        Configured::Model { model, .. } => fit::attempt(&file, model.as_mut(), request),
    };
    let attempt = attempt.map_err(|e| e.within(path.display()))?;
    let Configured::Model {
        image,
        preprocessing,
        ..
    } = configured
    else {
        return Ok(attempt);
    };
    if let Attempt::Fits(fitted) = &attempt {
        *image = fitted.image;
        *preprocessing = fitted.preprocessing.clone();
    }
    Ok(attempt)
}

/// That a file does not fit, with so many of its tensors at most.
pub(super) fn amiss(path: &Path, account: &Account, most: usize) -> Error {
    let complaint = account.complaint(most).unwrap_or_default();
    Error::checkpoint(complaint).within(path.display())
}

/// So many tensors are named where they are only counted otherwise.
const MOST_NAMED: usize = 3;

/// Says where in the file the tensors were found, unless they lie openly, and which are not as the file has them.
pub(super) fn say(account: &Account) {
    let source = &account.source;
    if !(source.entry.is_empty() && source.prefix.is_empty()) {
        show::note(&account_place(account));
    }
    for conversion in &account.converted {
        show::note(&conversion.to_string());
    }
    for line in &account.lines {
        if matches!(line.fate, Fate::Adapted(_) | Fate::Started(_)) {
            show::note(&format!(
                "{}: {}, {}",
                line.name,
                line.fate.word(),
                line.fate.how()
            ));
        }
    }
    let lines = account.lines.iter();
    let skipped = lines.filter(|line| matches!(line.fate, Fate::Skipped(_)));
    let skipped: Vec<String> = skipped
        .map(|line| format!("{} ({})", line.name, line.fate.how()))
        .collect();
    if !skipped.is_empty() {
        let more = match skipped.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named: Vec<String> = skipped.into_iter().take(MOST_NAMED).collect();
        show::note(&format!("skipped {}{more}", named.join(", ")));
    }
}

/// Says that a way of resizing positions was chosen in vain, if it was.
pub(super) fn say_unused(resampled: Option<Resampled>, configured: &Configured) {
    let profile = match configured {
        Configured::Ife(_) => None,
        Configured::Model { model, .. } => Some(model.profile()),
    };
    let has_positions = profile.is_some_and(|profile| profile.position_embedding.is_some());
    if resampled.is_some() && !has_positions {
        show::note("--resampling changes nothing: the network has no table of positions");
    }
}
