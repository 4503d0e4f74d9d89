//! Vision transformers: an image is a sentence, its patches are the words.
//!
//! Dosovitskiy et al., *An Image is Worth 16×16 Words: Transformers for Image Recognition at Scale*, ICLR 2021. With the
//! learned patch projection E, class token x_class and positions E_pos, layer norms LN, and the self-attention MSA:
//!
//! | equation | computes | here |
//! | --- | --- | --- |
//! | 1 | z₀ = [x_class; x¹·E; …; xᵀ·E] + E_pos | [`VisionTransformer::embed`] |
//! | 2 | z′ₗ = MSA(LN(zₗ₋₁)) + zₗ₋₁ | [`VisionTransformer::block`] |
//! | 3 | zₗ = MLP(LN(z′ₗ)) + z′ₗ | [`VisionTransformer::block`] |
//! | 4 | y = LN(z_L)⁰ | [`features`](Model::features) |
//!
//! The same network goes by three families of names:
//!
//! - `vit_*` of torchvision;
//! - `vit_*_patch16_224` of timm, and `deit_*`: Touvron et al., *Training data-efficient image transformers & distillation
//!   through attention*, ICML 2021 (table 1), the ones without a distillation token;
//! - `dinov2_*`: Oquab et al., *DINOv2: Learning Robust Visual Features without Supervision*, TMLR 2024 (table 17), trained
//!   without labels, hence without a classifier: y is the embedding. Each residual branch has a LayerScale, and the MLP of
//!   the giant is a SwiGLU. timm's weights of these (`vit_small_patch14_dinov2` …) fit too.
//!
//! | network | patch P | blocks L | width D | heads | hidden | parameters |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | `vit_b_16`, `vit_base_patch16_224`, `deit_base_patch16_224` | 16 | 12 | 768 | 12 | 3072 | 86,567,656 |
//! | `vit_b_32` | 32 | 12 | 768 | 12 | 3072 | 88,224,232 |
//! | `vit_l_16` | 16 | 24 | 1024 | 16 | 4096 | 304,326,632 |
//! | `vit_small_patch16_224`, `deit_small_patch16_224` | 16 | 12 | 384 | 6 | 1536 | 22,050,664 |
//! | `deit_tiny_patch16_224` | 16 | 12 | 192 | 3 | 768 | 5,717,416 |
//! | `dinov2_vits14` | 14 | 12 | 384 | 6 | 1536 | 22,056,192 |
//! | `dinov2_vitb14` | 14 | 12 | 768 | 12 | 3072 | 86,579,712 |
//! | `dinov2_vitl14` | 14 | 24 | 1024 | 16 | 4096 | 304,367,616 |
//! | `dinov2_vitg14` | 14 | 40 | 1536 | 24 | 4096, gated | 1,136,479,232 |
//!
//! for 1000 classes and images of 224 × 224; DINOv2's without classes, 518 × 518, and without the D numbers of
//! `mask_token`, which only pre-training reads, and which therefore merely travels. Any image of whole patches will do:
//! the table of positions has as many rows as the image has patches, and one for the class token.
//!
//! | value, in timm's names | shape, T = 1 + H/P·W/P | in torchvision's |
//! | --- | --- | --- |
//! | `patch_embed.proj` | [N, D, H/P, W/P] | `conv_proj` |
//! | `blocks.3`: zₗ | [N, T, D] | `encoder.layers.encoder_layer_3` |
//! | `blocks.3.attn.weights`: of every query for every key | [N, heads, T, T] | `….self_attention.weights` |
//! | `norm`: LN(z_L) | [N, T, D] | `encoder.ln` |
//! | `norm.class_token`: y; DINOv2's `x_norm_clstoken` | [N, D] | `encoder.ln.class_token` |
//! | `norm.patch_tokens`; DINOv2's `x_norm_patchtokens` | [N, T − 1, D] | `encoder.ln.patch_tokens` |
//! | [`stages`](Features::stages) | four of [N, D, H/P, W/P] | |
//! | `head` | [N, K] | `heads.head` |
//!
//! The stages are the patch tokens after a quarter, half, three quarters and all of the blocks, before the last norm: those
//! that Ranftl, Bochkovskiy and Koltun, *Vision Transformers for Dense Prediction*, ICCV 2021 (section 3) read from the base
//! network, {3, 6, 9, 12}. (From the large one they read {5, 12, 18, 24}, where these are {6, 12, 18, 24}.)
//!
//! Initialisation is that of the library whose names the network has. timm and DINOv2: truncated normal with 0.02, biases 0, class
//! token normal with 1e-6, patches as any convolution of PyTorch. torchvision: patches truncated normal with 1/√(3·P²), MLP
//! Glorot with biases normal with 1e-6, positions normal with 0.02, class token and classifier 0.
//!
//! ```
//! use axenic::{eval, models::{Model, vit}, nn::Mode, ops};
//! let [y] = eval(|r| {
//!     let x = ops::fill(r, [1, 3, 32, 48], 0.5)?;
//!     let network = vit::deit_tiny_patch16_224();
//!     let features = network.features(&r.scope(), x, &Mode::inference())?;
//!     Ok([network.classify(&r.scope(), features.embedding, &Mode::inference())?])
//! })?;
//! assert_eq!(y.shape(), [1, 1000].into());
//! # axenic::Result::Ok(())
//! ```

mod library;
mod published;

pub use library::Library;
pub use published::{
    deit_base_patch16_224, deit_small_patch16_224, deit_tiny_patch16_224, dinov2_vitb14,
    dinov2_vitg14, dinov2_vitl14, dinov2_vits14, vit_b_16, vit_b_32, vit_base_patch16_224,
    vit_l_16, vit_small_patch16_224,
};

use super::{Features, Model, PositionEmbedding, Preprocessing, Profile};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::nn::{
    FeedForward, Linear, Mode, MultiHeadAttention, PatchEmbedding, layer_norm, layer_scale, linear,
    mlp, multi_head_attention, patch_embedding, swiglu,
};
use crate::ops::{self, Noise, ScoreMap};
use crate::shape::Shape;

/// Added to the variance in every layer norm.
const EPS: f64 = 1e-6;

/// What equation 3 calls MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mlp {
    /// Two layers with a gelu between, 4·D hidden channels.
    Gelu,
    /// Two layers with a gate between, ⅔·4·D hidden channels, up to the next multiple of eight.
    SwiGlu(SwiGluNames),
}

/// What the two layers of a SwiGLU are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwiGluNames {
    /// `w12`, `w3`.
    DinoV2,
    /// `fc1`, `fc2`.
    Timm,
}

/// Whether the files have the token that stands for hidden patches in pre-training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskToken {
    /// It travels with them.
    Travels,
    /// There never was one.
    None,
}

/// A vision transformer.
#[derive(Clone, Debug)]
pub struct VisionTransformer {
    name: &'static str,
    /// Whose names the parameters have, and whose way of starting.
    pub style: Library,
    /// Height and width of a patch in pixels, P.
    pub patch_size: usize,
    /// Channels of a token, D.
    pub width: usize,
    /// How many blocks there are, L.
    pub depth: usize,
    /// Among how many heads the channels are shared.
    pub num_heads: usize,
    /// What equation 3 calls MLP.
    pub mlp: Mlp,
    /// Where the learned factors of the residual branches start, if there are any.
    pub layer_scale: Option<f64>,
    /// Whether `mask_token` travels with the weights.
    pub mask_token: MaskToken,
    /// With which probability a sample skips a residual branch of the last block; the first block's are never skipped,
    /// and between them the probability grows evenly (Huang et al. 2016, equation 4).
    pub drop_path: f64,
    /// How many classes there are.
    pub num_classes: Option<usize>,
    /// How images are prepared.
    pub preprocessing: Preprocessing,
}

impl Model for VisionTransformer {
    fn name(&self) -> &str {
        self.name
    }

    fn profile(&self) -> Profile {
        let names = self.style.names();
        Profile {
            classifier: names.head.to_string(),
            first_convolution: names.patches.to_string(),
            position_embedding: Some(PositionEmbedding {
                name: names.positions.to_string(),
                prefix_tokens: 1,
                patch_size: self.patch_size,
            }),
            preprocessing: self.preprocessing.clone(),
        }
    }

    fn num_classes(&self) -> Option<usize> {
        self.num_classes
    }

    fn set_num_classes(&mut self, num_classes: Option<usize>) {
        self.num_classes = num_classes;
    }

    fn fit_to(&mut self, shape_of: &dyn Fn(&str) -> Option<Shape>) {
        let head = shape_of(&format!("{}.weight", self.style.names().head));
        self.num_classes = head.and_then(|shape| shape.first().copied());
        if let Mlp::SwiGlu(names) = &mut self.mlp {
            *names = match shape_of("blocks.0.mlp.fc1.weight") {
                Some(_) => SwiGluNames::Timm,
                None => SwiGluNames::DinoV2,
            };
        }
    }

    fn stages<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Vec<Tensor<'g>>> {
        Ok(self.blocks(scope, x, mode)?.0)
    }

    fn features<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<Features<'g>> {
        let _inside = scope.enter();
        let (stages, z) = self.blocks(scope, x, mode)?;
        let norm = scope.name(self.style.names().norm);
        let z = layer_norm(&norm, z, EPS)?;
        if let Some(encoder) = self.style.names().encoder {
            scope.name(encoder).tap(z);
        }
        norm.name("patch_tokens").tap(patch_tokens(z)?);
        let y = ops::slice(z, 1, 0, 1)?; // equation 4
        let y = ops::reshape(y, [z.shape()[0], self.width])?;
        Ok(Features {
            stages,
            embedding: norm.name("class_token").tap(y),
        })
    }

    fn classify<'g>(
        &self,
        scope: &Scope<'g>,
        embedding: Tensor<'g>,
        _mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        let Some(out_features) = self.num_classes else {
            return Ok(embedding);
        };
        let [weight_init, bias_init] = self.style.head().map(Some);
        let head = Linear {
            out_features,
            weight_init,
            bias_init,
        };
        linear(&scope.name(self.style.names().head), embedding, head)
    }
}

impl VisionTransformer {
    /// Everything before the last norm: the stages, and the tokens z_L [N, T, D].
    fn blocks<'g>(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        mode: &Mode<'g>,
    ) -> Result<(Vec<Tensor<'g>>, Tensor<'g>)> {
        let _inside = scope.enter();
        let mut z = self.embed(scope, x)?; // [N, T, D]
        let mut depths = vec![z];
        for index in 0..self.depth {
            let block = scope.name(format!("{}{index}", self.style.names().block));
            z = self.block(&block, z, index, mode)?;
            depths.push(z);
        }
        let quarters = (1..=4).map(|quarter| depths[(quarter * self.depth).div_ceil(4)]);
        let stages = quarters.map(|z| self.map(z, x)).collect::<Result<_>>()?;
        Ok((stages, z))
    }

    /// z₀ = [x_class; x¹·E; …; xᵀ·E] + E_pos (equation 1): the images x [N, C, H, W] as tokens [N, T, D].
    ///
    /// # Errors
    /// The images are not made of whole patches.
    pub fn embed<'g>(&self, scope: &Scope<'g>, x: Tensor<'g>) -> Result<Tensor<'g>> {
        let (names, width) = (self.style.names(), self.width);
        let fan_in = x.shape().get(1).copied().unwrap_or(0) * self.patch_size.pow(2);
        let [weight_init, bias_init] = self.style.patches(fan_in);
        let settings = PatchEmbedding {
            patch_size: self.patch_size,
            width,
            weight_init,
            bias_init,
        };
        let patches = patch_embedding(&scope.name(names.patches), x, settings)?;
        let start = self.style.class_token();
        let class_token = scope.parameter(names.class_token, [1, 1, width], start)?;
        if self.mask_token == MaskToken::Travels {
            scope.travelling("mask_token", [1, width])?;
        }
        let samples = x.shape()[0];
        let class_token = ops::broadcast(class_token, [samples, 1, width])?;
        let z = ops::concat(&[class_token, patches], 1)?;
        let tokens = z.shape()[1];
        let start = self.style.positions();
        let positions = scope.parameter(names.positions, [1, tokens, width], start)?;
        ops::add(z, positions)
    }

    /// z′ₗ = MSA(LN(zₗ₋₁)) + zₗ₋₁ and zₗ = MLP(LN(z′ₗ)) + z′ₗ (equations 2 and 3) for the block at `scope`, the number
    /// `index` from 0, on tokens [N, T, D].
    ///
    /// # Errors
    /// The heads do not divide the channels.
    pub fn block<'g>(
        &self,
        scope: &Scope<'g>,
        z: Tensor<'g>,
        index: usize,
        mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        let _block = mode.enter_block(scope);
        let names = self.style.names();
        let settings = MultiHeadAttention {
            num_heads: self.num_heads,
            score_map: ScoreMap::Identity,
            names: self.style.attention(),
        };
        let normed = layer_norm(&scope.name(names.norms[0]), z, EPS)?;
        let attention = scope.name(names.attention);
        let attended = multi_head_attention(&attention, normed, normed, None, settings)?.y;
        let z = ops::add(self.branch(scope, 1, attended, index, mode)?, z)?;
        let normed = layer_norm(&scope.name(names.norms[1]), z, EPS)?;
        let mixed = self.feed_forward(&scope.name("mlp"), normed)?;
        let z = ops::add(self.branch(scope, 2, mixed, index, mode)?, z)?;
        Ok(scope.tap(z))
    }

    /// The end of the residual branch number `number` of a block: `ls<number>`, and whether samples skip it.
    fn branch<'g>(
        &self,
        scope: &Scope<'g>,
        number: usize,
        mut y: Tensor<'g>,
        index: usize,
        mode: &Mode<'g>,
    ) -> Result<Tensor<'g>> {
        if let Some(start) = self.layer_scale {
            y = layer_scale(&scope.name(format!("ls{number}")), y, start)?;
        }
        let last = self.depth.saturating_sub(1).max(1);
        let p = self.drop_path * index as f64 / last as f64;
        mode.dropout(&scope.name(format!("drop_path{number}")), y, p, Noise::Row)
    }

    fn feed_forward<'g>(&self, scope: &Scope<'g>, x: Tensor<'g>) -> Result<Tensor<'g>> {
        let hidden_features = 4 * self.width;
        let [weight_init, bias_init] = self.style.mlp(self.width, hidden_features);
        let settings = FeedForward {
            hidden_features,
            names: self.style.names().mlp,
            weight_init,
            bias_init,
        };
        match self.mlp {
            Mlp::Gelu => mlp(scope, x, settings),
            Mlp::SwiGlu(names) => {
                let settings = FeedForward {
                    hidden_features: (hidden_features * 2 / 3).next_multiple_of(8),
                    names: match names {
                        SwiGluNames::DinoV2 => ["w12", "w3"],
                        SwiGluNames::Timm => ["fc1", "fc2"],
                    },
                    ..settings
                };
                swiglu(scope, x, settings)
            }
        }
    }

    /// The patch tokens of z as they lie in the images x: [N, D, H/P, W/P].
    fn map<'g>(&self, z: Tensor<'g>, x: Tensor<'g>) -> Result<Tensor<'g>> {
        let channels = ops::transpose(patch_tokens(z)?, &[0, 2, 1])?; // [N, D, T − 1]
        let [rows, columns] = [2, 3].map(|axis| x.shape()[axis] / self.patch_size);
        ops::reshape(channels, [x.shape()[0], self.width, rows, columns])
    }
}

/// [N, T, D] → [N, T − 1, D].
fn patch_tokens(z: Tensor<'_>) -> Result<Tensor<'_>> {
    ops::slice(z, 1, 1, z.shape()[1] - 1)
}
