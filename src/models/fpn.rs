//! Feature pyramids: the coarse maps of a network, which know what they see, brought to its fine maps, which know where.
//!
//! Lin, Dollár, Girshick, He, Hariharan, Belongie, *Feature Pyramid Networks for Object Detection*, CVPR 2017 (section 3,
//! figure 3), in the form of torchvision (`BackboneWithFPN`): convolutions with biases, and a further map, every other pixel
//! of the coarsest (section 4.1). On any network: `models::find("resnet50_fpn")`.
//!
//! | part | `resnet50_fpn` at 224×224 | |
//! | --- | --- | --- |
//! | `body` | C₂ … C₅ | the network's stages, its own names behind `body` |
//! | `fpn.inner_blocks.<i>.0` 1×1 | [N, 256, 56, 56] … [N, 256, 7, 7] | all with the same channels |
//! | top-down | [N, 256, 56, 56] … [N, 256, 7, 7] | each plus the next coarser, doubled |
//! | `fpn.layer_blocks.<i>.0` 3×3 | `y.0` … `y.3` | P₂ … P₅ |
//! | 1×1/2 max-pool | `y.pool` [N, 256, 4, 4] | P₆ |
//! | parameters | 26,852,416 | |
//!
//! The maps of a vision transformer all have one size. Between them nothing is enlarged, and the pyramid is the same with
//! every size equal: a sum of what the depths give, from the deepest to each (torchvision's layer would do the same). Li et
//! al., *Exploring Plain Vision Transformer Backbones for Object Detection*, ECCV 2022, make other sizes of such maps first.
//!
//! Initialisation (torchvision): weights uniform with variance 1 / incoming connections, biases 0.
//!
//! ```
//! use axenic::{array::Spec, graph::Graph, models, nn::Mode};
//! let model = models::find("resnet18_fpn")?;
//! let graph = Graph::record(|r| {
//!     let x = r.input("x", Spec::real([1, 3, 64, 96]))?;
//!     models::record(model.as_ref(), &r.scope(), x, &Mode::inference())
//! })?;
//! assert_eq!(graph.spec(graph.output("y.0")?), Spec::real([1, 256, 16, 24]));
//! # axenic::Result::Ok(())
//! ```

use super::{Features, Model, Profile};
use crate::error::{Error, Result};
use crate::graph::{Init, Scope, Tensor};
use crate::nn::{Bias, Conv2d, Mode, conv2d, kaiming_uniform};
use crate::ops::{self, Interpolation, Pooling};
use crate::shape::{KeepAxes, Shape};

/// A network with a feature pyramid in place of its classifier.
#[derive(Debug)]
pub struct FeaturePyramid {
    name: String,
    body: Box<dyn Model>,
    /// The channels of the pyramid's maps.
    pub out_channels: usize,
}

impl FeaturePyramid {
    /// A pyramid of 256 channels on the stages of `body`.
    pub fn new(mut body: Box<dyn Model>) -> Self {
        body.set_num_classes(None);
        Self {
            name: format!("{}_fpn", body.name()),
            body,
            out_channels: 256,
        }
    }
}

impl Model for FeaturePyramid {
    fn name(&self) -> &str {
        &self.name
    }

    /// Of the body: its classifier is what a pyramid does without.
    fn profile(&self) -> Profile {
        let within = |name: String| format!("body.{name}");
        let Profile {
            classifier,
            first_convolution,
            position_embedding,
            preprocessing,
        } = self.body.profile();
        Profile {
            classifier: within(classifier),
            first_convolution: within(first_convolution),
            position_embedding: position_embedding.map(|table| super::PositionEmbedding {
                name: within(table.name),
                ..table
            }),
            preprocessing,
        }
    }

    fn num_classes(&self) -> Option<usize> {
        None
    }

    /// There is no classifier, whatever is asked for.
    fn set_num_classes(&mut self, _num_classes: Option<usize>) {}

    fn fit_to(&mut self, shape_of: &dyn Fn(&str) -> Option<Shape>) {
        self.body.fit_to(&|name| shape_of(&format!("body.{name}")));
        self.body.set_num_classes(None);
        let inner = shape_of("fpn.inner_blocks.0.0.weight");
        if let Some(&channels) = inner.as_ref().and_then(|shape| shape.first()) {
            self.out_channels = channels;
        }
    }

    /// The pyramid's maps; the embedding is the mean of the coarsest.
    fn features<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Features<'g>> {
        let stages = self.body.stages(&scope.name("body"), x, mode)?;
        let stages = feature_pyramid(&scope.name("fpn"), &stages, self.out_channels)?;
        let coarsest = coarsest(&stages)?;
        let embedding = ops::mean(coarsest, &[2, 3], KeepAxes::No)?;
        Ok(Features { stages, embedding })
    }

    fn classify<'g>(
        &self,
        _scope: &Scope<'g>,
        embedding: Tensor<'g>,
        _mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        Ok(embedding)
    }

    /// `y.0`, `y.1`, … from the finest map to the coarsest, and `y.pool`.
    fn outputs<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Vec<(String, Tensor<'g>)>> {
        let maps = self.features(scope, x, mode)?.stages;
        let every_other = Pooling::sliding([1, 1], [2, 2], [0, 0]);
        let (pool, _index) = ops::max_pool2d(coarsest(&maps)?, every_other)?;
        let named = maps.iter().enumerate();
        let mut outputs: Vec<_> = named.map(|(i, &map)| (format!("y.{i}"), map)).collect();
        outputs.push(("y.pool".to_string(), pool));
        Ok(outputs)
    }
}

/// A pyramid on maps [N, Cᵢ, Hᵢ, Wᵢ], finest first: as many maps [N, K, Hᵢ, Wᵢ] (figure 3). From the coarsest down, every map
/// of K channels gets the sum above it in its own size, by the nearest pixel, and a 3×3 convolution smooths what comes of it.
///
/// # Errors
/// There are no maps, or they are none.
#[track_caller]
pub fn feature_pyramid<'g>(
    scope: &Scope<'g>,
    maps: &[Tensor<'g>],
    out_channels: usize,
) -> Result<Vec<Tensor<'g>>> {
    let _inside = scope.enter();
    let (inner, layer) = (scope.name("inner_blocks"), scope.name("layer_blocks"));
    let mut above: Option<Tensor<'g>> = None;
    let mut pyramid = Vec::new();
    for (index, &map) in maps.iter().enumerate().rev() {
        let y = convolve(&inner.name(index), map, out_channels, 1)?;
        let y = match above {
            Some(above) => ops::add(y, enlarge(above, y)?)?,
            None => y,
        };
        above = Some(y);
        pyramid.push(convolve(&layer.name(index), y, out_channels, 3)?);
    }
    pyramid.reverse();
    Ok(pyramid)
}

/// x in the size of `finer`.
fn enlarge<'g>(x: Tensor<'g>, finer: Tensor<'g>) -> Result<Tensor<'g>> {
    if x.shape() == finer.shape() {
        return Ok(x);
    }
    let size = [finer.shape()[2], finer.shape()[3]];
    ops::resize(x, size, Interpolation::Nearest)
}

/// A convolution with bias that keeps the size, called `0` in its scope.
#[track_caller]
fn convolve<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    out_channels: usize,
    kernel_size: usize,
) -> Result<Tensor<'g>> {
    let channels = x.shape().get(1).copied().unwrap_or(0);
    let settings = Conv2d {
        bias: Bias::Yes,
        weight_init: Some(kaiming_uniform(channels * kernel_size * kernel_size, 1.0)),
        bias_init: Some(Init::Constant(0.0)),
        ..Conv2d::square(out_channels, kernel_size, 1)
    };
    Ok(scope.tap(conv2d(&scope.name("0"), x, settings)?))
}

fn coarsest<'g>(maps: &[Tensor<'g>]) -> Result<Tensor<'g>> {
    let none = || Error::shape("a feature pyramid needs a network with one stage at least");
    maps.last().copied().ok_or_else(none)
}
