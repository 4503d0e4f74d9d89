//! Everything about a run that can be chosen, and the presets.

mod file;

use crate::data::augment::Augment;
use crate::error::{Error, Result};
use crate::graph::Precision;
use crate::train::Sgd;
use serde::{Deserialize, Serialize};

/// Which reading of the method: the paper's, or that of its released code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Separate attention and shortcut in the second branch; regularisers averaged over the samples concerned.
    Paper,
    /// The second branch calls the first one's attention and shortcut; regularisers summed, with the code's factors.
    Released,
}

/// How the two arg-maxes become one of nine classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoding {
    /// The admissible pair with the highest sum of log-probabilities.
    Joint,
    /// Each arg-max alone; a heavy chain without a light chain counts as Negative.
    Released,
}

/// What the network is: everything its weights depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The reading of the method.
    pub variant: Variant,
    /// How many of the four stages both tasks share, 0 to 4.
    pub share: usize,
    /// Height and width to which images are resized.
    pub size: usize,
    /// Channels of the first stage; doubled by each further one. The paper's network has 64.
    pub width: usize,
}

/// The weights of the attention regularisers, and their temperature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// λ_inner, the weight of the inner-task terms.
    pub lambda_inner: f64,
    /// λ_inter, the weight of the inter-task term.
    pub lambda_inter: f64,
    /// τ, the temperature of the inner-task targets.
    pub tau: f64,
}

/// How it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training set.
    pub epochs: usize,
    /// Images in a step.
    pub batch: usize,
    /// The highest learning rate, reached at the end of the warm-up.
    pub learning_rate: f64,
    /// Epochs over which the learning rate rises linearly from 0.
    pub warmup_epochs: f64,
    /// SGD's momentum (Nesterov's).
    pub momentum: f64,
    /// Decay of all parameters.
    pub weight_decay: f64,
    /// The norm at which the gradient is clipped.
    pub clip_norm: f64,
    /// What a gpu stores while it trains; in mixed precision the loss is scaled.
    #[serde(default)]
    pub precision: Precision,
    /// Where all chance comes from.
    pub seed: u64,
    /// Share of the labelled images that becomes the test set, where the data is not split already.
    pub test_share: f64,
    /// Share of the training images set aside to choose the epoch on.
    pub validation_share: f64,
    /// How the two tasks' outputs become a class.
    pub decoding: Decoding,
}

impl TrainConfig {
    /// The optimiser's settings.
    pub fn sgd(&self) -> Sgd {
        Sgd {
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
            loss_scaling: self.precision.into(),
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The network.
    pub model: ModelConfig,
    /// The loss.
    pub loss: LossConfig,
    /// The training.
    pub train: TrainConfig,
    /// Random changes to training images; all off in the released code.
    pub augment: Augment,
}

/// Names for complete configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The paper's method.
    Paper,
    /// The released code's.
    Released,
    /// A small network on small images: minutes on two cores.
    Demo,
}

impl Preset {
    /// All presets with their names.
    pub const NAMED: [(&'static str, Preset); 3] = [
        ("paper", Preset::Paper),
        ("released", Preset::Released),
        ("demo", Preset::Demo),
    ];

    /// The preset of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(name: &str) -> Result<Self> {
        let named = Self::NAMED.iter().find(|(own, _)| *own == name);
        named.map(|(_, preset)| *preset).ok_or_else(|| {
            let names = Self::NAMED.map(|(name, _)| name).join(", ");
            Error::input(format!("there is no preset {name:?}; there are: {names}"))
        })
    }

    /// The configuration.
    pub fn config(self) -> Config {
        let paper = Config {
            model: ModelConfig {
                variant: Variant::Paper,
                share: 3,
                size: 224,
                width: 64,
            },
            loss: LossConfig {
                lambda_inner: 0.3,
                lambda_inter: 0.3,
                tau: 5.0,
            },
            train: TrainConfig {
                epochs: 100,
                batch: 64,
                learning_rate: 0.03,
                warmup_epochs: 5.0,
                momentum: 0.9,
                weight_decay: 5e-4,
                clip_norm: 3.0,
                precision: Precision::Full,
                seed: 42,
                test_share: 0.2,
                validation_share: 0.1,
                decoding: Decoding::Joint,
            },
            augment: Augment::default(),
        };
        match self {
            Preset::Paper => paper,
            Preset::Released => Config {
                model: ModelConfig {
                    variant: Variant::Released,
                    ..paper.model
                },
                train: TrainConfig {
                    decoding: Decoding::Released,
                    ..paper.train
                },
                ..paper
            },
            Preset::Demo => Config {
                model: ModelConfig {
                    size: 96,
                    width: 16,
                    ..paper.model
                },
                train: TrainConfig {
                    epochs: 12,
                    batch: 32,
                    learning_rate: 0.06,
                    warmup_epochs: 1.0,
                    ..paper.train
                },
                augment: Augment {
                    vertical_shift: 0.03,
                    horizontal_shift: 0.03,
                    brightness: 0.05,
                    gain: 0.0,
                    contrast: 0.1,
                },
                ..paper
            },
        }
    }
}

impl Config {
    /// Reads a configuration file; what it leaves out comes from `base`.
    ///
    /// # Errors
    /// Not TOML, an unknown key, a value of the wrong type or out of range; with the line.
    pub fn read(text: &str, base: &Config) -> Result<Config> {
        let is_known = |table: &toml::Table| Self::parsed(table).map(|_| ());
        let table = file::overlaid(base.to_table()?, text, is_known)?;
        Self::from_table(table)
    }

    /// This configuration with `key=value`, where the key is dotted (`train.epochs`) or, where that is clear, its last
    /// part alone (`epochs`).
    ///
    /// # Errors
    /// The key is unknown, or the value does not fit.
    pub fn with(&self, setting: &str) -> Result<Config> {
        let (key, value) = setting.split_once('=').ok_or_else(|| {
            Error::input(format!("setting {setting:?} is not of the form key=value"))
        })?;
        let mut table = self.to_table()?;
        let place = find(&mut table, key.trim())?;
        let value = value.trim();
        *place = match place {
            toml::Value::String(_) => toml::Value::String(value.trim_matches('"').to_string()),
            toml::Value::Float(_) => value
                .parse()
                .map(toml::Value::Float)
                .map_err(|_| not_a(setting, "number"))?,
            _ => value
                .parse()
                .map(toml::Value::Integer)
                .map_err(|_| not_a(setting, "whole number below 2⁶³"))?,
        };
        Self::from_table(table).map_err(|e| e.within(format!("setting {setting:?}")))
    }

    /// That nothing differs from the configuration that a run was started with.
    ///
    /// # Errors
    /// One sentence that lists every difference.
    pub fn expect_unchanged(&self, was: &Config) -> Result<()> {
        let (now, was) = (self.to_table()?, was.to_table()?);
        let mut changes = Vec::new();
        for (section, values) in &was {
            let pairs = values.as_table().into_iter().flatten();
            for (name, old) in pairs {
                match now.get(section).and_then(|inner| inner.get(name)) {
                    Some(new) if new == old => {}
                    Some(new) => {
                        changes.push(format!("{section}.{name} was {old} and is now {new}"))
                    }
                    None => changes.push(format!("{section}.{name} was {old} and is missing")),
                }
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        Err(Error::input(format!(
            "the run was started with another configuration: {}; continue it with its own, or train in a new folder",
            changes.join(", ")
        )))
    }

    /// The configuration as TOML, everything resolved.
    ///
    /// # Errors
    /// None in practice; the writer is fallible.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|e| Error::input(format!("the configuration cannot be written: {e}")))
    }

    fn to_table(&self) -> Result<toml::Table> {
        toml::Table::try_from(self)
            .map_err(|e| Error::input(format!("the configuration cannot be written: {e}")))
    }

    fn from_table(table: toml::Table) -> Result<Config> {
        let config = Self::parsed(&table)?;
        config.check()?;
        Ok(config)
    }

    /// The configuration of a table, whether its values are in range or not.
    fn parsed(table: &toml::Table) -> Result<Config> {
        let parsed = table.clone().try_into();
        parsed.map_err(|e: toml::de::Error| Error::input(file::sentence(&e)))
    }

    /// What is allowed but hardly meant, in a sentence.
    pub fn remark(&self) -> Option<String> {
        let (warmup, epochs) = (self.train.warmup_epochs, self.train.epochs);
        (warmup >= epochs as f64).then(|| {
            format!(
                "the learning rate rises over {warmup} epochs, but training ends after {epochs}: it never reaches \
                 train.learning_rate; lower train.warmup_epochs"
            )
        })
    }

    /// That every value is in its range.
    fn check(&self) -> Result<()> {
        let (model, train) = (&self.model, &self.train);
        let finite_not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let rules = [
            (model.share <= 4, "model.share must be 0 to 4"),
            (
                (32..=1024).contains(&model.size),
                "model.size must be 32 to 1024",
            ),
            (
                (1..=256).contains(&model.width),
                "model.width must be 1 to 256",
            ),
            (
                finite_not_negative(self.loss.lambda_inner),
                "loss.lambda_inner must not be negative",
            ),
            (
                finite_not_negative(self.loss.lambda_inter),
                "loss.lambda_inter must not be negative",
            ),
            (
                self.loss.tau.is_finite() && self.loss.tau > 0.0,
                "loss.tau must be positive",
            ),
            (
                (1..=100_000).contains(&train.epochs),
                "train.epochs must be 1 to 100000",
            ),
            (
                (1..=65_536).contains(&train.batch),
                "train.batch must be 1 to 65536",
            ),
            (
                finite_not_negative(train.learning_rate),
                "train.learning_rate must not be negative",
            ),
            (
                finite_not_negative(train.warmup_epochs),
                "train.warmup_epochs must not be negative",
            ),
            (
                (0.0..1.0).contains(&train.momentum),
                "train.momentum must be in [0, 1)",
            ),
            (
                finite_not_negative(train.weight_decay),
                "train.weight_decay must not be negative",
            ),
            (
                train.clip_norm.is_finite() && train.clip_norm > 0.0,
                "train.clip_norm must be positive",
            ),
            // TOML's integers are signed.
            (
                i64::try_from(train.seed).is_ok(),
                "train.seed must be at most 2⁶³ − 1",
            ),
            (
                (0.0..1.0).contains(&train.test_share),
                "train.test_share must be in [0, 1)",
            ),
            (
                (0.0..1.0).contains(&train.validation_share),
                "train.validation_share must be in [0, 1)",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::input(format!("configuration: {rule}"))),
            None => self.augment.check(),
        }
    }
}

fn not_a(setting: &str, what: &str) -> Error {
    Error::input(format!("setting {setting:?}: the value is not a {what}"))
}

fn find<'t>(table: &'t mut toml::Table, key: &str) -> Result<&'t mut toml::Value> {
    let (section, name) = key
        .rsplit_once('.')
        .map_or((None, key), |(section, name)| (Some(section), name));
    let mut known = Vec::new();
    let mut found = None;
    for (own, value) in table.iter_mut() {
        let toml::Value::Table(inner) = value else {
            continue;
        };
        known.extend(inner.keys().map(|inner| format!("{own}.{inner}")));
        if section.is_none_or(|section| section == own) && inner.contains_key(name) {
            found = inner.get_mut(name);
        }
    }
    found.ok_or_else(|| {
        Error::input(format!(
            "there is no setting {key:?}; there are: {}",
            known.join(", ")
        ))
    })
}

/// The default configuration with a comment on every line, as `axenic init ife` prints it.
pub const COMMENTED: &str = include_str!("config.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_file_is_the_paper_preset() {
        let read = Config::read(COMMENTED, &Preset::Demo.config()).expect("it is valid");
        assert_eq!(read, Preset::Paper.config());
    }

    #[test]
    fn settings_are_found_and_checked() {
        let config = Preset::Paper.config();
        assert_eq!(config.with("share=2").expect("known").model.share, 2);
        assert_eq!(
            config
                .with("train.learning_rate=1")
                .expect("known")
                .train
                .learning_rate,
            1.0
        );
        assert_eq!(
            config
                .with("variant=released")
                .expect("known")
                .model
                .variant,
            Variant::Released
        );
        for wrong in [
            "share=5",
            "shares=1",
            "variant=other",
            "epochs=-1",
            "epochs",
            "tau=nan",
            "batch=x",
            "seed=18446744073709551615",
        ] {
            assert!(config.with(wrong).is_err_and(|e| e.is_input()), "{wrong}");
        }
    }

    #[test]
    fn a_warm_up_that_never_ends_is_remarked() {
        let config = Preset::Paper.config();
        assert_eq!(config.remark(), None);
        let short = config.with("epochs=3").expect("known");
        assert!(short.remark().is_some_and(|text| text.contains("5 epochs")));
    }

    #[test]
    fn files_may_leave_things_out_but_not_add_any() {
        let base = Preset::Demo.config();
        let read = Config::read("[train]\nlearning_rate = 1\n", &base).expect("valid");
        assert_eq!(read.train.learning_rate, 1.0);
        assert_eq!(read.model, base.model);
        assert!(Config::read("[train]\nlearning = 1\n", &base).is_err());
        assert_eq!(
            Config::read(&base.to_toml().expect("written"), &Preset::Paper.config())
                .expect("valid"),
            base
        );
    }
}
