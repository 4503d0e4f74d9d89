//! A whole training: the loop, what follows it, and going on elsewhere when a device fails.

use super::finish::finish;
use super::fit::{Task, fit};
use super::result::RunReport;
use crate::error::Result;
use crate::train::{Progress, Runner};

/// Where a training goes on when its device fails: makes the runner.
pub type Spare<'a> = &'a dyn Fn() -> Result<Runner>;

/// Trains, and gathers what the report shows. If the device fails and there is a spare, `runner` becomes that, and the
/// training goes on from the last checkpoint; the report says so.
///
/// # Errors
/// As [`fit`] and [`finish`].
pub fn train(
    task: &Task<'_>,
    runner: &mut Runner,
    spare: Option<Spare<'_>>,
    progress: &mut dyn Progress,
) -> Result<RunReport> {
    let failed = match whole(task, runner, progress) {
        Err(e) if e.is_device() => e,
        outcome => return outcome,
    };
    progress.end();
    let Some(spare) = spare else {
        let advice = "--resume goes on from the last checkpoint; with --on-device-loss cpu a gpu's failure does not end a run";
        return Err(failed.at(advice));
    };
    *runner = spare()?;
    progress.note(&format!("{failed}; going on with {}", runner.description()));
    let mut rest = *task;
    rest.options.resume = true;
    whole(&rest, runner, progress)
}

fn whole(task: &Task<'_>, runner: &mut Runner, progress: &mut dyn Progress) -> Result<RunReport> {
    let fitted = fit(task, runner, progress)?;
    finish(task, &fitted, runner, progress)
}
