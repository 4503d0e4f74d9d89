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
            Init::Uniform { bound } => (0..n).map(|_| stream.range(-bound, bound) as f32).collect(),
        };
        Array::new(spec.shape, values)
    }
}
