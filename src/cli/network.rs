//! What is computed, by name: a system or a bare model, with everything that decides its graphs.

use super::System;
use crate::array::Array;
use crate::data::decode::decode;
use crate::data::resize::{Normalisation, resize};
use crate::error::{Error, Result};
use crate::graph::{Graph, Precision, Recompute};
use crate::models::{self, Model, Preprocessing};
use crate::rng::{Stream, stream_key};
use crate::shape::Shape;
use crate::systems::ife::config::{Config, Preset};
use crate::systems::ife::graphs;
use crate::systems::ife::images::NORMALISATION;
use crate::systems::ife::synth;
use crate::train::bare::{self, DROPOUT_KEY, ForwardRequest, TrainingRequest};
use crate::train::{Groups, Sgd};
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
    /// What of a model stays as it is when it trains, and all below it: layer1, layer*.0, or **.bias; may be repeated
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// What of a model's forward pass the gradient computes again, to save memory
    #[arg(long, value_name = "WHAT", default_value = "no")]
    recompute: Recomputed,
}

/// What is computed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Recomputed {
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
        /// Channels, height and width of the images.
        image: [usize; 3],
        /// How images are prepared, if that is known.
        preprocessing: Option<Preprocessing>,
        tuning: Tuning,
        /// In mixed precision a training step scales its loss.
        precision: Precision,
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
            let advice = names();
            let advice = match nearest(name) {
                Some(near) => format!("did you mean {near:?}? ({advice})"),
                None => advice,
            };
            Error::input(format!("there is no system or model {name:?}; {advice}"))
        })
    }

    /// Its name.
    pub(super) fn name(self) -> String {
        match self {
            Self::System(system) => system_name(system),
            Self::Model(name) => name.to_string(),
        }
    }

    /// The network on images of this size, else of its own, with these settings.
    pub(super) fn configured(self, size: Option<usize>, settings: &[String]) -> Result<Configured> {
        match self {
            Self::System(System::Ife) => ife(size, settings).map(Configured::Ife),
            Self::Model(name) if !settings.is_empty() => Err(Error::input(format!(
                "--set goes with a system; {name} has no settings"
            ))),
            Self::Model(name) => {
                let model = models::find(name)?;
                let preprocessing = model.profile().preprocessing;
                let size = size.unwrap_or(preprocessing.size);
                Ok(Configured::Model {
                    model,
                    image: [3, size, size],
                    preprocessing: Some(preprocessing),
                    tuning: Tuning::default(),
                    precision: Precision::Full,
                })
            }
        }
    }
}

/// The names of all networks, in a sentence.
pub(super) fn names() -> String {
    let systems = System::value_variants().iter();
    let systems: Vec<_> = systems.map(|&system| system_name(system)).collect();
    let plain = models::names().filter(|name| !name.ends_with("_fpn"));
    format!(
        "systems are {}; models are {}, and each of these with _fpn behind it",
        systems.join(", "),
        plain.collect::<Vec<_>>().join(", ")
    )
}

/// The name of a network that a wrong one was likely meant for.
fn nearest(name: &str) -> Option<&'static str> {
    let likeness = |own: &&str| strsim::jaro_winkler(&name.to_lowercase(), own);
    let near = models::names().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    near.filter(|near| likeness(near) > 0.85)
}

fn system_name(system: System) -> String {
    let value = system.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_string())
}

/// The paper's configuration with the size and the settings given.
fn ife(size: Option<usize>, settings: &[String]) -> Result<Config> {
    let mut config = Preset::Paper.config();
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
        if own.freeze.is_empty() && own.recompute == Recomputed::No {
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

    /// The same, with a training step for this precision, if one is asked for.
    pub(super) fn in_precision(mut self, asked: Option<Precision>) -> Self {
        let own = match &mut self {
            Self::Ife(config) => &mut config.train.precision,
            Self::Model { precision, .. } => precision,
        };
        *own = asked.unwrap_or(*own);
        self
    }

    /// Records a pass over so many images.
    pub(super) fn graph(&self, pass: Pass, batch: usize) -> Result<Graph> {
        match (self, pass) {
            (Self::Ife(config), Pass::Inference) => graphs::inference(&config.model, batch),
            (Self::Ife(config), Pass::TrainingStep) => graphs::training_step(config, batch),
            (
                Self::Model {
                    model,
                    image: [channels, height, width],
                    tuning,
                    precision,
                    ..
                },
                pass,
            ) => {
                let images = Shape::new(&[batch, *channels, *height, *width])?;
                let model = model.as_ref();
                match pass {
                    Pass::Inference => bare::forward(model, images, ForwardRequest::INFERENCE),
                    Pass::TrainingStep => {
                        let freeze = tuning.freeze.iter();
                        let request = TrainingRequest {
                            optimizer: Sgd {
                                loss_scaling: (*precision).into(),
                                ..Preset::Paper.config().train.sgd()
                            },
                            groups: &freeze.fold(Groups::default(), |own, part| own.freeze(part)),
                            recompute: match tuning.recompute {
                                Recomputed::No => Recompute::No,
                                Recomputed::Blocks => Recompute::Blocks,
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
            Self::Model { image, .. } => {
                let [channels, height, width] = *image;
                let shape = Shape::new(&[batch, channels, height, width])?;
                let mut stream = Stream::new(seed, "images", 0, 0);
                let pixels = (0..shape.elements()).map(|_| stream.range(-1.0, 1.0) as f32);
                let x = Array::new(shape, pixels.collect::<Vec<_>>())?;
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
        let ([channels, height, width], normalisation) = match self {
            Self::Ife(config) => {
                let size = config.model.size;
                ([3, size, size], Some(NORMALISATION))
            }
            Self::Model {
                image,
                preprocessing,
                ..
            } => (*image, preprocessing.as_ref().map(normalisation)),
        };
        let Some(normalisation) = normalisation.filter(|_| channels == 3) else {
            return Err(Error::input(format!(
                "an image file has 3 channels, the network's first convolution {channels}"
            )));
        };
        let planes = resize(&decode(path)?.image, height, width)?;
        Array::new([1, 3, height, width], planes.normalised(&normalisation))
    }
}

fn normalisation(preprocessing: &Preprocessing) -> Normalisation {
    let single = |values: [f64; 3]| values.map(|value| value as f32);
    Normalisation {
        mean: single(preprocessing.mean),
        std: single(preprocessing.std),
    }
}
