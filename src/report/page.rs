//! The template engine and its templates.

use crate::error::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

/// The page `template` (`run.html`, `explain.html` or `ledger.html`) filled from `view`.
///
/// Templates whose names end in `.html` escape what they print; a name that a template uses and `view` lacks is an
/// error, so that no page is silently incomplete.
pub(super) fn render(template: &str, view: &impl Serialize) -> Result<String> {
    let fault = |error: minijinja::Error| Error::input(format!("template {template}: {error:#}"));
    let mut pages = Environment::new();
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    // Lines that hold only a template's own statement leave no empty line on the page.
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    pages.set_syntax(syntax.map_err(fault)?);
    for (name, source) in [
        ("style.css", include_str!("style.css")),
        ("parts.html", include_str!("parts.html")),
        ("run.html", include_str!("run.html")),
        ("explain.html", include_str!("explain.html")),
        ("ledger.html", include_str!("ledger.html")),
        ("ledger.css", include_str!("ledger.css")),
        ("ledger.js", include_str!("ledger.js")),
    ] {
        pages.add_template(name, source).map_err(fault)?;
    }
    let page = pages.get_template(template).map_err(fault)?;
    page.render(Serde(view)).map_err(fault)
}
