//! A trained run that reads images: for `predict`, `explain`, `evaluate` and the report.

use super::config::Config;
use super::familiarity::{Appearance, Familiarity, describe};
use super::images::{NORMALISATION, picture, stack};
use super::result::{Example, Prediction};
use super::run::RunFolder;
use super::study::{self, Reading};
use crate::data::gel_table::CLASSES;
use crate::data::resize::Planes;
use crate::error::Result;
use crate::train::Runner;
use std::path::Path;

/// Below this probability of its class a prediction is called unsure.
const UNSURE: f64 = 0.5;

/// A trained network with what it needs to read images.
pub struct Reader {
    /// The run's configuration.
    pub config: Config,
    familiarity: Option<Familiarity>,
}

impl Reader {
    /// Opens a run, and puts its best weights on the runner for batches of `batch` images.
    ///
    /// # Errors
    /// The run has no trained weights, or they are damaged or do not fit its configuration.
    pub fn open(folder: &RunFolder, runner: &mut Runner, batch: usize) -> Result<Self> {
        let config = folder.config()?;
        let weights = folder.load_best()?;
        study::load(runner, &config, &weights, batch)
            .map_err(|e| e.within(folder.best_path().display()))?;
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
        })
    }

    /// Reads one image file.
    ///
    /// # Errors
    /// It is not an image, or damaged; or the executor fails.
    pub fn read(&self, runner: &mut Runner, path: &Path, truth: Option<usize>) -> Result<Example> {
        let size = self.config.model.size;
        let planes = picture(path, size)?;
        let x = stack(&[&planes.clone().normalised(&NORMALISATION)], size, 1)?;
        let reading = study::read(runner, &self.config, &x)?.remove(0);
        let prediction = self.prediction(path, &planes, &reading);
        Ok(Example {
            prediction,
            truth,
            pixels: interleaved(&planes),
            size,
            attention: reading.attention,
        })
    }

    fn prediction(&self, path: &Path, planes: &Planes, reading: &Reading) -> Prediction {
        let decoded = &reading.decoded;
        let confidence = decoded.probabilities[decoded.class];
        let appearance = Appearance {
            features: reading.features.clone(),
            picture: describe(planes),
        };
        let strangeness = self
            .familiarity
            .as_ref()
            .map(|familiarity| familiarity.strangeness(&appearance));
        let warning = match strangeness {
            // NaN is strange as well.
            Some(strangeness) if strangeness > 1.0 || strangeness.is_nan() => Some(format!(
                "does not look like the gels this model was trained on ({strangeness:.1} times the limit): do not rely on it"
            )),
            _ if confidence < UNSURE => {
                Some(format!("the model is unsure: no class reaches {UNSURE}"))
            }
            _ => None,
        };
        Prediction {
            image: path.display().to_string(),
            class: decoded.class,
            name: CLASSES[decoded.class].0.to_string(),
            probabilities: decoded.probabilities.to_vec(),
            confidence,
            heavy: decoded.heavy.to_vec(),
            light: decoded.light.to_vec(),
            warning,
        }
    }
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
