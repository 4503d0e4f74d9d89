//! ConvNeXt: a convolutional network of the design of vision transformers.
//!
//! Liu, Mao, Wu, Feichtenhofer, Darrell, Xie, *A ConvNet for the 2020s*, CVPR 2022 (figure 4, table 9), with the names of
//! torchvision or of timm.
//!
//! | part | output at 224×224 | `convnext_tiny` | torchvision | timm |
//! | --- | --- | --- | --- | --- |
//! | 4×4/4 convolution, norm | [N, C, 56, 56] | C = 96 | `features.0` | `stem` |
//! | stage 0 | [N, C, 56, 56] | 3 blocks | `features.1` | `stages.0` |
//! | norm, 2×2/2 convolution | [N, 2·C, 28, 28] | | `features.2` | `stages.1.downsample` |
//! | stage 1 | [N, 2·C, 28, 28] | 3 blocks | `features.3` | `stages.1` |
//! | norm, 2×2/2 convolution | [N, 4·C, 14, 14] | | `features.4` | `stages.2.downsample` |
//! | stage 2 | [N, 4·C, 14, 14] | 9 blocks | `features.5` | `stages.2` |
//! | norm, 2×2/2 convolution | [N, 8·C, 7, 7] | | `features.6` | `stages.3.downsample` |
//! | stage 3 | [N, 8·C, 7, 7] | 3 blocks | `features.7` | `stages.3` |
//! | mean over the image, norm | [N, 8·C] | | `classifier.0` | `head.norm` |
//! | linear | [N, 1000] | | `classifier.2` | `head.fc` |
//! | parameters | | 28,589,128 | | |
//!
//! All norms are layer norms over the channels, with eps 1e-6. Initialisation, as in the authors' code and both libraries:
//! weights from a normal distribution with deviation 0.02, cut at ±2, biases 0, layer scales 1e-6, norms 1 and 0. The
//! branches of the blocks are dropped (stochastic depth, table 5) with a probability that rises evenly from 0 in the first
//! block to 0.1 in the last.
//!
//! ```
//! use axenic::{eval, models::{Model, convnext}, nn::Mode, ops};
//! let [y] = eval(|r| {
//!     let x = ops::fill(r, [1, 3, 32, 32], 0.5)?;
//!     let network = convnext::convnext_tiny();
//!     let features = network.features(&r.scope(), x, &Mode::inference())?;
//!     Ok([network.classify(&r.scope(), features.embedding, &Mode::inference())?])
//! })?;
//! assert_eq!(y.shape(), [1, 1000].into());
//! # axenic::Result::Ok(())
//! ```

use super::{Features, Model, Preprocessing, Profile};
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::nn::{
    Bias, Conv2d, Linear, Mode, conv2d, layer_norm, layer_norm2d, linear, truncated_normal,
};
use crate::ops::{self, Noise};
use crate::shape::{KeepAxes, Shape};

const EPS: f64 = 1e-6;
const LAYER_SCALE: f64 = 1e-6;
/// The width inside a block, in multiples of its channels.
const EXPANSION: usize = 4;

/// A ConvNeXt.
#[derive(Clone, Debug)]
pub struct ConvNeXt {
    name: &'static str,
    /// How many blocks each stage has.
    pub blocks: [usize; 4],
    /// The channels of the first stage, C; every further stage has twice as many.
    pub width: usize,
    /// With what probability the last block's branch is dropped for a sample; it rises evenly from 0 at the first block.
    pub stochastic_depth: f64,
    /// How the parameters are called.
    pub names: Names,
    /// How many classes there are.
    pub num_classes: Option<usize>,
}

/// How the parameters are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// `features.1.0.block.0.weight`, as torchvision has them.
    Torchvision,
    /// `stages.0.blocks.0.conv_dw.weight`, as timm has them.
    Timm,
}

/// The smallest network of the paper.
pub fn convnext_tiny() -> ConvNeXt {
    ConvNeXt {
        name: "convnext_tiny",
        blocks: [3, 3, 9, 3],
        width: 96,
        stochastic_depth: 0.1,
        names: Names::Torchvision,
        num_classes: Some(1000),
    }
}

impl Names {
    fn stem(self) -> &'static str {
        match self {
            Names::Torchvision => "features.0",
            Names::Timm => "stem",
        }
    }

    fn stage(self, stage: usize) -> String {
        match self {
            Names::Torchvision => format!("features.{}", 2 * stage + 1),
            Names::Timm => format!("stages.{stage}"),
        }
    }

    fn downsample(self, stage: usize) -> String {
        match self {
            Names::Torchvision => format!("features.{}", 2 * stage),
            Names::Timm => format!("stages.{stage}.downsample"),
        }
    }

    fn block(self, stage: usize, index: usize) -> String {
        match self {
            Names::Torchvision => format!("{}.{index}", self.stage(stage)),
            Names::Timm => format!("{}.blocks.{index}", self.stage(stage)),
        }
    }

    /// Within a block: the convolution, the norm, and the linear layers.
    fn layers(self) -> [&'static str; 4] {
        match self {
            Names::Torchvision => ["block.0", "block.2", "block.3", "block.5"],
            Names::Timm => ["conv_dw", "norm", "mlp.fc1", "mlp.fc2"],
        }
    }

    /// The factors of a block's channels, with the shape in which they are kept.
    fn layer_scale(self, channels: usize) -> (&'static str, Shape) {
        match self {
            Names::Torchvision => ("layer_scale", [channels, 1, 1].into()),
            Names::Timm => ("gamma", [channels].into()),
        }
    }

    fn pooling(self) -> &'static str {
        match self {
            Names::Torchvision => "avgpool",
            Names::Timm => "head.global_pool",
        }
    }

    fn last_norm(self) -> &'static str {
        match self {
            Names::Torchvision => "classifier.0",
            Names::Timm => "head.norm",
        }
    }

    fn classifier(self) -> &'static str {
        match self {
            Names::Torchvision => "classifier.2",
            Names::Timm => "head.fc",
        }
    }
}

impl Model for ConvNeXt {
    fn name(&self) -> &str {
        self.name
    }

    fn profile(&self) -> Profile {
        Profile {
            classifier: self.names.classifier().to_string(),
            first_convolution: format!("{}.0", self.names.stem()),
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
        self.names = match shape_of("stem.0.weight") {
            Some(_) => Names::Timm,
            None => Names::Torchvision,
        };
        let weight = shape_of(&format!("{}.weight", self.names.classifier()));
        self.num_classes = weight.and_then(|shape| shape.first().copied());
    }

    fn stages<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Vec<Tensor<'g>>> {
        Ok(self.maps(scope, x, mode)?.to_vec())
    }

    fn features<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Features<'g>> {
        let _inside = scope.enter();
        let stages = self.maps(scope, x, mode)?;
        let embedding = ops::mean(stages[3], &[2, 3], KeepAxes::No)?; // [N, D]
        scope.name(self.names.pooling()).tap(embedding);
        let embedding = layer_norm(&scope.name(self.names.last_norm()), embedding, EPS)?;
        Ok(Features {
            stages: stages.to_vec(),
            embedding,
        })
    }

    fn classify<'g>(
        &self,
        scope: &Scope<'g>,
        embedding: Tensor<'g>,
        _mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        match self.num_classes {
            Some(classes) => {
                let scope = scope.name(self.names.classifier());
                linear(&scope, embedding, affine(classes))
            }
            None => Ok(embedding),
        }
    }
}

impl ConvNeXt {
    /// What the four stages give.
    fn maps<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<[Tensor<'g>; 4]> {
        let _inside = scope.enter();
        let stem = scope.name(self.names.stem());
        let y = conv2d(&stem.name("0"), x, patches(self.width, 4))?;
        let mut y = stem.tap(layer_norm2d(&stem.name("1"), y, EPS)?); // [N, C, H/4, W/4]
        let mut stages = [y; 4];
        let mut before = 0;
        for (stage, &blocks) in self.blocks.iter().enumerate() {
            if stage > 0 {
                let downsample = scope.name(self.names.downsample(stage));
                y = layer_norm2d(&downsample.name("0"), y, EPS)?;
                let settings = patches(self.width << stage, 2);
                y = downsample.tap(conv2d(&downsample.name("1"), y, settings)?);
            }
            for index in 0..blocks {
                let block = scope.name(self.names.block(stage, index));
                y = self.block(&block, y, self.drop_probability(before + index), mode)?;
            }
            before += blocks;
            stages[stage] = scope.name(self.names.stage(stage)).tap(y);
        }
        Ok(stages)
    }

    /// With what probability the branch of a block is dropped, of the blocks of all stages in a row.
    fn drop_probability(&self, block: usize) -> f64 {
        let last = self.blocks.iter().sum::<usize>().saturating_sub(1);
        self.stochastic_depth * block as f64 / last.max(1) as f64
    }

    /// Figure 4, right: y = x + scale · F(x), F being 7×7 over every channel alone, norm, linear to four times the width,
    /// gelu, linear back, so that between the permutations every pixel is a row.
    fn block<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        drop_probability: f64,
        mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        let _block = mode.enter_block(scope);
        let channels = x.shape()[1];
        let [depthwise, norm, expand, project] = self.names.layers().map(|name| scope.name(name));
        let settings = Conv2d {
            groups: channels,
            ..starting(Conv2d::square(channels, 7, 1))
        };
        let y = conv2d(&depthwise, x, settings)?;
        let y = ops::transpose(y, &[0, 2, 3, 1])?; // [N, H, W, C]
        let y = layer_norm(&norm, y, EPS)?;
        let y = ops::gelu(linear(&expand, y, affine(EXPANSION * channels))?)?; // [N, H, W, 4·C]
        let y = linear(&project, y, affine(channels))?;
        let (name, shape) = self.names.layer_scale(channels);
        let scale = scope.parameter(name, shape, Init::Constant(LAYER_SCALE))?;
        let y = ops::mul(y, ops::reshape(scale, [channels])?)?;
        let y = ops::transpose(y, &[0, 3, 1, 2])?; // [N, C, H, W]
        let dropping = scope.name("stochastic_depth");
        let y = mode.dropout(&dropping, y, drop_probability, Noise::Row)?;
        Ok(scope.tap(ops::add(x, y)?))
    }
}

/// Windows side by side.
fn patches(out_channels: usize, size: usize) -> Conv2d {
    Conv2d {
        padding: [0; 2],
        ..starting(Conv2d::square(out_channels, size, size))
    }
}

/// With a bias, and as the network's convolutions start.
fn starting(settings: Conv2d) -> Conv2d {
    Conv2d {
        bias: Bias::Yes,
        weight_init: Some(truncated_normal(0.02)),
        bias_init: Some(Init::Constant(0.0)),
        ..settings
    }
}

/// A linear layer as the network's start.
fn affine(out_features: usize) -> Linear {
    Linear {
        out_features,
        weight_init: Some(truncated_normal(0.02)),
        bias_init: Some(Init::Constant(0.0)),
    }
}
