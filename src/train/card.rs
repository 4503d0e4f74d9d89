//! What a weight file of ours says about itself: the network, what it was made for, and how images are prepared.

use super::stored::WeightFile;
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
    /// How images are prepared.
    pub preprocessing: Preprocessing,
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
    /// The card of a network's weights; labels and thresholds are those of the card before, if the classes are as many.
    pub(super) fn new(
        model: &str,
        configuration: Configuration,
        preprocessing: Preprocessing,
        before: Option<Card>,
    ) -> Self {
        let classes = configuration.num_classes;
        let before = before.filter(|card| card.configuration.num_classes == classes);
        let (labels, thresholds) =
            before.map_or((None, None), |card| (card.labels, card.thresholds));
        let [size, _] = configuration.image_size;
        Self {
            model: model.to_string(),
            configuration,
            preprocessing: Preprocessing {
                size,
                ..preprocessing
            },
            labels,
            thresholds,
            version: env!("CARGO_PKG_VERSION").to_string(),
        }
    }

    /// The card in the metadata of weights; `None` if they have none.
    ///
    /// # Errors
    /// A part is missing or of another type, or there are not as many labels or thresholds as classes.
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

    /// The card of a file, its digest checked.
    pub(super) fn of_file(file: &WeightFile) -> Result<Option<Self>> {
        match file.metadata.is_empty() {
            true => Ok(None),
            false => Self::read(&Weights::from_file(file)?.0),
        }
    }

    fn check(&self) -> Result<()> {
        let classes = self.configuration.num_classes.unwrap_or(0);
        let labels = self.labels.as_ref().map(|labels| ("labels", labels.len()));
        let thresholds = self.thresholds.as_ref();
        let thresholds = thresholds.map(|thresholds| ("thresholds", thresholds.len()));
        let counts = labels.into_iter().chain(thresholds);
        for (what, count) in counts.filter(|(_, count)| *count != classes) {
            return Err(Error::checkpoint(format!(
                "there are {count} {what} for {classes} classes"
            )));
        }
        Ok(())
    }

    /// Puts the card into the metadata of weights, in the place of one that is there.
    ///
    /// # Errors
    /// There are not as many labels or thresholds as classes.
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
