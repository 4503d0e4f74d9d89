//! Densely connected networks: every layer reads what all layers of its block before it gave.
//!
//! Huang, Liu, van der Maaten, Weinberger, *Densely Connected Convolutional Networks*, CVPR 2017 (figure 1, table 1), the
//! variant with bottlenecks and compression ½ (DenseNet-BC, section 3), with the names of torchvision.
//!
//! | part | output at 224×224 | `densenet121` |
//! | --- | --- | --- |
//! | `features.conv0` 7×7/2, `norm0`, relu | [N, 2·k, 112, 112] | 64 channels |
//! | `features.pool0` 3×3/2 max-pool | [N, 2·k, 56, 56] | |
//! | `features.denseblock1` | [N, 256, 56, 56] | 6 layers |
//! | `features.transition1` 1×1, 2×2/2 mean | [N, 128, 28, 28] | |
//! | `features.denseblock2` | [N, 512, 28, 28] | 12 layers |
//! | `features.transition2` | [N, 256, 14, 14] | |
//! | `features.denseblock3` | [N, 1024, 14, 14] | 24 layers |
//! | `features.transition3` | [N, 512, 7, 7] | |
//! | `features.denseblock4` | [N, 1024, 7, 7] | 16 layers |
//! | `features.norm5`, relu, mean over the image | [N, 1024] | |
//! | `classifier` | [N, 1000] | |
//! | parameters | | 7,978,856 |
//!
//! k is the growth rate, 32: the channels that every layer adds. Initialisation: convolutions He-normal over the incoming
//! connections, norms 1 and 0, the bias of the classifier 0.
//!
//! Memory: the inputs of a block's layers together grow with the square of their number. Each is put together inside its
//! layer's block ([`Mode::enter_block`]) from what the layers gave, so that recomputing blocks keeps only the latter
//! (Pleiss et al., *Memory-Efficient Implementation of DenseNets*, 2017, section 3).
//!
//! ```
//! use axenic::{eval, models::{Model, densenet}, nn::Mode, ops};
//! let [y] = eval(|r| {
//!     let x = ops::fill(r, [1, 3, 32, 32], 0.5)?;
//!     let network = densenet::densenet121();
//!     let features = network.features(&r.scope(), x, &Mode::inference())?;
//!     Ok([network.classify(&r.scope(), features.embedding, &Mode::inference())?])
//! })?;
//! assert_eq!(y.shape(), [1, 1000].into());
//! # axenic::Result::Ok(())
//! ```

use super::{Features, Model, Preprocessing, Profile};
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::nn::{Conv2d, Linear, Mode, batch_norm2d_relu, conv2d, kaiming_normal, linear};
use crate::ops::{self, CountIncludePad, Pooling};
use crate::shape::{KeepAxes, Shape};

/// Channels of a bottleneck, in multiples of the growth rate (section 3, "Bottleneck layers").
const BOTTLENECK: usize = 4;

/// A densely connected network.
#[derive(Clone, Debug)]
pub struct DenseNet {
    name: &'static str,
    /// The channels that every layer adds, k.
    pub growth_rate: usize,
    /// How many layers each dense block has.
    pub layers: [usize; 4],
    /// How many classes there are.
    pub num_classes: Option<usize>,
}

/// The network of 121 layers.
pub fn densenet121() -> DenseNet {
    DenseNet {
        name: "densenet121",
        growth_rate: 32,
        layers: [6, 12, 24, 16],
        num_classes: Some(1000),
    }
}

impl Model for DenseNet {
    fn name(&self) -> &str {
        self.name
    }

    fn profile(&self) -> Profile {
        Profile {
            classifier: "classifier".to_string(),
            first_convolution: "features.conv0".to_string(),
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
        self.num_classes = shape_of("classifier.weight").and_then(|shape| shape.first().copied());
    }

    fn stages<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Vec<Tensor<'g>>> {
        Ok(self.blocks(scope, x, mode)?.to_vec())
    }

    fn features<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Features<'g>> {
        let stages = self.blocks(scope, x, mode)?;
        let y = norm_relu(&scope.name("features.norm5"), stages[3], mode)?;
        let embedding = ops::mean(y, &[2, 3], KeepAxes::No)?; // [N, D]
        Ok(Features {
            stages: stages.to_vec(),
            embedding: scope.name("avgpool").tap(embedding),
        })
    }

    fn classify<'g>(
        &self,
        scope: &Scope<'g>,
        embedding: Tensor<'g>,
        _mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        let Some(classes) = self.num_classes else {
            return Ok(embedding);
        };
        let settings = Linear {
            bias_init: Some(Init::Constant(0.0)),
            ..classes.into()
        };
        linear(&scope.name("classifier"), embedding, settings)
    }
}

impl DenseNet {
    /// Everything before the last norm: what the four dense blocks give (table 1).
    fn blocks<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<[Tensor<'g>; 4]> {
        let parts = scope.name("features");
        let _inside = parts.enter();
        let y = convolve(&parts.name("conv0"), x, 2 * self.growth_rate, 7, 2)?;
        let y = norm_relu(&parts.name("norm0"), y, mode)?; // [N, 2k, H/2, W/2]
        let windows = Pooling::sliding([3, 3], [2, 2], [1, 1]);
        let (mut y, _index) = ops::max_pool2d(y, windows)?; // [N, 2k, H/4, W/4]
        parts.name("pool0").tap(y);
        let mut stages = [y; 4];
        for (index, (stage, &layers)) in stages.iter_mut().zip(&self.layers).enumerate() {
            if index > 0 {
                y = transition(&parts.name(format!("transition{index}")), y, mode)?;
            }
            let block = parts.name(format!("denseblock{}", index + 1));
            y = self.dense_block(&block, y, layers, mode)?;
            *stage = y;
        }
        Ok(stages)
    }

    /// Layers that read everything before them, x₀ included (equation 2): [N, C, H, W] → [N, C + layers·k, H, W].
    fn dense_block<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        layers: usize,
        mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        let mut given = vec![x];
        for index in 1..=layers {
            let layer = scope.name(format!("denselayer{index}"));
            given.push(self.dense_layer(&layer, &given, mode)?);
        }
        Ok(scope.tap(ops::concat(&given, 1)?))
    }

    /// x_l = H([x₀, …, x_{l−1}]) (equation 2), H being norm, relu, 1×1 to 4·k channels, norm, relu, 3×3 to k (section 3).
    fn dense_layer<'g>(
        &self,
        scope: &Scope<'g>,
        given: &[Tensor<'g>],
        mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        let _block = mode.enter_block(scope);
        let k = self.growth_rate;
        let y = norm_relu(&scope.name("norm1"), ops::concat(given, 1)?, mode)?;
        let y = convolve(&scope.name("conv1"), y, BOTTLENECK * k, 1, 1)?;
        let y = norm_relu(&scope.name("norm2"), y, mode)?;
        let y = convolve(&scope.name("conv2"), y, k, 3, 1)?;
        Ok(scope.tap(y))
    }
}

/// Half the channels at half the size (section 3, "Pooling layers" and "Compression"): norm, relu, 1×1, 2×2/2 mean.
fn transition<'g>(scope: &Scope<'g>, x: Tensor<'g>, mode: &Mode<'g>) -> Result<Tensor<'g>> {
    let _inside = scope.enter();
    let half = x.shape()[1] / 2;
    let y = norm_relu(&scope.name("norm"), x, mode)?;
    let y = convolve(&scope.name("conv"), y, half, 1, 1)?; // [N, C/2, H, W]
    let windows = Pooling::sliding([2, 2], [2, 2], [0, 0]);
    let y = ops::avg_pool2d(y, windows, CountIncludePad::Yes)?; // [N, C/2, H/2, W/2]
    scope.name("pool").tap(y);
    Ok(scope.tap(y))
}

#[track_caller]
fn norm_relu<'g>(scope: &Scope<'g>, x: Tensor<'g>, mode: &Mode<'g>) -> Result<Tensor<'g>> {
    batch_norm2d_relu(scope, x, mode.batch_norm(scope))
}

/// A square window over all channels of x.
#[track_caller]
fn convolve<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    out_channels: usize,
    kernel_size: usize,
    stride: usize,
) -> Result<Tensor<'g>> {
    let channels = x.shape().get(1).copied().unwrap_or(0);
    let settings = Conv2d {
        weight_init: Some(kaiming_normal(channels * kernel_size * kernel_size)),
        ..Conv2d::square(out_channels, kernel_size, stride)
    };
    conv2d(scope, x, settings)
}
