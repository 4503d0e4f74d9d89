//! One gel with what is said of it and where the network looked, for the run's report and for `explain`.

use super::format::{class_name, finite, name_of, percent, significant};
use super::png::data_uri;
use crate::error::Result;
use crate::explain::attention_overlay;
use crate::systems::ife::graphs::TASKS;
use crate::systems::ife::result::{CLASS_NAMES, Example, HEAVY_NAMES, LIGHT_NAMES};
use serde::Serialize;

/// Which attention maps a page shows.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Maps {
    /// Of the last two stages; one picture where both tasks share a stage.
    LastStages,
    /// Every stage and task.
    All,
}

/// One gel, ready to be shown.
#[derive(Serialize)]
pub(super) struct ExampleView {
    image: String,
    class: String,
    confidence: String,
    truth: Option<String>,
    /// `right`, `wrong` or `unknown`.
    outcome: &'static str,
    warning: Option<String>,
    probabilities: Vec<Bar>,
    heavy: Vec<Bar>,
    light: Vec<Bar>,
    size: usize,
    gel: String,
    maps: Vec<MapView>,
}

/// A probability as a bar.
#[derive(Serialize)]
struct Bar {
    name: String,
    /// Length in per cent.
    length: f64,
    text: String,
    chosen: bool,
}

/// An attention map on its gel.
#[derive(Serialize)]
struct MapView {
    title: String,
    src: String,
    alt: String,
    width: usize,
    height: usize,
    rows: usize,
    /// Lowest and highest attention; `None` if the map holds no number.
    range: Option<(String, String)>,
}

/// The example as a page shows it.
///
/// # Errors
/// The pixels do not fit the size, or a map is empty; the text names the image.
pub(super) fn example_view(example: &Example, maps: Maps) -> Result<ExampleView> {
    let prediction = &example.prediction;
    let within = |error: crate::error::Error| error.within(&prediction.image);
    Ok(ExampleView {
        image: prediction.image.clone(),
        class: prediction.name.clone(),
        confidence: percent(Some(prediction.confidence)),
        truth: example.truth.map(class_name),
        outcome: match example.truth {
            None => "unknown",
            Some(truth) if truth == prediction.class => "right",
            Some(_) => "wrong",
        },
        warning: prediction.warning.clone(),
        probabilities: bars(
            &prediction.probabilities,
            &CLASS_NAMES,
            Some(prediction.class),
        ),
        heavy: bars(&prediction.heavy, &HEAVY_NAMES, None),
        light: bars(&prediction.light, &LIGHT_NAMES, None),
        size: example.size,
        gel: data_uri(&example.pixels, example.size, example.size).map_err(within)?,
        maps: map_views(example, maps).map_err(within)?,
    })
}

/// Bars of `probabilities`; marked is `chosen`, or else the largest.
fn bars(probabilities: &[f64], names: &[&str], chosen: Option<usize>) -> Vec<Bar> {
    let largest = probabilities
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    let chosen = chosen.or_else(|| probabilities.iter().position(|p| *p == largest));
    let bar = |(class, &probability): (usize, &f64)| Bar {
        name: name_of(names, class),
        length: finite(Some(probability))
            .map_or(0.0, |share| (1000.0 * share.clamp(0.0, 1.0)).round() / 10.0),
        text: percent(Some(probability)),
        chosen: chosen == Some(class),
    };
    probabilities.iter().enumerate().map(bar).collect()
}

fn map_views(example: &Example, maps: Maps) -> Result<Vec<MapView>> {
    let skipped = match maps {
        Maps::LastStages => example.attention.len().saturating_sub(2),
        Maps::All => 0,
    };
    let mut views = Vec::new();
    for (stage, pair) in example.attention.iter().enumerate().skip(skipped) {
        if maps == Maps::LastStages && pair[0] == pair[1] {
            views.push(map_view(example, &pair[0], stage + 1, "both tasks")?);
            continue;
        }
        for (task, map) in TASKS.into_iter().zip(pair) {
            views.push(map_view(example, map, stage + 1, task)?);
        }
    }
    Ok(views)
}

fn map_view(example: &Example, map: &[f32], stage: usize, task: &str) -> Result<MapView> {
    let overlay = attention_overlay(&example.pixels, example.size, map)?;
    let title = format!("stage {stage}, {task}");
    Ok(MapView {
        src: data_uri(&overlay.pixels, overlay.width, overlay.height)?,
        alt: alt(&title, map),
        title,
        width: overlay.width,
        height: overlay.height,
        rows: map.len(),
        range: overlay
            .range
            .map(|(low, high)| (significant(f64::from(low)), significant(f64::from(high)))),
    })
}

/// The map in words: where it is strongest.
fn alt(title: &str, map: &[f32]) -> String {
    let strongest = (0..map.len())
        .filter(|&row| map[row].is_finite())
        .reduce(|best, row| if map[row] > map[best] { row } else { best });
    let place = strongest.map_or("no finite values".into(), |row| {
        let share = 100.0 * (row as f64 + 0.5) / map.len() as f64;
        format!("strongest {share:.0} % of the way down the gel")
    });
    format!("Attention of {title}: {place}")
}
