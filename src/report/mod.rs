//! Results for people and programs: self-contained HTML pages, tables for the terminal, CSV.
//!
//! Numbers are computed elsewhere; this folder turns result structs into text. The pages are templates
//! (`run.html`, `explain.html`, `ledger.html`) with their shared parts (`parts.html`, `style.css`), compiled into the
//! program; everything that comes from outside is escaped by the template engine.

mod account;
mod chart;
mod chrome_trace;
mod evaluation;
mod example;
mod explain_page;
mod format;
mod history;
mod html;
mod ledger_page;
mod ledger_text;
mod page;
mod png;
#[cfg(test)]
mod samples;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use account::{account_place, account_text};
pub use chrome_trace::chrome_trace;
pub use explain_page::explain_html;
pub use format::count;
pub use html::run_html;
pub use ledger_page::ledger_html;
pub use ledger_text::{ledger_text, scaled};
pub use png::encode_png;
pub use table::{Align, Table, harmless};
pub use text::{evaluation_text, predictions_csv, predictions_text, problems_text};
