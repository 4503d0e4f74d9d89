//! The page of `axenic explain`: where the network looked, for every image, stage and task.

use super::example::{ExampleView, Maps, example_view};
use super::page::render;
use crate::error::Result;
use crate::systems::ife::result::Example;
use serde::Serialize;

#[derive(Serialize)]
struct ExplainView {
    examples: Vec<ExampleView>,
}

/// One HTML file that shows every image with the attention of all stages for both tasks.
///
/// # Errors
/// An image's pixels do not fit its size, or one of its attention maps is empty.
pub fn explain_html(examples: &[Example]) -> Result<String> {
    let examples = examples
        .iter()
        .map(|example| example_view(example, Maps::All))
        .collect::<Result<_>>()?;
    render("explain.html", &ExplainView { examples })
}
