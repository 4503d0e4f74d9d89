//! Residual networks: every block adds what it computes to what it was given.
//!
//! He, Zhang, Ren, Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016 (table 1, figures 3 and 5), in the form
//! of torchvision: in a bottleneck the 3×3 convolution takes the stride, not the first 1×1 (known as version 1.5).
//!
//! | part | output at 224×224 | `resnet18` | `resnet34` | `resnet50` |
//! | --- | --- | --- | --- | --- |
//! | `conv1` 7×7/2, `bn1`, relu | [N, 64, 112, 112] | | | |
//! | 3×3/2 max-pool | [N, 64, 56, 56] | | | |
//! | `layer1` | [N, 64·e, 56, 56] | 2 basic | 3 basic | 3 bottleneck |
//! | `layer2`, /2 | [N, 128·e, 28, 28] | 2 | 4 | 4 |
//! | `layer3`, /2 | [N, 256·e, 14, 14] | 2 | 6 | 6 |
//! | `layer4`, /2 | [N, 512·e, 7, 7] | 2 | 3 | 3 |
//! | mean over the image | [N, 512·e] | | | |
//! | `fc` | [N, 1000] | | | |
//! | parameters | | 11,689,512 | 21,797,672 | 25,557,032 |
//!
//! e is 1 for basic blocks and 4 for bottlenecks. Initialisation: convolutions He-normal over the outgoing connections,
//! norms 1 and 0, with [`LastNorm::Zero`] the last norm of every block 0, so that the block starts as the identity
//! (Goyal et al. 2017, section 5.1).
//!
//! ```
//! use axenic::{eval, models::{Model, resnet}, nn::Mode, ops};
//! let [y] = eval(|r| {
//!     let x = ops::fill(r, [1, 3, 32, 32], 0.5)?;
//!     let network = resnet::resnet18();
//!     let features = network.features(&r.scope(), x, &Mode::inference())?;
//!     Ok([network.classify(&r.scope(), features.embedding, &Mode::inference())?])
//! })?;
//! assert_eq!(y.shape(), [1, 1000].into());
//! # axenic::Result::Ok(())
//! ```

use super::{Features, Model, Preprocessing, Profile};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::nn::{
    BatchNorm2d, Conv2d, Mode, batch_norm2d, batch_norm2d_add_relu, batch_norm2d_relu, conv2d,
    linear,
};
use crate::ops;
use crate::shape::{KeepAxes, Shape};

/// What a stage is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Two 3×3 convolutions (figure 5, left).
    Basic,
    /// 1×1, 3×3 and 1×1, the last to four times the width (figure 5, right).
    Bottleneck,
}

/// How the weight of the last norm of a block starts.
///
/// ```
/// use axenic::{graph::Graph, array::Spec, models::{self, resnet}, nn::Mode, train::Weights};
/// let mut network = resnet::resnet18();
/// network.last_norm = resnet::LastNorm::Zero;
/// let graph = Graph::record(|r| {
///     let x = r.input("x", Spec::real([2, 3, 32, 32]))?;
///     models::record(&network, &r.scope(), x, &Mode::training(None))
/// })?;
/// let start = Weights::initial(&graph, 0)?.tensors;
/// assert!(start["layer1.0.bn2.weight"].to_f64().iter().all(|weight| *weight == 0.0));
/// assert!(start["layer1.0.bn1.weight"].to_f64().iter().all(|weight| *weight == 1.0));
/// # axenic::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastNorm {
    /// As every other norm's.
    One,
    /// So that the block starts as the identity.
    Zero,
}

impl LastNorm {
    fn weight(self) -> f64 {
        match self {
            LastNorm::One => 1.0,
            LastNorm::Zero => 0.0,
        }
    }
}

/// A residual network.
#[derive(Clone, Debug)]
pub struct ResNet {
    name: &'static str,
    /// What the stages are made of.
    pub block: Block,
    /// How many blocks each stage has.
    pub blocks: [usize; 4],
    /// How many classes there are.
    pub num_classes: Option<usize>,
    /// How the weight of the last norm of a block starts.
    pub last_norm: LastNorm,
}

/// The network of 18 layers.
pub fn resnet18() -> ResNet {
    ResNet::new("resnet18", Block::Basic, [2, 2, 2, 2])
}

/// The network of 34 layers.
pub fn resnet34() -> ResNet {
    ResNet::new("resnet34", Block::Basic, [3, 4, 6, 3])
}

/// The network of 50 layers.
pub fn resnet50() -> ResNet {
    ResNet::new("resnet50", Block::Bottleneck, [3, 4, 6, 3])
}

impl ResNet {
    fn new(name: &'static str, block: Block, blocks: [usize; 4]) -> Self {
        Self {
            name,
            block,
            blocks,
            num_classes: Some(1000),
            last_norm: LastNorm::One,
        }
    }
}

impl Model for ResNet {
    fn name(&self) -> &str {
        self.name
    }

    fn profile(&self) -> Profile {
        Profile {
            classifier: "fc".to_string(),
            first_convolution: "conv1".to_string(),
            position_embedding: None,
            preprocessing: Preprocessing::imagenet(224),
        }
    }

    fn num_classes(&self) -> Option<usize> {
        self.num_classes
    }

    fn set_num_classes(&mut self, num_classes: Option<usize>) {
        self.num_classes = num_classes;
    }

    fn fit_to(&mut self, shape_of: &dyn Fn(&str) -> Option<Shape>) {
        self.num_classes = shape_of("fc.weight").and_then(|shape| shape.first().copied());
    }

    fn features<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Features<'g>> {
        let _inside = scope.enter();
        let bn1 = scope.name("bn1");
        let y = conv2d(&scope.name("conv1"), x, Conv2d::square(64, 7, 2))?;
        let y = batch_norm2d_relu(&bn1, y, mode.batch_norm(&bn1))?; // [N, 64, H/2, W/2]
        let windows = ops::Pooling::sliding([3, 3], [2, 2], [1, 1]);
        let (mut y, _index) = ops::max_pool2d(y, windows)?; // [N, 64, H/4, W/4]
        scope.name("maxpool").tap(y);
        let mut stages = Vec::new();
        for (stage, &count) in self.blocks.iter().enumerate() {
            let layer = scope.name(format!("layer{}", stage + 1));
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                y = self.block(&layer.name(index), y, 64 << stage, stride, mode)?;
            }
            stages.push(layer.tap(y));
        }
        let embedding = ops::mean(y, &[2, 3], KeepAxes::No)?; // [N, D]
        let embedding = scope.name("avgpool").tap(embedding);
        Ok(Features { stages, embedding })
    }

    fn classify<'g>(
        &self,
        scope: &Scope<'g>,
        embedding: Tensor<'g>,
        _mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        match self.num_classes {
            Some(classes) => linear(&scope.name("fc"), embedding, classes),
            None => Ok(embedding),
        }
    }
}

impl ResNet {
    /// y = relu(F(x) + x), with a projection of x where the shape changes (equations 1 and 2).
    fn block<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        width: usize,
        stride: usize,
        mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        let _block = mode.enter_block(scope);
        let (y, norm) = match self.block {
            Block::Basic => (basic(scope, x, width, stride, mode)?, "bn2"),
            Block::Bottleneck => (bottleneck(scope, x, width, stride, mode)?, "bn3"),
        };
        let shortcut = if x.shape() == y.shape() {
            x
        } else {
            let projection = Conv2d::square(y.shape()[1], 1, stride);
            let downsample = scope.name("downsample");
            let norm = downsample.name("1");
            let x = conv2d(&downsample.name("0"), x, projection)?;
            batch_norm2d(&norm, x, mode.batch_norm(&norm))?
        };
        let norm = scope.name(norm);
        let settings = BatchNorm2d {
            weight_init: self.last_norm.weight(),
            ..mode.batch_norm(&norm)
        };
        Ok(scope.tap(batch_norm2d_add_relu(&norm, y, shortcut, settings)?))
    }
}

/// F of figure 5, left, up to its last norm: 3×3/s, relu, 3×3.
fn basic<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    width: usize,
    stride: usize,
    mode: &Mode<'g>,
) -> Result<Tensor<'g>> {
    let y = conv_norm_relu(scope, 1, x, Conv2d::square(width, 3, stride), mode)?;
    conv2d(&scope.name("conv2"), y, Conv2d::square(width, 3, 1))
}

/// F of figure 5, right, up to its last norm: 1×1, relu, 3×3/s, relu, 1×1 to four times the width.
fn bottleneck<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    width: usize,
    stride: usize,
    mode: &Mode<'g>,
) -> Result<Tensor<'g>> {
    let y = conv_norm_relu(scope, 1, x, Conv2d::square(width, 1, 1), mode)?;
    let y = conv_norm_relu(scope, 2, y, Conv2d::square(width, 3, stride), mode)?;
    conv2d(&scope.name("conv3"), y, Conv2d::square(4 * width, 1, 1))
}

/// `conv<n>`, `bn<n>` and relu.
#[track_caller]
fn conv_norm_relu<'g>(
    scope: &Scope<'g>,
    n: usize,
    x: Tensor<'g>,
    conv: Conv2d,
    mode: &Mode<'g>,
) -> Result<Tensor<'g>> {
    let y = conv2d(&scope.name(format!("conv{n}")), x, conv)?;
    let norm = scope.name(format!("bn{n}"));
    batch_norm2d_relu(&norm, y, mode.batch_norm(&norm))
}
