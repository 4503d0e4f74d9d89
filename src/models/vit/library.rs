//! What the libraries call the parts of a vision transformer, and how they let the parameters start.

use crate::graph::Init;
use crate::nn::{AttentionNames, default_uniform, truncated_normal, xavier_uniform};

const ZERO: Init = Init::Constant(0.0);

/// Whose names the parameters have, and whose way of starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// `class_token`, `encoder.layers.encoder_layer_0.ln_1`; `torchvision.models.VisionTransformer`.
    Torchvision,
    /// `cls_token`, `blocks.0.norm1`; `timm.models.VisionTransformer`, and DINOv2, which has names and start from there.
    Timm,
}

/// Where the parts are.
pub(super) struct Names {
    pub(super) patches: &'static str,
    pub(super) class_token: &'static str,
    pub(super) positions: &'static str,
    /// The block's number follows.
    pub(super) block: &'static str,
    pub(super) norms: [&'static str; 2],
    pub(super) attention: &'static str,
    pub(super) mlp: [&'static str; 2],
    pub(super) norm: &'static str,
    /// What holds all blocks and the last norm, where there is such a part.
    pub(super) encoder: Option<&'static str>,
    pub(super) head: &'static str,
}

static TORCHVISION: Names = Names {
    patches: "conv_proj",
    class_token: "class_token",
    positions: "encoder.pos_embedding",
    block: "encoder.layers.encoder_layer_",
    norms: ["ln_1", "ln_2"],
    attention: "self_attention",
    mlp: ["0", "3"],
    norm: "encoder.ln",
    encoder: Some("encoder"),
    head: "heads.head",
};

static TIMM: Names = Names {
    patches: "patch_embed.proj",
    class_token: "cls_token",
    positions: "pos_embed",
    block: "blocks.",
    norms: ["norm1", "norm2"],
    attention: "attn",
    mlp: ["fc1", "fc2"],
    norm: "norm",
    encoder: None,
    head: "head",
};

impl Library {
    pub(super) fn names(self) -> &'static Names {
        match self {
            Library::Torchvision => &TORCHVISION,
            Library::Timm => &TIMM,
        }
    }

    /// The class token's start.
    pub(super) fn class_token(self) -> Init {
        match self {
            Library::Torchvision => ZERO,
            Library::Timm => Init::Normal { std: 1e-6 },
        }
    }

    /// The start of the table of positions.
    pub(super) fn positions(self) -> Init {
        match self {
            Library::Torchvision => Init::Normal { std: 0.02 },
            Library::Timm => truncated_normal(0.02),
        }
    }

    /// Weight and bias of the patch projection, which reads `fan_in` numbers.
    pub(super) fn patches(self, fan_in: usize) -> [Init; 2] {
        match self {
            Library::Torchvision => [truncated_normal((1.0 / fan_in as f64).sqrt()), ZERO],
            Library::Timm => [default_uniform(fan_in), default_uniform(fan_in)],
        }
    }

    /// Weights and biases between D and H channels.
    pub(super) fn mlp(self, width: usize, hidden: usize) -> [Init; 2] {
        match self {
            Library::Torchvision => [xavier_uniform(width, hidden), Init::Normal { std: 1e-6 }],
            Library::Timm => [truncated_normal(0.02), ZERO],
        }
    }

    /// Weight and bias of the classifier.
    pub(super) fn head(self) -> [Init; 2] {
        match self {
            Library::Torchvision => [ZERO; 2],
            Library::Timm => [truncated_normal(0.02), ZERO],
        }
    }

    /// The attention has its start from its names.
    pub(super) fn attention(self) -> AttentionNames {
        match self {
            Library::Torchvision => AttentionNames::Torch,
            Library::Timm => AttentionNames::Timm,
        }
    }
}
