//! The network as something that weights are fitted to: checkpoints of the released code, and files of other origin.

use super::config::ModelConfig;
use super::images::NORMALISATION;
use super::model::network;
use crate::array::Spec;
use crate::data::gel_table::CLASSES;
use crate::error::Result;
use crate::graph::Graph;
use crate::models::{Preprocessing, Profile};
use crate::nn::BatchNormMode;
use crate::shape::Shape;
use crate::train::fit::Target;

impl Target for ModelConfig {
    fn name(&self) -> &str {
        "ife"
    }

    /// Images have three channels, and the two heads four and three classes.
    fn profile(&self) -> Option<Profile> {
        None
    }

    /// The width. If one of the stem's tensors is missing, the other tells.
    fn fit_to(&mut self, shape_of: &dyn Fn(&str) -> Option<Shape>) {
        let stem = ["encoder.conv1.weight", "encoder.bn1.weight"];
        let shape = stem.iter().find_map(|name| shape_of(name));
        let width = shape.and_then(|shape| shape.first().copied());
        self.width = width.unwrap_or(self.width);
    }

    fn num_classes(&self) -> Option<usize> {
        Some(CLASSES.len())
    }

    fn set_num_classes(&mut self, _num_classes: Option<usize>) {}

    fn preprocessing(&self) -> Preprocessing {
        Preprocessing {
            size: self.size,
            mean: NORMALISATION.mean.map(f64::from),
            std: NORMALISATION.std.map(f64::from),
        }
    }

    fn record(&self, [channels, height, width]: [usize; 3]) -> Result<Graph> {
        Graph::record(|r| {
            let x = r.input("x", Spec::real(Shape::new(&[1, channels, height, width])?))?;
            let outputs = network(&r.scope(), x, self, BatchNormMode::Running)?;
            r.output("y.heavy", outputs.heavy)?;
            r.output("y.light", outputs.light)
        })
    }
}
