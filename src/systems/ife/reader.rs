//! A trained run that reads images: for `predict`, `explain`, `evaluate` and the report.

use super::config::Config;
use super::decode::{Decoded, arg_max};
use super::familiarity::{Appearance, Familiarity, describe};
use super::images::{NORMALISATION, picture, stack};
use super::result::{Example, Prediction};
use super::run::{RunFolder, TRAINING_COUNTS, expect_trained_for};
use super::study::{self, Reading};
use crate::data::gel_table::CLASSES;
use crate::data::loader::{Loader, Options};
use crate::data::resize::Planes;
use crate::error::Result;
use crate::train::Runner;
use crate::workers;
use std::path::{Path, PathBuf};

/// If no class is as probable as this, the prediction is called unsure.
const UNSURE: f64 = 0.5;

/// An image file, decoded and resized.
pub struct Picture {
    path: PathBuf,
    planes: Planes,
    /// What can be said of it in plain numbers.
    description: Vec<f64>,
}

impl Picture {
    /// Reads a file for a network that looks at `size` × `size` pixels.
    ///
    /// # Errors
    /// It is not an image, or damaged.
    pub fn read(path: &Path, size: usize) -> Result<Self> {
        let planes = picture(path, size)?;
        Ok(Self {
            path: path.to_path_buf(),
            description: describe(&planes),
            planes,
        })
    }
}

/// Reads image files as [`Picture::read`] does, in their order, on threads that run ahead of whoever takes them; 0 means one
/// thread for each core.
///
/// # Errors
/// The system refuses a thread.
pub fn pictures(
    paths: Vec<PathBuf>,
    size: usize,
    threads: usize,
) -> Result<impl Iterator<Item = Result<Picture>>> {
    let one_by_one: Vec<Vec<usize>> = (0..paths.len()).map(|i| vec![i]).collect();
    let read = move |i: usize, _, _| Picture::read(&paths[i], size);
    let loader = Loader::new(&one_by_one, 0, Options { threads, ahead: 2 }, read)?;
    Ok(loader.flat_map(|loaded| match loaded {
        Ok(pictures) => pictures.into_iter().map(Ok).collect(),
        Err(e) => vec![Err(e)],
    }))
}

/// A trained network with what it needs to read images.
pub struct Reader {
    /// The run's configuration.
    pub config: Config,
    /// How many images of each class it was trained on.
    pub training_counts: Vec<u64>,
    familiarity: Option<Familiarity>,
}

impl Reader {
    /// Opens a run, and puts its best weights for batches of `batch` images on the runner that `open` gives: the device is
    /// opened, and the network recorded and planned, while the weights are read.
    ///
    /// # Errors
    /// The runner cannot be had; the run has no trained weights, or they are damaged or do not fit its configuration.
    pub fn open(
        folder: &RunFolder,
        batch: usize,
        open: impl FnOnce() -> Result<Runner>,
    ) -> Result<(Self, Runner)> {
        let config = folder.config()?;
        let prepared = || -> Result<Runner> {
            let mut runner = open()?;
            study::prepare(&mut runner, &config.model, batch)?;
            Ok(runner)
        };
        let (runner, weights) = workers::both(prepared, || folder.load_best())?;
        let (mut runner, weights) = (runner?, weights?);
        let counts = weights.entry(TRAINING_COUNTS);
        let loaded = expect_trained_for(&config, &weights)
            .and_then(|()| study::load(&mut runner, &config, weights, batch))
            .and(counts);
        let counts = loaded.map_err(|e| e.within(folder.best_path().display()))?;
        Ok((Self::on(folder, config, counts)?, runner))
    }

    /// The reader of a run whose best weights are on a runner already.
    ///
    /// # Errors
    /// What training images look like cannot be read.
    pub fn on(folder: &RunFolder, config: Config, training_counts: Vec<u64>) -> Result<Self> {
        // A run that was stopped has weights, but has not looked at its training images yet.
        let path = folder.familiarity_path();
        let familiarity = if path.is_file() {
            Some(Familiarity::load(&path)?)
        } else {
            None
        };
        Ok(Self {
            config,
            familiarity,
            training_counts,
        })
    }

    /// Reads one image.
    ///
    /// # Errors
    /// The executor fails.
    pub fn read(
        &self,
        runner: &mut Runner,
        picture: &Picture,
        truth: Option<usize>,
    ) -> Result<Example> {
        let size = self.config.model.size;
        let planes = picture.planes.clone().normalised(&NORMALISATION);
        let x = stack(&[&planes], size, 1)?;
        let reading = study::read(runner, &self.config, &x)?.remove(0);
        Ok(Example {
            prediction: self.prediction(picture, &reading),
            truth,
            pixels: interleaved(&picture.planes),
            size,
            attention: reading.attention,
        })
    }

    fn prediction(&self, picture: &Picture, reading: &Reading) -> Prediction {
        let decoded = &reading.decoded;
        let confidence = decoded.probabilities[decoded.class];
        let appearance = Appearance {
            features: reading.features.clone(),
            picture: picture.description.clone(),
        };
        let strangeness = self
            .familiarity
            .as_ref()
            .map(|familiarity| familiarity.strangeness(&appearance));
        Prediction {
            image: picture.path.display().to_string(),
            class: decoded.class,
            name: CLASSES[decoded.class].0.to_string(),
            probabilities: decoded.probabilities.to_vec(),
            confidence,
            heavy: decoded.heavy.to_vec(),
            light: decoded.light.to_vec(),
            warning: warning(strangeness, decoded),
        }
    }
}

/// Why an outcome should not be relied on, if there is a reason.
fn warning(strangeness: Option<f64>, decoded: &Decoded) -> Option<String> {
    let likeliest = arg_max(&decoded.probabilities);
    let probability = decoded.probabilities[likeliest];
    let mut reasons = Vec::new();
    match strangeness {
        // NaN is strange as well.
        Some(strangeness) if strangeness > 1.0 || strangeness.is_nan() => reasons.push(format!(
            "does not look like the gels this model was trained on ({strangeness:.1} times the limit): do not rely on it"
        )),
        _ => {}
    }
    if likeliest != decoded.class {
        let [class, other] = [decoded.class, likeliest].map(|class| CLASSES[class].0);
        reasons.push(format!(
            "called {class} because the likeliest heavy and light chain do not go together; of the nine classes {other} is \
             the likeliest ({probability:.2})"
        ));
    }
    if probability < UNSURE {
        reasons.push(format!("the model is unsure: no class reaches {UNSURE}"));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Planes [3, H, W] of samples from 0 to 255 as RGB, pixel by pixel.
fn interleaved(planes: &Planes) -> Vec<u8> {
    let area = planes.height * planes.width;
    (0..area)
        .flat_map(|i| {
            [0, 1, 2].map(|c| planes.values[c * area + i].round().clamp(0.0, 255.0) as u8)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systems::ife::config::Decoding;
    use crate::systems::ife::decode::decode;

    /// Heavy G is certain, light none a little likelier than κ: the released decoding says Negative.
    #[test]
    fn a_hidden_positive_is_pointed_out() {
        let logits = |p: f64| p.ln();
        let heavy = [0.008, 0.99, 0.001, 0.001].map(logits);
        let light = [0.50, 0.49, 0.01].map(logits);
        let released = decode(heavy, light, Decoding::Released);
        assert_eq!(released.class, 0);
        let text = warning(Some(0.5), &released).expect("a warning");
        assert!(
            text.contains("called Negative") && text.contains("IgG-κ is the likeliest (0.96)"),
            "{text}"
        );
        assert!(!text.contains("unsure"), "{text}");
        let joint = decode(heavy, light, Decoding::Joint);
        assert_eq!(warning(Some(0.5), &joint), None);
    }

    #[test]
    fn every_reason_is_said() {
        let unsure = decode([0.0; 4], [0.0; 3], Decoding::Joint);
        let text = warning(None, &unsure).expect("a warning");
        assert_eq!(text, "the model is unsure: no class reaches 0.5");
        for strangeness in [1.5, f64::NAN] {
            let text = warning(Some(strangeness), &unsure).expect("a warning");
            assert!(
                text.starts_with("does not look like") && text.contains("; the model is unsure"),
                "{text}"
            );
        }
    }
}
