//! From the logits of the two tasks to one of nine classes.

use super::config::Decoding;
use super::model::{HEAVY_CLASSES, LIGHT_CLASSES};
use crate::data::gel_table::CLASSES;

/// The outcome for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The class, 0 to 8.
    pub class: usize,
    /// Probabilities of the nine admissible pairs, by the joint decoding: products, scaled to sum to one.
    pub probabilities: [f64; CLASSES.len()],
    /// Softmax of the heavy logits.
    pub heavy: [f64; HEAVY_CLASSES],
    /// Softmax of the light logits.
    pub light: [f64; LIGHT_CLASSES],
}

/// Decodes the logits of one image.
///
/// `joint`: of the nine admissible pairs the one with the highest sum of log-probabilities; no inadmissible pair can come
/// out. `released`: each task's arg-max alone; a heavy chain without a light chain, which is none of the nine, is called
/// Negative.
pub fn decode(
    heavy: [f64; HEAVY_CLASSES],
    light: [f64; LIGHT_CLASSES],
    decoding: Decoding,
) -> Decoded {
    // Sums of logits differ from sums of log-probabilities by a constant, which the softmax forgets.
    let probabilities = softmax(CLASSES.map(|(_, h, l)| heavy[h] + light[l]));
    let (heavy, light) = (softmax(heavy), softmax(light));
    let class = match decoding {
        Decoding::Joint => arg_max(&probabilities),
        Decoding::Released => {
            let pair = (arg_max(&heavy), arg_max(&light));
            CLASSES
                .iter()
                .position(|&(_, h, l)| (h, l) == pair)
                .unwrap_or(0)
        }
    };
    Decoded {
        class,
        probabilities,
        heavy,
        light,
    }
}

/// The position of the largest value; the first of several.
pub fn arg_max(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

fn softmax<const N: usize>(logits: [f64; N]) -> [f64; N] {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials = logits.map(|x| (x - largest).exp());
    let total: f64 = exponentials.iter().sum();
    exponentials.map(|x| x / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inadmissible_pair_is_resolved() {
        // Heavy G is likelier than none, light none is likelier than κ: the pair (G, none) is not one of the nine.
        let (heavy, light) = ([1.0, 2.0, -9.0, -9.0], [0.5, 0.0, -9.0]);
        assert_eq!(decode(heavy, light, Decoding::Released).class, 0);
        assert_eq!(decode(heavy, light, Decoding::Joint).class, 3);
        let unsure_heavy = [1.9, 2.0, -9.0, -9.0];
        assert_eq!(decode(unsure_heavy, light, Decoding::Joint).class, 0);
    }

    #[test]
    fn probabilities_sum_to_one_even_for_extreme_logits() {
        let decoded = decode([1e4, -1e4, 0.0, 3.0], [-1e4, 1e4, 0.0], Decoding::Joint);
        assert!((decoded.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(CLASSES[decoded.class].1, 0);
    }
}
