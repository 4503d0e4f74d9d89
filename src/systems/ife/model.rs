//! The network: a ResNet-18 with horizontal attention, one trunk that splits into a branch for each task.
//!
//! | part | output at 224×224 | heavy | light |
//! | --- | --- | --- | --- |
//! | `conv1` 7×7/2, `bn1`, relu, 3×3/2 max-pool | [N, 64, 56, 56] | shared | shared |
//! | `layer1` two blocks | [N, 64, 56, 56] | shared if `share` ≥ 1 | else its own |
//! | `layer2` two blocks, /2 | [N, 128, 28, 28] | shared if `share` ≥ 2 | else its own |
//! | `layer3` two blocks, /2 | [N, 256, 14, 14] | shared if `share` ≥ 3 | else its own |
//! | `layer4` two blocks, /2 | [N, 512, 7, 7] | shared if `share` = 4 | else its own |
//! | mean over the image, linear | [N, 4] and [N, 3] | `cls1` | `cls2` |
//!
//! Names are those of the released code: the second branch has the suffix `_dual`. In the variant `released` the second
//! branch calls the first one's attention (`sa`) and shortcut, so that a shared shortcut's running statistics move twice
//! in a step, the first branch first.
//!
//! Reference: Shi et al., *A Multi-task Method for Immunofixation Electrophoresis Image Classification*, MICCAI 2023;
//! He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016.

use super::config::{ModelConfig, Variant};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::nn::{
    BatchNorm2d, BatchNormMode, Conv2d, batch_norm2d, batch_norm2d_add_relu, batch_norm2d_relu,
    conv2d, linear,
};
use crate::ops;
use crate::shape::KeepAxes;

/// Classes of the heavy chain: none, G, A, M.
pub const HEAVY_CLASSES: usize = 4;
/// Classes of the light chain: none, κ, λ.
pub const LIGHT_CLASSES: usize = 3;
const STAGES: usize = 4;

/// What the network gives.
pub struct Outputs<'g> {
    /// Logits of the heavy chain [N, 4].
    pub heavy: Tensor<'g>,
    /// Logits of the light chain [N, 3].
    pub light: Tensor<'g>,
    /// Attention over the rows [N, H] of each stage's last block, for heavy and light; of a shared stage twice the same.
    pub attention: Vec<[Tensor<'g>; 2]>,
    /// What the last layers see, [N, 8·width], for heavy and light.
    pub features: [Tensor<'g>; 2],
}

/// Records the network on images x [N, 3, H, W].
///
/// # Errors
/// x has not four axes.
pub fn network<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    config: &ModelConfig,
    mode: BatchNormMode,
) -> Result<Outputs<'g>> {
    let encoder = scope.name("encoder");
    let stem = stem(&encoder, x, config.width, mode)?;
    let mut features = [stem, stem];
    let mut attention = Vec::with_capacity(STAGES);
    for stage in 1..=STAGES {
        let layer = encoder.name(format!("layer{stage}"));
        let width = config.width << (stage - 1);
        let mut maps = Vec::new();
        for block in 0..2 {
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            let scope = layer.name(block);
            let is_shared = stage <= config.share;
            let settings = Block {
                width,
                stride,
                mode,
                variant: config.variant,
            };
            let (outputs, new_maps) = blocks(&scope, features, &settings, is_shared)?;
            (features, maps) = (outputs, new_maps.to_vec());
        }
        attention.push([maps[0], maps[1]]);
    }
    let [heavy, light] = features;
    let features = [
        ops::mean(heavy, &[2, 3], KeepAxes::No)?,
        ops::mean(light, &[2, 3], KeepAxes::No)?,
    ];
    Ok(Outputs {
        heavy: linear(&scope.name("cls1"), features[0], HEAVY_CLASSES)?,
        light: linear(&scope.name("cls2"), features[1], LIGHT_CLASSES)?,
        attention,
        features,
    })
}

/// [N, 3, H, W] → [N, width, H/4, W/4].
fn stem<'g>(
    encoder: &Scope<'g>,
    x: Tensor<'g>,
    width: usize,
    mode: BatchNormMode,
) -> Result<Tensor<'g>> {
    let _inside = encoder.enter();
    let x = conv2d(&encoder.name("conv1"), x, Conv2d::square(width, 7, 2))?;
    let x = batch_norm2d_relu(&encoder.name("bn1"), x, BatchNorm2d::new(mode))?;
    let windows = ops::Pooling::sliding([3, 3], [2, 2], [1, 1]);
    let (x, _index) = ops::max_pool2d(x, windows)?;
    Ok(x)
}

#[derive(Clone, Copy)]
struct Block {
    width: usize,
    stride: usize,
    mode: BatchNormMode,
    variant: Variant,
}

/// The names of one branch's parts of a block.
struct Branch<'g> {
    conv1: Scope<'g>,
    bn1: Scope<'g>,
    conv2: Scope<'g>,
    bn2: Scope<'g>,
    sa: Scope<'g>,
    shortcut: Scope<'g>,
}

impl<'g> Branch<'g> {
    fn first(scope: &Scope<'g>) -> Self {
        Self::named(scope, "")
    }

    fn second(scope: &Scope<'g>, variant: Variant) -> Self {
        let own = Self::named(scope, "_dual");
        match variant {
            Variant::Paper => own,
            Variant::Released => Self {
                sa: scope.name("sa").shared(),
                shortcut: scope.name("shortcut").shared(),
                ..own
            },
        }
    }

    fn named(scope: &Scope<'g>, suffix: &str) -> Self {
        let part = |name: &str| scope.name(format!("{name}{suffix}"));
        Self {
            conv1: part("conv1"),
            bn1: part("bn1"),
            conv2: part("conv2"),
            bn2: part("bn2"),
            sa: part("sa"),
            shortcut: part("shortcut"),
        }
    }
}

/// One block for both tasks: computed once if shared, else once for each. Gives features and attention maps.
fn blocks<'g>(
    scope: &Scope<'g>,
    [heavy, light]: [Tensor<'g>; 2],
    settings: &Block,
    is_shared: bool,
) -> Result<([Tensor<'g>; 2], [Tensor<'g>; 2])> {
    let _inside = scope.enter();
    let (first, first_map) = block(&Branch::first(scope), heavy, settings)?;
    if is_shared {
        declare_travelling(
            &Branch::named(scope, "_dual"),
            heavy,
            settings,
            Variant::Paper,
        )?;
        return Ok(([first, first], [first_map, first_map]));
    }
    let (second, second_map) = block(&Branch::second(scope, settings.variant), light, settings)?;
    if settings.variant == Variant::Released {
        declare_travelling(
            &Branch::named(scope, "_dual"),
            heavy,
            settings,
            Variant::Released,
        )?;
    }
    Ok(([first, second], [first_map, second_map]))
}

/// relu(attention(bn2(conv2(relu(bn1(conv1(x)))))) + shortcut(x)), and the attention over the rows [N, H].
fn block<'g>(
    branch: &Branch<'g>,
    x: Tensor<'g>,
    settings: &Block,
) -> Result<(Tensor<'g>, Tensor<'g>)> {
    let Block {
        width,
        stride,
        mode,
        ..
    } = *settings;
    let y = conv2d(&branch.conv1, x, Conv2d::square(width, 3, stride))?;
    let y = batch_norm2d_relu(&branch.bn1, y, BatchNorm2d::new(mode))?;
    let y = conv2d(&branch.conv2, y, Conv2d::square(width, 3, 1))?;
    let y = batch_norm2d(&branch.bn2, y, BatchNorm2d::new(mode))?;
    let map = horizontal_attention(&branch.sa, y)?; // [N, 1, H, 1]
    let y = ops::mul(y, map)?;
    let rows = ops::reshape(map, [map.shape()[0], map.shape()[2]])?;
    let y = if changes_shape(x, settings) {
        add_shortcut_relu(&branch.shortcut, x, y, settings)?
    } else {
        ops::relu(ops::add(y, x)?)?
    };
    Ok((y, rows))
}

/// M = σ(Conv7×7([mean over C and W ; max over C and W])): [N, C, H, W] → [N, 1, H, 1].
fn horizontal_attention<'g>(scope: &Scope<'g>, x: Tensor<'g>) -> Result<Tensor<'g>> {
    let _inside = scope.enter();
    let mean = ops::mean(x, &[1, 3], KeepAxes::Yes)?;
    let max = ops::max(x, &[1, 3], KeepAxes::Yes)?;
    let summary = ops::concat(&[mean, max], 1)?; // [N, 2, H, 1]
    ops::sigmoid(conv2d(
        &scope.name("conv1"),
        summary,
        Conv2d::square(1, 7, 1),
    )?)
}

/// relu(y + bn(conv1×1(x))).
fn add_shortcut_relu<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    y: Tensor<'g>,
    settings: &Block,
) -> Result<Tensor<'g>> {
    let _inside = scope.enter();
    let projection = Conv2d::square(settings.width, 1, settings.stride);
    let x = conv2d(&scope.name("0"), x, projection)?;
    batch_norm2d_add_relu(&scope.name("1"), x, y, BatchNorm2d::new(settings.mode))
}

fn changes_shape(x: Tensor<'_>, settings: &Block) -> bool {
    settings.stride != 1 || x.shape()[1] != settings.width
}

/// Declares the second branch's parts that take no part here, but that checkpoints of the released code carry: all of
/// them in a shared stage, attention and shortcut in a split stage of the variant `released`.
fn declare_travelling(
    branch: &Branch<'_>,
    x: Tensor<'_>,
    settings: &Block,
    reach: Variant,
) -> Result<()> {
    let (width, channels) = (settings.width, x.shape()[1]);
    let batch_norm = |scope: &Scope<'_>| {
        ["weight", "bias", "running_mean", "running_var"]
            .into_iter()
            .try_for_each(|name| scope.travelling(name, [width]))
    };
    if reach == Variant::Paper {
        branch.conv1.travelling("weight", [width, channels, 3, 3])?;
        branch.conv2.travelling("weight", [width, width, 3, 3])?;
        batch_norm(&branch.bn1)?;
        batch_norm(&branch.bn2)?;
    }
    branch.sa.name("conv1").travelling("weight", [1, 2, 7, 7])?;
    if changes_shape(x, settings) {
        let projection = branch.shortcut.name("0");
        projection.travelling("weight", [width, channels, 1, 1])?;
        batch_norm(&branch.shortcut.name("1"))?;
    }
    Ok(())
}
