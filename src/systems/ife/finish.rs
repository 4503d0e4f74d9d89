//! Behind the training: what training images look like is learnt, the best weights are scored, the report's facts are
//! gathered.

use super::config::Config;
use super::familiarity::{Appearance, Familiarity, describe};
use super::fit::{Fitted, Task};
use super::images::{Images, Part, picture};
use super::reader::{Picture, Reader};
use super::result::{Evaluation, Example, RunReport};
use super::run::{RunFolder, Standing};
use super::score::{Outcome, evaluate};
use super::study::{self, INFERENCE_BATCH};
use crate::data::gel_table::CLASSES;
use crate::error::Result;
use crate::train::{Progress, Runner};

/// Training images that are looked at to know what they look like.
const FAMILIAR_IMAGES: usize = 600;
/// Examples in the report: one of each class, and so many mistakes.
const MISTAKES: usize = 3;

/// The version of wgpu that this program is built with.
const WGPU: &str = if cfg!(feature = "gpu") {
    env!("AXENIC_WGPU")
} else {
    "not built in"
};

/// Scores the best weights on validation and test part, and gathers everything the report shows.
///
/// # Errors
/// An image cannot be read, the executor fails, or a file cannot be written.
pub fn finish(
    task: &Task<'_>,
    fitted: &Fitted,
    runner: &mut Runner,
    progress: &mut dyn Progress,
) -> Result<RunReport> {
    let Task {
        config,
        images,
        folder,
        options,
    } = task;
    let threads = options.threads;
    let weights = folder.load_best()?;
    let digest = weights.digest();
    study::load(runner, config, weights, INFERENCE_BATCH)?;
    learn_familiarity(runner, config, images, folder, threads, progress)?;
    let mut evaluations: Vec<Evaluation> = Vec::new();
    let mut examples = Vec::new();
    for part in [Part::Validation, Part::Test] {
        let items = images.part(part);
        if items.is_empty() {
            continue;
        }
        progress.begin(
            &format!("scoring the {} part", part.name()),
            "images",
            items.len() as u64,
        );
        let outcomes = study::outcomes(runner, config, images, &items, threads, progress)?;
        progress.end();
        let counts = images.class_counts(Part::Train);
        evaluations.push(evaluate(
            part.name(),
            &outcomes,
            &counts,
            config.train.seed,
        )?);
        examples = choose_examples(&items, &outcomes);
    }
    let examples = read_examples(runner, images, folder, config, &examples)?;
    Ok(RunReport {
        history: fitted.standing.rows.clone(),
        best_epoch: fitted.standing.best_epoch,
        evaluations,
        examples,
        config: config.to_toml()?,
        facts: facts(runner, images, fitted, &digest),
        data: description(images),
        left_out: images.left_out.clone(),
    })
}

fn learn_familiarity(
    runner: &mut Runner,
    config: &Config,
    images: &Images,
    folder: &RunFolder,
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut appearances = |part: Part| -> Result<Vec<Appearance>> {
        let mut items = images.part(part);
        // Evenly spread over the part, whatever its order.
        let step = items.len().div_ceil(FAMILIAR_IMAGES).max(1);
        items = items.into_iter().step_by(step).collect();
        progress.begin(
            &format!("learning what the {} images look like", part.name()),
            "images",
            items.len() as u64,
        );
        let readings = study::read_images(runner, config, images, &items, threads, progress)?;
        progress.end();
        items
            .iter()
            .zip(readings)
            .map(|(&item, reading)| {
                let picture = picture(&images.record(item).path, config.model.size)?;
                Ok(Appearance {
                    features: reading.features,
                    picture: describe(&picture),
                })
            })
            .collect()
    };
    let familiarity = Familiarity::fit(&appearances(Part::Train)?, &appearances(Part::Validation)?);
    let bytes = familiarity.to_weights()?.to_bytes()?;
    folder.files().restore(&folder.familiarity_path(), &bytes)
}

/// One image of each class, and some that were read wrongly.
fn choose_examples(items: &[usize], outcomes: &[Outcome]) -> Vec<usize> {
    let first_of = |class: usize| outcomes.iter().position(|outcome| outcome.class == class);
    let mut chosen: Vec<usize> = (0..CLASSES.len()).filter_map(first_of).collect();
    let wrong = |i: &usize| outcomes[*i].decoded.class != outcomes[*i].class && !chosen.contains(i);
    let mistakes: Vec<usize> = (0..outcomes.len()).filter(wrong).take(MISTAKES).collect();
    chosen.extend(mistakes);
    chosen.into_iter().map(|i| items[i]).collect()
}

fn read_examples(
    runner: &mut Runner,
    images: &Images,
    folder: &RunFolder,
    config: &Config,
    items: &[usize],
) -> Result<Vec<Example>> {
    let counts = images.class_counts(Part::Train).to_vec();
    let reader = Reader::on(folder, config.clone(), counts)?;
    let read = |&item: &usize| {
        let record = images.record(item);
        let picture = Picture::read(&record.path, config.model.size)?;
        let mut example = reader.read(runner, &picture, Some(record.class))?;
        example.prediction.image.clone_from(&record.id);
        Ok(example)
    };
    items.iter().map(read).collect()
}

fn facts(
    runner: &Runner,
    images: &Images,
    fitted: &Fitted,
    weights: &str,
) -> Vec<(String, String)> {
    let (count, seconds) = fitted.trained;
    let rate = if seconds > 0.0 {
        format!("{:.1} images/s", count as f64 / seconds)
    } else {
        "not measured".into()
    };
    [
        ("device", devices(&fitted.standing)),
        ("axenic", env!("CARGO_PKG_VERSION").to_string()),
        ("wgpu", WGPU.to_string()),
        ("compiler", env!("AXENIC_RUSTC").to_string()),
        ("training steps", fitted.standing.step.to_string()),
        ("speed of the training steps", rate),
        (
            "planned peak memory",
            format!("{} MiB", runner.peak_bytes() >> 20),
        ),
        ("training / validation / test images", {
            let count = |part| images.part(part).len();
            format!(
                "{} / {} / {}",
                count(Part::Train),
                count(Part::Validation),
                count(Part::Test)
            )
        }),
        ("converted images", images.converted()),
        ("data SHA-256", images.digest.clone()),
        ("weights SHA-256", weights.to_string()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .to_vec()
}

/// The device, or the devices with the steps behind which they came.
fn devices(standing: &Standing) -> String {
    let name = |(step, device): &(usize, String)| match step {
        0 => device.clone(),
        step => format!("behind step {step} {device}"),
    };
    let names: Vec<String> = standing.devices.iter().map(name).collect();
    names.join("; ")
}

fn description(images: &Images) -> String {
    let counts = images.class_counts(Part::All);
    let listed: Vec<String> = CLASSES
        .iter()
        .zip(counts)
        .map(|((name, _, _), n)| format!("{n} {name}"))
        .collect();
    format!(
        "{} labelled images: {}",
        counts.iter().sum::<u64>(),
        listed.join(", ")
    )
}
