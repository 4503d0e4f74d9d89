//! What is computed, by name: a system or a bare model, with everything that decides its graphs.

use super::System;
use crate::array::Array;
use crate::data::decode::decode;
use crate::data::resize::{Normalisation, resize};
use crate::error::{Error, Result};
use crate::graph::{Graph, Recompute};
use crate::models::{self, Model};
use crate::rng::{Stream, stream_key};
use crate::systems::ife::config::{Config, Preset};
use crate::systems::ife::graphs;
use crate::systems::ife::images::NORMALISATION;
use crate::systems::ife::synth;
use crate::train::bare::{self, DROPOUT_KEY, ForwardRequest, TrainingRequest};
use crate::train::{Groups, Weights};
use clap::ValueEnum;
use std::path::Path;

/// A system or a bare model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    System(System),
    /// A model of [`models`], by its name.
    Model(&'static str),
}

/// What is computed of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Inference,
    /// Forward, backward and update.
    TrainingStep,
}

impl Pass {
    /// The pass that a switch `--train` asks for.
    pub(super) fn new(train: bool) -> Self {
        if train {
            Self::TrainingStep
        } else {
            Self::Inference
        }
    }
}

/// How the training step of a bare model differs from the usual one.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Tuning {
    /// What of a model stays as it is when it trains, and all below it: layer1, layer*.0, **.bias, or * for all; may be
    /// repeated
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// What of a model's forward pass the gradient computes again, to save memory
    #[arg(long, value_name = "WHAT", default_value = "no")]
    recompute: Again,
}

/// What is computed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Again {
    /// Nothing: it is kept
    #[default]
    No,
    /// The insides of blocks, one by one
    Blocks,
}

/// A network with everything that decides its graphs but the number of images.
pub(super) enum Configured {
    Ife(Config),
    Model {
        model: Box<dyn Model>,
        /// Height and width of the images.
        size: usize,
        tuning: Tuning,
    },
}

impl Network {
    /// The network of this name.
    ///
    /// # Errors
    /// There is none; the error lists all there are.
    pub(super) fn named(name: &str) -> Result<Self> {
        if let Ok(system) = System::from_str(name, true) {
            return Ok(Self::System(system));
        }
        let model = models::names().find(|own| *own == name);
        model.map(Self::Model).ok_or_else(|| {
            Error::input(format!("there is no system or model {name:?}; {}", names()))
        })
    }

    /// Its name.
    pub(super) fn name(self) -> String {
        match self {
            Self::System(system) => system_name(system),
            Self::Model(name) => name.to_string(),
        }
    }

    /// The network on images of this size, else of its own, with these settings, fitted to the weights.
    pub(super) fn configured(
        self,
        size: Option<usize>,
        settings: &[String],
        weights: Option<&Weights>,
    ) -> Result<Configured> {
        match self {
            Self::System(System::Ife) => ife(size, settings, weights).map(Configured::Ife),
            Self::Model(name) if !settings.is_empty() => Err(Error::input(format!(
                "--set goes with a system; {name} has no settings"
            ))),
            Self::Model(name) => {
                let mut model = models::find(name)?;
                if let Some(weights) = weights {
                    model.fit_to(&|name| weights.tensors.get(name).map(Array::shape));
                }
                let size = size.unwrap_or(model.profile().preprocessing.size);
                Ok(Configured::Model {
                    model,
                    size,
                    tuning: Tuning::default(),
                })
            }
        }
    }
}

/// The names of all networks, in a sentence.
pub(super) fn names() -> String {
    let systems = System::value_variants().iter();
    let systems: Vec<_> = systems.map(|&system| system_name(system)).collect();
    format!(
        "systems are {}; models are {}",
        systems.join(", "),
        models::names().collect::<Vec<_>>().join(", ")
    )
}

fn system_name(system: System) -> String {
    let value = system.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_string())
}

/// The paper's configuration with the width of the weights, the size and the settings given.
fn ife(size: Option<usize>, settings: &[String], weights: Option<&Weights>) -> Result<Config> {
    let mut config = Preset::Paper.config();
    // If one is missing, the other tells; that it is missing is said with whatever else does not fit.
    let stem = ["encoder.conv1.weight", "encoder.bn1.weight"].iter();
    let stem = weights.and_then(|own| stem.copied().find_map(|name| own.tensors.get(name)));
    if let Some(width) = stem.and_then(|tensor| tensor.shape().first().copied()) {
        let sized = config.with(&format!("model.width={width}"));
        config = sized.map_err(|e| e.within("the width of the weights"))?;
    }
    if let Some(size) = size {
        config = config.with(&format!("model.size={size}"))?;
    }
    settings
        .iter()
        .try_fold(config, |config, setting| config.with(setting))
}

impl Configured {
    /// The same, with a training step so tuned.
    ///
    /// # Errors
    /// It is a system, or the pass is no training step, and something is to be tuned.
    pub(super) fn tuned(mut self, own: Tuning, pass: Pass) -> Result<Self> {
        if own.freeze.is_empty() && own.recompute == Again::No {
            return Ok(self);
        }
        match (&mut self, pass) {
            (Self::Model { tuning, .. }, Pass::TrainingStep) => {
                *tuning = own;
                Ok(self)
            }
            _ => Err(Error::input(
                "--freeze and --recompute go with the training step of a model; give --train and a model's name",
            )),
        }
    }

    /// Records a pass over so many images.
    pub(super) fn graph(&self, pass: Pass, batch: usize) -> Result<Graph> {
        match (self, pass) {
            (Self::Ife(config), Pass::Inference) => graphs::inference(&config.model, batch),
            (Self::Ife(config), Pass::TrainingStep) => graphs::training_step(config, batch),
            (
                Self::Model {
                    model,
                    size,
                    tuning,
                },
                pass,
            ) => {
                let (model, images) = (model.as_ref(), [batch, 3, *size, *size].into());
                match pass {
                    Pass::Inference => bare::forward(model, images, ForwardRequest::INFERENCE),
                    Pass::TrainingStep => {
                        let freeze = tuning.freeze.iter();
                        let request = TrainingRequest {
                            optimizer: Preset::Paper.config().train.sgd(),
                            groups: &freeze.fold(Groups::default(), |own, part| own.freeze(part)),
                            recompute: match tuning.recompute {
                                Again::No => Recompute::No,
                                Again::Blocks => Recompute::Blocks,
                            },
                        };
                        bare::training_step(model, images, request)
                    }
                }
            }
        }
    }

    /// What such a graph is to be given: for a system synthetic images with their labels, for a bare model noise.
    pub(super) fn inputs(
        &self,
        pass: Pass,
        batch: usize,
        seed: u64,
    ) -> Result<Vec<(&'static str, Array)>> {
        let mut inputs = match self {
            Self::Ife(config) => synth::step_inputs(config, batch, seed)?,
            Self::Model { size, .. } => {
                let mut stream = Stream::new(seed, "images", 0, 0);
                let pixels = (0..batch * 3 * size * size).map(|_| stream.range(-1.0, 1.0) as f32);
                let x = Array::new([batch, 3, *size, *size], pixels.collect::<Vec<_>>())?;
                let rate = Preset::Paper.config().train.learning_rate;
                vec![
                    ("x", x),
                    ("learning_rate", Array::scalar(rate)),
                    (DROPOUT_KEY, stream_key(seed, "dropout", 0).into()),
                ]
            }
        };
        if pass == Pass::Inference {
            inputs.retain(|(name, _)| *name == "x");
        }
        Ok(inputs)
    }

    /// An image file as the network wants it [1, 3, H, W].
    pub(super) fn picture(&self, path: &Path) -> Result<Array> {
        let (size, normalisation) = match self {
            Self::Ife(config) => (config.model.size, NORMALISATION),
            Self::Model { model, size, .. } => {
                let own = model.profile().preprocessing;
                let [mean, std] = [own.mean, own.std].map(|of| of.map(|value| value as f32));
                (*size, Normalisation { mean, std })
            }
        };
        let planes = resize(&decode(path)?.image, size, size)?;
        Array::new([1, 3, size, size], planes.normalised(&normalisation))
    }
}
