//! What a run has to tell: plain structs that the command line prints and the report shows.

use crate::data::gel_table::{CLASSES, Problem};
use serde::{Deserialize, Serialize};

/// A number with the ends of its 95 % interval; `None` where it is not defined (no positives, an absent class).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: Option<f64>,
    /// The lower end.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

/// One row of `metrics.csv`: an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Steps done at its end.
    pub step: usize,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Means over its steps: cross-entropies.
    pub loss_heavy: f64,
    /// As above.
    pub loss_light: f64,
    /// Inner-task regulariser, with the variant's own factors, before λ.
    pub loss_inner: f64,
    /// Inter-task regulariser, likewise.
    pub loss_inter: f64,
    /// The loss that is minimised.
    pub loss_total: f64,
    /// Norm of the gradient before clipping, mean over the steps that were not skipped.
    pub gradient_norm: f64,
    /// On the validation set: mean of both cross-entropies' sum.
    pub validation_loss: f64,
    /// Share of right classes.
    pub validation_accuracy: f64,
    /// Mean F1 of the nine classes.
    pub validation_macro_f1: f64,
    /// Share of positives called Negative; `None` without positives.
    pub validation_fnr: Option<f64>,
    /// Steps of it that were skipped, because their gradients overflowed in mixed precision.
    #[serde(default)]
    pub skipped_steps: usize,
}

/// The outcome on one set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Which: `train`, `validation`, `test` or `all`.
    pub split: String,
    /// How many images.
    pub images: usize,
    /// Share of right classes.
    pub accuracy: Estimate,
    /// Mean F1 of the nine classes.
    pub macro_f1: Estimate,
    /// Positives called Negative, over all positives.
    pub false_negative_rate: Estimate,
    /// Recall of the class that is rarest in training.
    pub rarest_recall: Estimate,
    /// Mean recall of the three rarest.
    pub three_rarest_recall: Estimate,
    /// Accuracy of the heavy chain alone.
    pub heavy_accuracy: Estimate,
    /// Accuracy of the light chain alone.
    pub light_accuracy: Estimate,
    /// Nine by nine: row = true class, column = predicted.
    pub confusion: Vec<Vec<usize>>,
    /// Four by four, by arg-max of the heavy chain.
    pub heavy_confusion: Vec<Vec<usize>>,
    /// Three by three, by arg-max of the light chain.
    pub light_confusion: Vec<Vec<usize>>,
    /// Area under the curve of "any monoclonal protein".
    pub auroc: Option<f64>,
    /// Thresholds on the probability of "any monoclonal protein" for chosen sensitivities.
    pub operating_points: Vec<OperatingPoint>,
    /// Expected calibration error of the predicted class's probability, 15 bins.
    pub calibration_error: Option<f64>,
}

/// A threshold and what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// The sensitivity asked for.
    pub wanted_sensitivity: f64,
    /// Call positive from this probability on.
    pub threshold: f64,
    /// The sensitivity it gives.
    pub sensitivity: f64,
    /// The specificity it gives.
    pub specificity: f64,
}

/// What is said of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The file.
    pub image: String,
    /// The class, 0 to 8.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// Probabilities of the nine admissible classes; they sum to one.
    pub probabilities: Vec<f64>,
    /// The probability of the class. With the released decoding another class may have a higher one: the warning says so.
    pub confidence: f64,
    /// Probabilities of the heavy chain: none, G, A, M.
    pub heavy: Vec<f64>,
    /// Probabilities of the light chain: none, κ, λ.
    pub light: Vec<f64>,
    /// Why the result should not be relied on: the image does not look like the training data, the likeliest chains do not
    /// go together, or the model is unsure.
    pub warning: Option<String>,
}

/// An image with its attention, for the report.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// What is said of it.
    pub prediction: Prediction,
    /// The true class, where it is known.
    pub truth: Option<usize>,
    /// The image as the network sees it: RGB, `size` × `size`.
    pub pixels: Vec<u8>,
    /// Its height and width.
    pub size: usize,
    /// Attention over the rows of each stage's last block, for heavy and light: `[stage][task][row]`.
    pub attention: Vec<[Vec<f32>; 2]>,
}

/// Everything `report.html` shows.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Epochs in order.
    pub history: Vec<EpochRow>,
    /// The epoch whose weights were kept, from 1.
    pub best_epoch: usize,
    /// The outcomes: validation, test.
    pub evaluations: Vec<Evaluation>,
    /// A few images.
    pub examples: Vec<Example>,
    /// `config.toml`.
    pub config: String,
    /// Rows of name and value: device and driver, versions, digests, counts of images, seconds, images per second.
    pub facts: Vec<(String, String)>,
    /// Where the data came from, in a sentence.
    pub data: String,
    /// What was wrong with the data, and so was left out.
    pub left_out: Vec<Problem>,
}

/// Names of the nine classes.
pub const CLASS_NAMES: [&str; CLASSES.len()] = {
    let mut names = [""; CLASSES.len()];
    let mut class = 0;
    while class < names.len() {
        names[class] = CLASSES[class].0;
        class += 1;
    }
    names
};
/// Names of the heavy chain's classes.
pub const HEAVY_NAMES: [&str; 4] = ["none", "G", "A", "M"];
/// Names of the light chain's classes.
pub const LIGHT_NAMES: [&str; 3] = ["none", "κ", "λ"];
