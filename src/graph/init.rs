//! How a parameter or state starts: a description in the graph, made into numbers from the seed.

use crate::array::{Array, Spec};
use crate::error::Result;
use crate::rng::Stream;

/// The distribution of a leaf's first values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every element the same.
    Constant(f64),
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Normal with mean 0, what lies beyond ±bound drawn again (`torch.nn.init.trunc_normal_`).
    TruncatedNormal {
        /// The standard deviation before the cut.
        std: f64,
        /// The largest absolute value.
        bound: f64,
    },
    /// Uniform in [−bound, bound).
    Uniform {
        /// The half width.
        bound: f64,
    },
}

impl Init {
    /// The first values of the leaf called `name`. They depend on seed, name and element alone.
    pub fn numbers(&self, seed: u64, name: &str, spec: Spec) -> Result<Array> {
        let n = spec.shape.elements();
        let mut stream = Stream::new(seed, name, 0, 0);
        let values: Vec<f32> = match *self {
            Init::Constant(value) => vec![value as f32; n],
            Init::Normal { std } => (0..n).map(|_| (std * stream.normal()) as f32).collect(),
            Init::TruncatedNormal { std, bound } => (0..n)
                .map(|_| truncated_normal(&mut stream, std, bound) as f32)
                .collect(),
            Init::Uniform { bound } => (0..n).map(|_| stream.range(-bound, bound) as f32).collect(),
        };
        Array::new(spec.shape, values)
    }
}

/// Draws until one lies within the bound: from the normal distribution where most of it does, else evenly between the
/// bounds, kept with the density's share of its peak. Either way more than half of the draws are kept.
fn truncated_normal(stream: &mut Stream, std: f64, bound: f64) -> f64 {
    loop {
        let (x, refused) = if std < bound {
            let x = std * stream.normal();
            (x, x.abs() > bound)
        } else {
            let x = stream.range(-bound, bound);
            (x, stream.uniform() >= (-0.5 * (x / std).powi(2)).exp())
        };
        if !refused {
            return x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second moments of normal distributions cut at one half, one and two standard deviations.
    #[test]
    fn cut_normals_have_their_bound_and_spread() {
        for (std, bound, expected) in [(2.0, 1.0, 0.5678), (1.0, 1.0, 0.5396), (0.5, 1.0, 0.4398)] {
            let init = Init::TruncatedNormal { std, bound };
            let numbers = init.numbers(1, "weight", Spec::real([40_000]));
            let numbers = numbers.expect("the shape fits").to_f64().into_owned();
            assert!(numbers.iter().all(|x| x.abs() <= bound), "{init:?}");
            let square = numbers.iter().map(|x| x * x).sum::<f64>() / 40_000.0;
            let spread = square.sqrt();
            assert!((spread - expected).abs() < 0.005, "{init:?}: {spread}");
        }
    }
}
