//! The networks of the field, each assembled by hand from the layers of [`nn`](crate::nn): one paper, one file.
//!
//! Parameters carry the names of the ecosystem (torchvision, timm, DINOv2), so that weight files fit without tables.
//! [`find`] gives a network by the ecosystem's name for it; what can differ between files of one network, above all the
//! number of classes, follows from the shapes of the weights ([`Model::fit_to`]).
//!
//! ```
//! use axenic::{array::Spec, graph::Graph, models, nn::Mode};
//! let model = models::find("resnet18")?;
//! let graph = Graph::record(|r| {
//!     let x = r.input("x", Spec::real([1, 3, 64, 64]))?;
//!     models::record(model.as_ref(), &r.scope(), x, &Mode::inference())
//! })?;
//! assert_eq!(graph.parameters().map(|(_, spec)| spec.shape.elements()).sum::<usize>(), 11_689_512);
//! # axenic::Result::Ok(())
//! ```

pub mod convnext;
pub mod densenet;
pub mod fpn;
pub mod inception_resnet_v2;
pub mod resnet;
pub mod vit;

use crate::error::{Error, Result};
use crate::graph::{Scope, Tensor};
use crate::nn::Mode;
use crate::shape::Shape;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// A network by its name, able to be recorded.
pub trait Model: Debug + Send + Sync {
    /// The ecosystem's name: `resnet18`.
    fn name(&self) -> &str;

    /// What is to be known about the network from outside.
    fn profile(&self) -> Profile;

    /// The number of classes; `None` if there is no classifier.
    fn num_classes(&self) -> Option<usize>;

    /// Sets the number of classes; `None` leaves the classifier away.
    fn set_num_classes(&mut self, num_classes: Option<usize>);

    /// Takes from a file's tensors what they decide: the number of classes, the style of the names, the size of tables.
    /// `shape_of` gives the shape of a tensor by its name.
    fn fit_to(&mut self, shape_of: &dyn Fn(&str) -> Option<Shape>);

    /// Records everything before the classifier on images x [N, C, H, W].
    ///
    /// # Errors
    /// The images do not fit the network.
    fn features<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Features<'g>>;

    /// Records what the maps of [`Features::stages`] need and nothing more: what is built on them would leave parameters
    /// behind the last map without a gradient.
    ///
    /// # Errors
    /// As [`features`](Self::features).
    fn stages<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Vec<Tensor<'g>>> {
        Ok(self.features(scope, x, mode)?.stages)
    }

    /// Records the classifier on the embedding [N, D]: logits [N, K]; without a classifier the embedding itself.
    ///
    /// # Errors
    /// The embedding does not fit.
    fn classify<'g>(
        &self,
        scope: &Scope<'g>,
        embedding: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Tensor<'g>>;

    /// Records the whole network and gives its results by name: `y`, and further names where there is more than one.
    ///
    /// # Errors
    /// As [`features`](Self::features) and [`classify`](Self::classify).
    fn outputs<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Vec<(String, Tensor<'g>)>> {
        let features = self.features(scope, x, mode)?;
        let y = self.classify(scope, features.embedding, mode)?;
        Ok(vec![("y".to_string(), y)])
    }
}

/// What a network makes of an image before it classifies it.
#[derive(Clone, Debug)]
pub struct Features<'g> {
    /// Maps [N, C, H, W], finest first: of a convolutional network the outputs of its stages, of a transformer the tokens
    /// of several depths, laid out as the patches lie.
    pub stages: Vec<Tensor<'g>>,
    /// What the classifier reads [N, D].
    pub embedding: Tensor<'g>,
}

/// Where a network's weights touch what differs from use to use, and how it wants its images.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The scope of the classifier.
    pub classifier: String,
    /// The scope of the convolution that reads the image.
    pub first_convolution: String,
    /// The table of positions, if there is one.
    pub position_embedding: Option<PositionEmbedding>,
    /// How images are prepared.
    pub preprocessing: Preprocessing,
}

/// A learned table [1, prefix + H·W, D] of positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionEmbedding {
    /// The parameter's name.
    pub name: String,
    /// Rows that stand for no patch, before all others.
    pub prefix_tokens: usize,
    /// Height and width of a patch in pixels.
    pub patch_size: usize,
}

/// How images are prepared: resized, scaled to 0…1, then (value − mean) / std per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Height and width.
    pub size: usize,
    /// Per channel.
    pub mean: [f64; 3],
    /// Per channel.
    pub std: [f64; 3],
}

impl Preprocessing {
    /// The mean and standard deviation of ImageNet's training images, as nearly all published weights want them.
    pub fn imagenet(size: usize) -> Self {
        Self {
            size,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// Every channel from 0…1 to −1…1.
    pub fn half(size: usize) -> Self {
        Self {
            size,
            mean: [0.5; 3],
            std: [0.5; 3],
        }
    }
}

/// A network by its name alone and, with `_fpn` behind it, under a feature pyramid.
struct Row {
    name: &'static str,
    pyramid: &'static str,
    make: fn() -> Box<dyn Model>,
}

macro_rules! models {
    ($($name:literal: $make:expr;)*) => {
        /// One row for each network: its name, and how it is made.
        const MODELS: &[Row] = &[$(Row {
            name: $name,
            pyramid: concat!($name, "_fpn"),
            make: || Box::new($make),
        }),*];
    };
}

models! {
    "convnext_tiny": convnext::convnext_tiny();
    "deit_base_patch16_224": vit::deit_base_patch16_224();
    "deit_small_patch16_224": vit::deit_small_patch16_224();
    "deit_tiny_patch16_224": vit::deit_tiny_patch16_224();
    "densenet121": densenet::densenet121();
    "dinov2_vitb14": vit::dinov2_vitb14();
    "dinov2_vitg14": vit::dinov2_vitg14();
    "dinov2_vitl14": vit::dinov2_vitl14();
    "dinov2_vits14": vit::dinov2_vits14();
    "inception_resnet_v2": inception_resnet_v2::inception_resnet_v2();
    "resnet18": resnet::resnet18();
    "resnet34": resnet::resnet34();
    "resnet50": resnet::resnet50();
    "vit_b_16": vit::vit_b_16();
    "vit_b_32": vit::vit_b_32();
    "vit_base_patch16_224": vit::vit_base_patch16_224();
    "vit_l_16": vit::vit_l_16();
    "vit_small_patch16_224": vit::vit_small_patch16_224();
}

/// The names of all networks: first those without, then those with a feature pyramid ([`fpn`]).
pub fn names() -> impl Iterator<Item = &'static str> {
    let pyramids = MODELS.iter().map(|row| row.pyramid);
    MODELS.iter().map(|row| row.name).chain(pyramids)
}

/// The network of this name, with the classes that it was published with.
///
/// # Errors
/// There is none; the error lists those there are.
pub fn find(name: &str) -> Result<Box<dyn Model>> {
    for row in MODELS {
        if row.name == name {
            return Ok((row.make)());
        }
        if row.pyramid == name {
            return Ok(Box::new(fpn::FeaturePyramid::new((row.make)())));
        }
    }
    let all = names().collect::<Vec<_>>().join(", ");
    Err(Error::input(format!(
        "there is no model {name:?}; there are {all}"
    )))
}

/// Records a network and names its results on the recorder.
///
/// # Errors
/// As [`Model::outputs`].
pub fn record<'g>(
    model: &dyn Model,
    scope: &Scope<'g>,
    x: Tensor<'g>,
    mode: &Mode<'g>,
) -> Result<()> {
    let outputs = model.outputs(scope, x, mode)?;
    outputs
        .into_iter()
        .try_for_each(|(name, value)| scope.recorder().output(&name, value))
}
