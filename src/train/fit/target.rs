//! What weights can be fitted to: a model, or the network of a system.

use crate::array::Spec;
use crate::error::Result;
use crate::graph::Graph;
use crate::models::{Model, Preprocessing, Profile};
use crate::nn::Mode;
use crate::shape::Shape;

/// A network that takes weights.
pub trait Target {
    /// Its name: `resnet18`.
    fn name(&self) -> &str;

    /// Where its weights touch what differs from use to use; `None` if nothing does.
    fn profile(&self) -> Option<Profile>;

    /// Takes from a file's tensors what they decide; `shape_of` gives the shape of a tensor by its name.
    fn fit_to(&mut self, shape_of: &dyn Fn(&str) -> Option<Shape>);

    /// How many classes there are, if that can differ.
    fn num_classes(&self) -> Option<usize>;

    /// Sets the number of classes, if that can differ.
    fn set_num_classes(&mut self, num_classes: Option<usize>);

    /// How its images are prepared.
    fn preprocessing(&self) -> Preprocessing;

    /// The network on a single image of so many channels, height and width.
    ///
    /// # Errors
    /// The images do not fit the network.
    fn record(&self, image: [usize; 3]) -> Result<Graph>;
}

impl<M: Model + ?Sized> Target for M {
    fn name(&self) -> &str {
        Model::name(self)
    }

    fn profile(&self) -> Option<Profile> {
        Some(Model::profile(self))
    }

    fn fit_to(&mut self, shape_of: &dyn Fn(&str) -> Option<Shape>) {
        Model::fit_to(self, shape_of);
    }

    fn num_classes(&self) -> Option<usize> {
        Model::num_classes(self)
    }

    fn set_num_classes(&mut self, num_classes: Option<usize>) {
        Model::set_num_classes(self, num_classes);
    }

    fn preprocessing(&self) -> Preprocessing {
        Model::profile(self).preprocessing
    }

    fn record(&self, [channels, height, width]: [usize; 3]) -> Result<Graph> {
        Graph::record(|r| {
            let x = r.input("x", Spec::real(Shape::new(&[1, channels, height, width])?))?;
            let outputs = self.outputs(&r.scope(), x, &Mode::inference())?;
            outputs
                .into_iter()
                .try_for_each(|(name, value)| r.output(&name, value))
        })
    }
}
