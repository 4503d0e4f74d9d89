//! Does an image look like what the network was trained on?
//!
//! Two looks. What the network's last layers see of an image (its features) is compared with what they saw of the
//! training images: the mean squared distance in standard deviations of each feature. And the picture itself is compared
//! in a few plain numbers, of which none may be far off: how light the paper is, how much stain there is, how rough it is,
//! how much its columns and its rows differ. An
//! image further off than almost every validation image gets a warning, not another answer.
//!
//! Reference: the distance is that of Lee et al., *A Simple Unified Framework for Detecting Out-of-Distribution Samples*,
//! NeurIPS 2018, with one class and a diagonal covariance.

use crate::array::Array;
use crate::data::resize::Planes;
use crate::error::{Error, Result};
use crate::train::Weights;
use std::collections::BTreeMap;
use std::path::Path;

/// The limits are this quantile of the validation images' distances, times [`MARGIN`].
const QUANTILE: f64 = 0.99;
const MARGIN: f64 = 1.5;
/// A feature's deviation is at least this share of the mean deviation, so that a dead feature does not decide.
const FLOOR: f64 = 0.05;

/// Mean and deviation of some numbers over the training images, and the limit of the distance.
#[derive(Clone, Debug, PartialEq)]
struct Look {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    limit: f64,
    over: Over,
}

/// How the squared deviations of many numbers become one distance.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Over {
    /// Their mean: for hundreds of features, each of which says little.
    Mean,
    /// The largest: for a few numbers, each of which must be right.
    Largest,
}

impl Look {
    fn fit(training: &[Vec<f64>], validation: &[Vec<f64>], over: Over) -> Self {
        let n = training.len().max(1) as f64;
        let width = training.first().map_or(0, Vec::len);
        let mean: Vec<f64> = (0..width)
            .map(|j| training.iter().map(|row| row[j]).sum::<f64>() / n)
            .collect();
        let variance = |j: usize| {
            training
                .iter()
                .map(|row| (row[j] - mean[j]).powi(2))
                .sum::<f64>()
                / n
        };
        let deviation: Vec<f64> = (0..width).map(|j| variance(j).sqrt()).collect();
        let floor = FLOOR * deviation.iter().sum::<f64>() / width.max(1) as f64 + 1e-12;
        let deviation = deviation.into_iter().map(|x| x.max(floor)).collect();
        let mut look = Self {
            mean,
            deviation,
            limit: 0.0,
            over,
        };
        let mut distances: Vec<f64> = validation.iter().map(|row| look.distance(row)).collect();
        distances.sort_by(f64::total_cmp);
        let place = (QUANTILE * distances.len().saturating_sub(1) as f64).ceil() as usize;
        look.limit = MARGIN * distances.get(place).copied().unwrap_or(f64::INFINITY);
        look
    }

    fn distance(&self, row: &[f64]) -> f64 {
        let terms = row
            .iter()
            .zip(self.mean.iter().zip(&self.deviation))
            .map(|(x, (m, s))| ((x - m) / s).powi(2));
        match self.over {
            Over::Mean => terms.sum::<f64>() / self.mean.len().max(1) as f64,
            Over::Largest => terms.fold(0.0, larger),
        }
    }

    /// The distance over the limit. No distance is within every limit, that of numbers which never change included.
    fn strangeness(&self, row: &[f64]) -> f64 {
        match (self.distance(row), self.limit) {
            (0.0, 0.0) => 0.0,
            (distance, limit) => distance / limit,
        }
    }
}

/// What training images look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Familiarity {
    features: Look,
    picture: Look,
}

/// One image's numbers.
#[derive(Clone, Debug)]
pub struct Appearance {
    /// What the network's last layers see.
    pub features: Vec<f64>,
    /// Plain numbers of the picture, see [`describe`].
    pub picture: Vec<f64>,
}

impl Familiarity {
    /// Learns from training images, and sets the limits on validation images.
    pub fn fit(training: &[Appearance], validation: &[Appearance]) -> Self {
        let features =
            |set: &[Appearance]| set.iter().map(|a| a.features.clone()).collect::<Vec<_>>();
        let picture =
            |set: &[Appearance]| set.iter().map(|a| a.picture.clone()).collect::<Vec<_>>();
        Self {
            features: Look::fit(&features(training), &features(validation), Over::Mean),
            picture: Look::fit(&picture(training), &picture(validation), Over::Largest),
        }
    }

    /// How far off an image is: above 1 it does not look like the training images, nor does it if this is NaN.
    pub fn strangeness(&self, image: &Appearance) -> f64 {
        larger(
            self.features.strangeness(&image.features),
            self.picture.strangeness(&image.picture),
        )
    }

    /// The numbers as a weight file holds them.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_weights(&self) -> Result<Weights> {
        let mut tensors = BTreeMap::new();
        for (name, look) in [("features", &self.features), ("picture", &self.picture)] {
            let width = look.mean.len();
            tensors.insert(
                format!("{name}.mean"),
                Array::new([width], look.mean.clone())?,
            );
            tensors.insert(
                format!("{name}.deviation"),
                Array::new([width], look.deviation.clone())?,
            );
            tensors.insert(format!("{name}.limit"), Array::scalar(look.limit));
        }
        Ok(Weights {
            tensors,
            ..Weights::default()
        })
    }

    /// Reads it back.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn load(path: &Path) -> Result<Self> {
        let file = Weights::load_own(path)?;
        let numbers = |name: String| -> Result<Vec<f64>> {
            let array = file.tensors.get(&name);
            let array = array.ok_or_else(|| {
                Error::checkpoint(format!("{}: {name} is missing", path.display()))
            })?;
            Ok(array.to_f64().into_owned())
        };
        let look = |name: &str, over: Over| -> Result<Look> {
            let limit = numbers(format!("{name}.limit"))?
                .first()
                .copied()
                .unwrap_or(f64::NAN);
            let (mean, deviation) = (
                numbers(format!("{name}.mean"))?,
                numbers(format!("{name}.deviation"))?,
            );
            Ok(Look {
                mean,
                deviation,
                limit,
                over,
            })
        };
        Ok(Self {
            features: look("features", Over::Mean)?,
            picture: look("picture", Over::Largest)?,
        })
    }
}

/// Plain numbers of a picture: per channel the 5 %, 50 % and 95 % points of its samples, scaled to 0..1; and the logarithms
/// of its roughness along rows and along columns, and of how much columns, and rows, differ from one another.
pub fn describe(picture: &Planes) -> Vec<f64> {
    let (height, width) = (picture.height, picture.width);
    let mut numbers = Vec::new();
    for plane in picture.values.chunks_exact((height * width).max(1)) {
        let mut sorted = plane.to_vec();
        sorted.sort_by(f32::total_cmp);
        numbers.extend(
            [0.05, 0.5, 0.95].map(|share| {
                f64::from(sorted[(share * (sorted.len() - 1) as f64) as usize]) / 255.0
            }),
        );
    }
    let grey: Vec<f64> = (0..height * width)
        .map(|i| {
            picture
                .values
                .iter()
                .skip(i)
                .step_by(height * width)
                .map(|&v| f64::from(v))
                .sum::<f64>()
                / (3.0 * 255.0)
        })
        .collect();
    let along_rows = grey
        .chunks_exact(width)
        .flat_map(|row| row.windows(2).map(|w| (w[1] - w[0]).abs()));
    let along_columns = (0..grey.len() - width).map(|i| (grey[i + width] - grey[i]).abs());
    let logarithm = |x: f64| (x + 1e-3).ln();
    numbers.push(logarithm(mean(along_rows)));
    numbers.push(logarithm(mean(along_columns)));
    let column_means: Vec<f64> = (0..width)
        .map(|x| mean((0..height).map(|y| grey[y * width + x])))
        .collect();
    let row_means: Vec<f64> = grey
        .chunks_exact(width)
        .map(|row| mean(row.iter().copied()))
        .collect();
    numbers.push(logarithm(spread(&column_means)));
    numbers.push(logarithm(spread(&row_means)));
    numbers
}

/// The larger of two numbers; NaN if one of them is, which [`f64::max`] would forget.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

fn spread(values: &[f64]) -> f64 {
    let centre = mean(values.iter().copied());
    mean(values.iter().map(|x| (x - centre).powi(2))).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decode::decode_bytes;
    use crate::data::resize::resize;
    use crate::systems::ife::synth::{Balance, sample};

    fn appearance(picture: &Planes) -> Appearance {
        Appearance {
            features: vec![0.0, 1.0],
            picture: describe(picture),
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let plain = |x: f64| Appearance {
            features: vec![x, 1.0],
            picture: vec![1.0, x],
        };
        let known: Vec<Appearance> = (0..9).map(|i| plain(f64::from(i))).collect();
        let familiarity = Familiarity::fit(&known, &known);
        assert!(familiarity.strangeness(&plain(4.0)) < 1.0);
        let [mut features, mut picture] = [plain(4.0), plain(4.0)];
        (features.features[0], picture.picture[0]) = (f64::NAN, f64::NAN);
        for image in [features, picture] {
            assert!(familiarity.strangeness(&image).is_nan());
        }
    }

    /// By the picture alone: unseen gels pass, blank paper and noise do not.
    #[test]
    fn gels_are_familiar_and_blank_paper_is_not() {
        let gel = |i: u64| {
            let bytes = sample(9, i, Balance::Even).expect("a gel").jpeg_bytes;
            appearance(
                &resize(&decode_bytes(&bytes).expect("an image").image, 48, 48).expect("a size"),
            )
        };
        let gels: Vec<Appearance> = (0..180).map(gel).collect();
        let familiarity = Familiarity::fit(&gels[..80], &gels[80..150]);
        let strange = gels[150..]
            .iter()
            .filter(|gel| familiarity.strangeness(gel) > 1.0)
            .count();
        assert!(
            strange <= 3,
            "{strange} of 30 unseen gels are called strange"
        );
        let flat = |value: f32| Planes {
            height: 48,
            width: 48,
            values: vec![value; 3 * 48 * 48],
        };
        let noise = (0..3 * 48 * 48).map(|i| (i * 7919 % 256) as f32).collect();
        for picture in [
            flat(255.0),
            flat(0.0),
            flat(128.0),
            Planes {
                height: 48,
                width: 48,
                values: noise,
            },
        ] {
            let strangeness = familiarity.strangeness(&appearance(&picture));
            assert!(strangeness > 1.0, "strangeness {strangeness}");
        }
    }
}
