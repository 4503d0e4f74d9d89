//! An image as a sequence of tokens, one for each patch.

use super::{Bias, Conv2d, conv2d};
use crate::error::{Error, Result};
use crate::graph::{Init, Scope, Tensor};
use crate::ops;
use std::panic::Location;

/// Settings of a patch embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PatchEmbedding {
    /// Height and width P of a patch in pixels.
    pub patch_size: usize,
    /// Channels of a token, D.
    pub width: usize,
    /// How the weight starts.
    pub weight_init: Init,
    /// How the bias starts.
    pub bias_init: Init,
}

/// The patches of the images x [N, C, H, W], row by row, as tokens [N, (H/P)·(W/P), D], each linear in the C·P·P numbers
/// of its patch: a convolution that moves by whole windows, with the parameters `weight` [D, C, P, P] and `bias` `[D]`.
///
/// Reference: Dosovitskiy et al. 2021, equation 1 (E); `timm.layers.PatchEmbed`.
///
/// ```
/// # use axenic::{eval, nn::{self, PatchEmbedding}, ops};
/// let (weight_init, bias_init) = (nn::default_uniform(768), nn::default_uniform(768));
/// let settings = PatchEmbedding { patch_size: 16, width: 192, weight_init, bias_init };
/// let [y] = eval(|r| {
///     Ok([nn::patch_embedding(&r.scope().name("proj"), ops::fill(r, [1, 3, 32, 48], 1.0)?, settings)?])
/// })?;
/// assert_eq!(y.shape(), [1, 6, 192].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x has not four axes, or its height or width is no multiple of the patch's.
#[track_caller]
pub fn patch_embedding<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    settings: PatchEmbedding,
) -> Result<Tensor<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let PatchEmbedding {
        patch_size, width, ..
    } = settings;
    let &[n, _, height, image_width] = &*x.shape() else {
        let shape = x.shape();
        return Err(Error::shape(format!(
            "patch_embedding: x {shape} is not [N, C, H, W]"
        )));
    };
    let patches = whole_patches([height, image_width], patch_size)?;
    let window = Conv2d {
        padding: [0; 2],
        bias: Bias::Yes,
        weight_init: Some(settings.weight_init),
        bias_init: Some(settings.bias_init),
        ..Conv2d::square(width, patch_size, patch_size)
    };
    let y = conv2d(scope, x, window)?; // [N, D, H/P, W/P]
    let y = ops::reshape(y, [n, width, patches])?;
    ops::transpose(y, &[0, 2, 1]) // [N, T, D]
}

/// How many patches an image has.
fn whole_patches(image: [usize; 2], patch_size: usize) -> Result<usize> {
    let [height, width] = image;
    let whole = |size: usize| size > 0 && size.is_multiple_of(patch_size);
    if patch_size > 0 && whole(height) && whole(width) {
        return Ok((height / patch_size) * (width / patch_size));
    }
    let nearest = |size: usize| {
        let above = size.div_ceil(patch_size.max(1)).max(1) * patch_size;
        if size <= patch_size || size == above {
            above.to_string()
        } else {
            format!("{} or {above}", above - patch_size)
        }
    };
    Err(Error::shape(format!(
        "patch_embedding: an image of {height} × {width} is not made of whole patches of {patch_size} × {patch_size}; \
         heights and widths that fit are multiples of {patch_size}, here {} × {}",
        nearest(height),
        nearest(width)
    )))
}
