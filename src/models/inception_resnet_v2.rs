//! Inception-ResNet-v2: branches with windows of different sizes, whose sum is added to what they were given.
//!
//! Szegedy, Ioffe, Vanhoucke, Alemi, *Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning*,
//! AAAI 2017 (arXiv 1602.07261), with the names of timm. The network is the one whose weights its authors published, which
//! is not quite the paper's: its stem is that of Inception-v3 with one Inception block (`mixed_5b`) instead of figure 3, it
//! has 10, 20 and 10 residual blocks instead of 5, 10 and 5 (figure 15), and widths 320, 1088 and 2080 between them.
//!
//! | part | output at 299×299 | |
//! | --- | --- | --- |
//! | `conv2d_1a` 3×3/2, `conv2d_2a` 3×3 | [N, 32, 147, 147] | no padding |
//! | `conv2d_2b` 3×3 | [N, 64, 147, 147] | |
//! | `maxpool_3a` 3×3/2, `conv2d_3b` 1×1, `conv2d_4a` 3×3 | [N, 192, 71, 71] | no padding |
//! | `maxpool_5a` 3×3/2, `mixed_5b` | [N, 320, 35, 35] | |
//! | `repeat` | [N, 320, 35, 35] | 10 blocks A (figure 16) |
//! | `mixed_6a` | [N, 1088, 17, 17] | reduction A (figure 7) |
//! | `repeat_1` | [N, 1088, 17, 17] | 20 blocks B (figure 17) |
//! | `mixed_7a` | [N, 2080, 8, 8] | reduction B (figure 18) |
//! | `repeat_2`, `block8` | [N, 2080, 8, 8] | 9 blocks C and a last (figure 19) |
//! | `conv2d_7b` 1×1 | [N, 1536, 8, 8] | |
//! | mean over the image | [N, 1536] | |
//! | `classif` | [N, 1000] | |
//! | parameters | | 55,843,464 |
//!
//! Every convolution but the last of a block is followed by a batch norm (eps 1e-3) and a relu. Images have 75 pixels a side
//! at least. Initialisation: that of timm, which leaves it to PyTorch's layers: weights and biases uniform in
//! ±1/√(incoming connections), norms 1 and 0.
//!
//! ```
//! use axenic::{array::Spec, graph::Graph, models::{self, inception_resnet_v2}, nn::Mode};
//! let graph = Graph::record(|r| {
//!     let x = r.input("x", Spec::real([1, 3, 75, 75]))?;
//!     let network = inception_resnet_v2::inception_resnet_v2();
//!     models::record(&network, &r.scope(), x, &Mode::inference())
//! })?;
//! assert_eq!(graph.spec(graph.output("y")?), Spec::real([1, 1000]));
//! # axenic::Result::Ok(())
//! ```

use super::{Features, Model, Preprocessing, Profile};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::nn::{
    BatchNorm2d, Bias, Conv2d, Mode, batch_norm2d_relu, conv2d, default_uniform, linear,
};
use crate::ops::{self, CountIncludePad, Pooling};
use crate::shape::{KeepAxes, Shape};

/// Added to the variance of a batch.
const EPS: f64 = 1e-3;

/// The network.
#[derive(Clone, Debug)]
pub struct InceptionResNetV2 {
    /// How many classes there are.
    pub num_classes: Option<usize>,
}

/// The network with a thousand classes.
pub fn inception_resnet_v2() -> InceptionResNetV2 {
    InceptionResNetV2 {
        num_classes: Some(1000),
    }
}

/// Where a block of the coarsest kind stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before others of its kind.
    Within,
    /// After them all.
    Last,
}

impl Model for InceptionResNetV2 {
    fn name(&self) -> &str {
        "inception_resnet_v2"
    }

    fn profile(&self) -> Profile {
        Profile {
            classifier: "classif".to_string(),
            first_convolution: "conv2d_1a.conv".to_string(),
            position_embedding: None,
            preprocessing: Preprocessing::half(299),
        }
    }

    fn num_classes(&self) -> Option<usize> {
        self.num_classes
    }

    fn set_num_classes(&mut self, num_classes: Option<usize>) {
        self.num_classes = num_classes;
    }

    fn fit_to(&mut self, shape_of: &dyn Fn(&str) -> Option<Shape>) {
        self.num_classes = shape_of("classif.weight").and_then(|shape| shape.first().copied());
    }

    fn features<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Features<'g>> {
        let _inside = scope.enter();
        let finest = stem(scope, x, mode)?; // [N, 192, 71, 71]
        let y = scope.name("maxpool_5a").tap(halve(finest)?);
        let y = mixed_5b(&scope.name("mixed_5b"), y, mode)?; // [N, 320, 35, 35]
        let fine = repeat(&scope.name("repeat"), y, 10, |s, x| block35(s, x, mode))?;
        let y = mixed_6a(&scope.name("mixed_6a"), fine, mode)?; // [N, 1088, 17, 17]
        let coarse = repeat(&scope.name("repeat_1"), y, 20, |s, x| block17(s, x, mode))?;
        let y = mixed_7a(&scope.name("mixed_7a"), coarse, mode)?; // [N, 2080, 8, 8]
        let y = repeat(&scope.name("repeat_2"), y, 9, |s, x| {
            block8(s, x, Place::Within, mode)
        })?;
        let y = block8(&scope.name("block8"), y, Place::Last, mode)?;
        let coarsest = convolve(&scope.name("conv2d_7b"), y, window(1536, 1), mode)?;
        let embedding = ops::mean(coarsest, &[2, 3], KeepAxes::No)?; // [N, 1536]
        Ok(Features {
            stages: vec![finest, fine, coarse, coarsest],
            embedding: scope.name("global_pool").tap(embedding),
        })
    }

    fn classify<'g>(
        &self,
        scope: &Scope<'g>,
        embedding: Tensor<'g>,
        _mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        match self.num_classes {
            Some(classes) => linear(&scope.name("classif"), embedding, classes),
            None => Ok(embedding),
        }
    }
}

/// The five convolutions before the first Inception block.
fn stem<'g>(scope: &Scope<'g>, x: Tensor<'g>, mode: &Mode<'g>) -> Result<Tensor<'g>> {
    let y = convolve(&scope.name("conv2d_1a"), x, unpadded(32, 3, 2), mode)?;
    let y = convolve(&scope.name("conv2d_2a"), y, unpadded(32, 3, 1), mode)?;
    let y = convolve(&scope.name("conv2d_2b"), y, window(64, 3), mode)?;
    let y = scope.name("maxpool_3a").tap(halve(y)?);
    let y = convolve(&scope.name("conv2d_3b"), y, window(80, 1), mode)?;
    convolve(&scope.name("conv2d_4a"), y, unpadded(192, 3, 1), mode)
}

/// The Inception block of the stem: 1×1, 5×5, two 3×3, and a mean, side by side.
fn mixed_5b<'g>(scope: &Scope<'g>, x: Tensor<'g>, mode: &Mode<'g>) -> Result<Tensor<'g>> {
    let _block = mode.enter_block(scope);
    let mean = || {
        let windows = Pooling::sliding([3, 3], [1, 1], [1, 1]);
        let mean = ops::avg_pool2d(x, windows, CountIncludePad::No)?;
        Ok(scope.name("branch3.0").tap(mean))
    };
    let branches = [
        convolve(&scope.name("branch0"), x, window(96, 1), mode)?,
        chain(
            &scope.name("branch1"),
            x,
            &[window(48, 1), window(64, 5)],
            mode,
        )?,
        chain(
            &scope.name("branch2"),
            x,
            &[window(64, 1), window(96, 3), window(96, 3)],
            mode,
        )?,
        convolve(&scope.name("branch3.1"), mean()?, window(64, 1), mode)?,
    ];
    Ok(scope.tap(ops::concat(&branches, 1)?)) // 96 + 64 + 96 + 64 channels
}

/// Inception-ResNet-A (figure 16).
fn block35<'g>(scope: &Scope<'g>, x: Tensor<'g>, mode: &Mode<'g>) -> Result<Tensor<'g>> {
    let _block = mode.enter_block(scope);
    let branches = [
        convolve(&scope.name("branch0"), x, window(32, 1), mode)?,
        chain(
            &scope.name("branch1"),
            x,
            &[window(32, 1), window(32, 3)],
            mode,
        )?,
        chain(
            &scope.name("branch2"),
            x,
            &[window(32, 1), window(48, 3), window(64, 3)],
            mode,
        )?,
    ];
    Ok(scope.tap(ops::relu(residual(scope, x, &branches, 0.17)?)?))
}

/// Reduction A (figure 7 and table 1): half the size by two branches and a maximum.
fn mixed_6a<'g>(scope: &Scope<'g>, x: Tensor<'g>, mode: &Mode<'g>) -> Result<Tensor<'g>> {
    let _block = mode.enter_block(scope);
    let branches = [
        convolve(&scope.name("branch0"), x, unpadded(384, 3, 2), mode)?,
        chain(
            &scope.name("branch1"),
            x,
            &[window(256, 1), window(256, 3), unpadded(384, 3, 2)],
            mode,
        )?,
        scope.name("branch2").tap(halve(x)?),
    ];
    Ok(scope.tap(ops::concat(&branches, 1)?)) // 384 + 384 + 320 channels
}

/// Inception-ResNet-B (figure 17): 7×7 as a row and a column.
fn block17<'g>(scope: &Scope<'g>, x: Tensor<'g>, mode: &Mode<'g>) -> Result<Tensor<'g>> {
    let _block = mode.enter_block(scope);
    let branches = [
        convolve(&scope.name("branch0"), x, window(192, 1), mode)?,
        chain(
            &scope.name("branch1"),
            x,
            &[window(128, 1), oblong(160, [1, 7]), oblong(192, [7, 1])],
            mode,
        )?,
    ];
    Ok(scope.tap(ops::relu(residual(scope, x, &branches, 0.1)?)?))
}

/// Reduction B (figure 18): half the size by three branches and a maximum.
fn mixed_7a<'g>(scope: &Scope<'g>, x: Tensor<'g>, mode: &Mode<'g>) -> Result<Tensor<'g>> {
    let _block = mode.enter_block(scope);
    let halving = |name: &str, windows: &[Conv2d]| chain(&scope.name(name), x, windows, mode);
    let branches = [
        halving("branch0", &[window(256, 1), unpadded(384, 3, 2)])?,
        halving("branch1", &[window(256, 1), unpadded(288, 3, 2)])?,
        halving(
            "branch2",
            &[window(256, 1), window(288, 3), unpadded(320, 3, 2)],
        )?,
        scope.name("branch3").tap(halve(x)?),
    ];
    Ok(scope.tap(ops::concat(&branches, 1)?)) // 384 + 288 + 320 + 1088 channels
}

/// Inception-ResNet-C (figure 19): 3×3 as a row and a column. The last of them is neither scaled down nor ends in a relu.
fn block8<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    place: Place,
    mode: &Mode<'g>,
) -> Result<Tensor<'g>> {
    let _block = mode.enter_block(scope);
    let branches = [
        convolve(&scope.name("branch0"), x, window(192, 1), mode)?,
        chain(
            &scope.name("branch1"),
            x,
            &[window(192, 1), oblong(224, [1, 3]), oblong(256, [3, 1])],
            mode,
        )?,
    ];
    let y = match place {
        Place::Within => ops::relu(residual(scope, x, &branches, 0.2)?)?,
        Place::Last => residual(scope, x, &branches, 1.0)?,
    };
    Ok(scope.tap(y))
}

/// x plus `scale` times a 1×1 convolution of the branches (section 3.3, figure 20).
fn residual<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    branches: &[Tensor<'g>],
    scale: f64,
) -> Result<Tensor<'g>> {
    let y = ops::concat(branches, 1)?;
    let settings = Conv2d {
        bias: Bias::Yes,
        weight_init: Some(default_uniform(y.shape()[1])),
        ..window(x.shape()[1], 1)
    };
    let y = conv2d(&scope.name("conv2d"), y, settings)?;
    let scale = ops::fill(x.recorder(), Shape::SCALAR, scale)?;
    ops::add(ops::mul(y, scale)?, x)
}

/// A block a number of times, each with its own parameters.
fn repeat<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    times: usize,
    block: impl Fn(&Scope<'g>, Tensor<'g>) -> Result<Tensor<'g>>,
) -> Result<Tensor<'g>> {
    let y = (0..times).try_fold(x, |x, index| block(&scope.name(index), x))?;
    Ok(scope.tap(y))
}

/// Convolutions one after the other, each with its norm and relu.
#[track_caller]
fn chain<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    windows: &[Conv2d],
    mode: &Mode<'g>,
) -> Result<Tensor<'g>> {
    let mut y = x;
    for (index, &window) in windows.iter().enumerate() {
        y = convolve(&scope.name(index), y, window, mode)?;
    }
    Ok(scope.tap(y))
}

/// `conv`, `bn` and relu.
#[track_caller]
fn convolve<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    window: Conv2d,
    mode: &Mode<'g>,
) -> Result<Tensor<'g>> {
    let _inside = scope.enter();
    let [height, width] = window.kernel_size;
    let channels = x.shape().get(1).copied().unwrap_or(0);
    let settings = Conv2d {
        weight_init: Some(default_uniform(channels * height * width)),
        ..window
    };
    let y = conv2d(&scope.name("conv"), x, settings)?;
    let norm = scope.name("bn");
    let settings = BatchNorm2d {
        eps: EPS,
        ..mode.batch_norm(&norm)
    };
    Ok(scope.tap(batch_norm2d_relu(&norm, y, settings)?))
}

/// The maximum of 3×3 windows at every other pixel, without padding.
fn halve(x: Tensor<'_>) -> Result<Tensor<'_>> {
    Ok(ops::max_pool2d(x, Pooling::sliding([3, 3], [2, 2], [0, 0]))?.0)
}

/// A square window that keeps the size.
fn window(out_channels: usize, kernel_size: usize) -> Conv2d {
    Conv2d::square(out_channels, kernel_size, 1)
}

/// A square window without padding.
fn unpadded(out_channels: usize, kernel_size: usize, stride: usize) -> Conv2d {
    Conv2d {
        padding: [0; 2],
        ..Conv2d::square(out_channels, kernel_size, stride)
    }
}

/// A window of this height and width that keeps the size.
fn oblong(out_channels: usize, kernel_size: [usize; 2]) -> Conv2d {
    Conv2d {
        kernel_size,
        padding: kernel_size.map(|length| length / 2),
        ..window(out_channels, 1)
    }
}
