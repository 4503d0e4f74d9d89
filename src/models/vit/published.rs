//! The published networks: their sizes, and what their families have in common.

use super::{Library, MaskToken, Mlp, SwiGluNames, VisionTransformer};
use crate::models::Preprocessing;

/// torchvision's base network with patches of 16.
pub fn vit_b_16() -> VisionTransformer {
    VisionTransformer::torchvision("vit_b_16", 16, Size::BASE)
}

/// torchvision's base network with patches of 32.
pub fn vit_b_32() -> VisionTransformer {
    VisionTransformer::torchvision("vit_b_32", 32, Size::BASE)
}

/// torchvision's large network with patches of 16.
pub fn vit_l_16() -> VisionTransformer {
    VisionTransformer::torchvision("vit_l_16", 16, Size::LARGE)
}

/// timm's small network, whose published weights want images scaled to −1…1.
pub fn vit_small_patch16_224() -> VisionTransformer {
    VisionTransformer {
        preprocessing: Preprocessing::half(224),
        ..VisionTransformer::timm("vit_small_patch16_224", Size::SMALL)
    }
}

/// timm's base network, whose published weights want images scaled to −1…1.
pub fn vit_base_patch16_224() -> VisionTransformer {
    VisionTransformer {
        preprocessing: Preprocessing::half(224),
        ..VisionTransformer::timm("vit_base_patch16_224", Size::BASE)
    }
}

/// The tiny data-efficient network.
pub fn deit_tiny_patch16_224() -> VisionTransformer {
    VisionTransformer::timm("deit_tiny_patch16_224", Size::TINY)
}

/// The small data-efficient network.
pub fn deit_small_patch16_224() -> VisionTransformer {
    VisionTransformer::timm("deit_small_patch16_224", Size::SMALL)
}

/// The base data-efficient network.
pub fn deit_base_patch16_224() -> VisionTransformer {
    VisionTransformer::timm("deit_base_patch16_224", Size::BASE)
}

/// DINOv2's small network.
pub fn dinov2_vits14() -> VisionTransformer {
    VisionTransformer::dinov2("dinov2_vits14", Size::SMALL)
}

/// DINOv2's base network.
pub fn dinov2_vitb14() -> VisionTransformer {
    VisionTransformer::dinov2("dinov2_vitb14", Size::BASE)
}

/// DINOv2's large network.
pub fn dinov2_vitl14() -> VisionTransformer {
    VisionTransformer::dinov2("dinov2_vitl14", Size::LARGE)
}

/// DINOv2's giant network, with gates in its MLPs.
pub fn dinov2_vitg14() -> VisionTransformer {
    VisionTransformer {
        mlp: Mlp::SwiGlu(SwiGluNames::DinoV2),
        ..VisionTransformer::dinov2("dinov2_vitg14", Size::GIANT)
    }
}

/// How wide and deep a network is.
struct Size {
    width: usize,
    depth: usize,
    num_heads: usize,
}

impl Size {
    const TINY: Self = Self::new(192, 12, 3);
    const SMALL: Self = Self::new(384, 12, 6);
    const BASE: Self = Self::new(768, 12, 12);
    const LARGE: Self = Self::new(1024, 24, 16);
    const GIANT: Self = Self::new(1536, 40, 24);

    const fn new(width: usize, depth: usize, num_heads: usize) -> Self {
        Self {
            width,
            depth,
            num_heads,
        }
    }
}

impl VisionTransformer {
    fn torchvision(name: &'static str, patch_size: usize, size: Size) -> Self {
        Self {
            name,
            style: Library::Torchvision,
            patch_size,
            width: size.width,
            depth: size.depth,
            num_heads: size.num_heads,
            mlp: Mlp::Gelu,
            layer_scale: None,
            mask_token: MaskToken::None,
            drop_path: 0.0,
            num_classes: Some(1000),
            preprocessing: Preprocessing::imagenet(224),
        }
    }

    fn timm(name: &'static str, size: Size) -> Self {
        Self {
            style: Library::Timm,
            ..Self::torchvision(name, 16, size)
        }
    }

    /// The factors start at 1e-5, as in DINOv2's training and in timm. (In `hubconf.py` it is 1, for weights to come.)
    fn dinov2(name: &'static str, size: Size) -> Self {
        Self {
            patch_size: 14,
            layer_scale: Some(1e-5),
            mask_token: MaskToken::Travels,
            num_classes: None,
            preprocessing: Preprocessing::imagenet(518),
            ..Self::timm(name, size)
        }
    }
}
