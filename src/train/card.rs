//! What a weight file of ours says about itself: the network, what it was made for, and how images are prepared.

use super::weights::Weights;
use crate::error::{Error, Result};
use crate::models::Preprocessing;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The description of a network's weights, in the metadata of their file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The network's name.
    pub model: String,
    /// What can differ between files of one network.
    pub configuration: Configuration,
    /// How images are prepared; `None` where they have other than three channels, of which nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<Preprocessing>,
    /// The names of the classes, in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// The probability from which on a class is called, for each class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Vec<f64>>,
    /// The version of this program that wrote the file.
    pub version: String,
}

/// What can differ between files of one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// How many classes there are; `None` without a classifier.
    pub num_classes: Option<usize>,
    /// Height and width of the images.
    pub image_size: [usize; 2],
    /// The images' channels.
    pub channels: usize,
}

/// Whether a network's classifier is the one that the card before described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Classifier {
    /// It is.
    Kept,
    /// It started anew.
    New,
}

/// The entries of the metadata that are a card.
const ENTRIES: [&str; 6] = [
    "configuration",
    "labels",
    "model",
    "preprocessing",
    "thresholds",
    "version",
];

impl Card {
    /// The card of a network's weights. What `before`, the card of the file that they are from, says of the preparation
    /// stays true, else it is the network's `usual` one; its labels and thresholds stay where the classifier does.
    pub(super) fn new(
        model: &str,
        configuration: Configuration,
        usual: Preprocessing,
        before: Option<Card>,
        classifier: Classifier,
    ) -> Self {
        let preprocessing = before.as_ref().and_then(|card| card.preprocessing.clone());
        let [size, _] = configuration.image_size;
        let preprocessing = (configuration.channels == 3).then(|| Preprocessing {
            size,
            ..preprocessing.unwrap_or(usual)
        });
        let is_same = |card: &Card| {
            classifier == Classifier::Kept
                && card.configuration.num_classes == configuration.num_classes
        };
        let (labels, thresholds) = before
            .filter(is_same)
            .map_or((None, None), |card| (card.labels, card.thresholds));
        Self {
            model: model.to_string(),
            configuration,
            preprocessing,
            labels,
            thresholds,
            version: env!("CARGO_PKG_VERSION").to_string(),
        }
    }

    /// The card in the metadata of weights; `None` if they have none.
    ///
    /// # Errors
    /// A part is missing, of another type, or contradicts another: labels or thresholds that are not as many as the classes.
    pub fn read(weights: &Weights) -> Result<Option<Self>> {
        let entries = &weights.metadata;
        // A run of a system describes its model by more than a name.
        if !entries.get("model").is_some_and(Value::is_string) {
            return Ok(None);
        }
        let own = entries
            .iter()
            .filter(|(name, _)| ENTRIES.contains(&name.as_str()));
        let own: Map<String, Value> = own
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let card: Self = serde_json::from_value(Value::Object(own))
            .map_err(|e| Error::checkpoint(format!("its description cannot be read: {e}")))?;
        card.check()?;
        Ok(Some(card))
    }

    fn check(&self) -> Result<()> {
        let Configuration {
            num_classes,
            channels,
            ..
        } = self.configuration;
        let classes = num_classes.unwrap_or(0);
        let labels = self.labels.as_ref().map(|labels| ("labels", labels.len()));
        let thresholds = self.thresholds.as_deref();
        let thresholds_too = thresholds.map(|thresholds| ("thresholds", thresholds.len()));
        let mut counts = labels.into_iter().chain(thresholds_too);
        if let Some((what, count)) = counts.find(|(_, count)| *count != classes) {
            return Err(Error::checkpoint(format!(
                "there are {count} {what} for {classes} classes"
            )));
        }
        let is_probability = |threshold: &&f64| (0.0..=1.0).contains(*threshold);
        let mut all = thresholds.into_iter().flatten();
        if let Some(threshold) = all.find(|threshold| !is_probability(threshold)) {
            return Err(Error::checkpoint(format!(
                "the threshold {threshold} is no probability from 0 to 1"
            )));
        }
        let preprocessing = self.preprocessing.as_ref();
        preprocessing.map_or(Ok(()), |own| prepares(own, channels))
    }

    /// Puts the card into the metadata of weights, in the place of one that is there.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self, weights: &mut Weights) -> Result<()> {
        self.check()?;
        ENTRIES
            .iter()
            .for_each(|name| drop(weights.metadata.remove(*name)));
        match serde_json::to_value(self) {
            Ok(Value::Object(own)) => weights.metadata.extend(own),
            _ => return Err(Error::checkpoint("the description cannot be written")),
        }
        Ok(())
    }
}

/// That images of so many channels can be so prepared.
fn prepares(Preprocessing { mean, std, .. }: &Preprocessing, channels: usize) -> Result<()> {
    if channels != 3 {
        return Err(Error::checkpoint(format!(
            "3 means and standard deviations do not prepare images of {channels} channels"
        )));
    }
    let is_finite = mean.iter().chain(std).all(|value| value.is_finite());
    match is_finite && std.iter().all(|&std| std > 0.0) {
        true => Ok(()),
        false => Err(Error::checkpoint(format!(
            "no image can be prepared with the means {mean:?} and the standard deviations {std:?}"
        ))),
    }
}
