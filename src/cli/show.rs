//! What the user sees: results, notes, progress.

use crate::error::{Error, Result};
use crate::report::{Align, Table, harmless};
use crate::train::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes a result to standard output.
///
/// # Errors
/// It cannot be written. A reader that has gone away (`| head`) is no error.
pub(super) fn result(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::input(format!(
            "cannot write to standard output: {e}"
        ))),
        _ => Ok(()),
    }
}

/// Writes a result as JSON.
///
/// # Errors
/// As [`result`].
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).map_err(|e| Error::input(format!("no JSON: {e}")))?;
    result(&format!("{text}\n"))
}

/// Writes a line to standard error: whatever the names of files hold, it stays one harmless line. If standard error is
/// gone, there is nobody left to tell.
pub(super) fn note(line: &str) {
    writeln!(stderr().lock(), "{}", harmless(line)).ok();
}

static STOP: AtomicBool = AtomicBool::new(false);

/// From here on, Ctrl-C, SIGTERM and the terminal's end ask the work to stop at the next good moment; a second one ends the
/// program.
///
/// # Errors
/// The system refuses the handler.
pub(super) fn stop_gently_on_interrupt() -> Result<()> {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(1);
        }
        note("stopping behind this step; a second signal ends at once");
    };
    ctrlc::set_handler(handler)
        .map_err(|e| Error::device(format!("cannot listen for signals: {e}")))
}

/// A progress bar on a terminal, a line per part elsewhere.
#[derive(Default)]
pub(super) struct Shown {
    bar: Option<ProgressBar>,
}

const STYLE: &str = "{msg:<34} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";

impl Progress for Shown {
    fn begin(&mut self, what: &str, unit: &'static str, total: u64) {
        if !stderr().is_terminal() {
            return note(&format!("{what}: {total} {unit}"));
        }
        let bar = ProgressBar::new(total).with_message(what.to_string());
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        self.bar = Some(bar);
    }

    fn advance(&mut self, units: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(units);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(harmless(text)),
            None => note(text),
        }
    }

    fn should_stop(&self) -> bool {
        STOP.load(Ordering::SeqCst)
    }
}

/// A table as aligned text; the first row is its head.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut table = Table::new(vec![Align::Left; columns]);
    rows.iter().for_each(|row| table.row(row));
    table.render(0)
}
