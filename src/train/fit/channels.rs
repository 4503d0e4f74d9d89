//! The first convolution for images with another number of channels.

use crate::array::Array;
use crate::error::{Error, Result};

/// A weight [K, 3, h, w] for images of C channels, as timm's `adapt_input_conv`: for one channel the sum over red, green
/// and blue, which answers a grey image as before; for others the three again and again, times 3/C, which keeps the
/// strength of the answer.
///
/// # Errors
/// The weight is not for three channels.
pub fn adapt(weight: &Array, channels: usize) -> Result<Array> {
    let shape = weight.shape();
    let [outputs, 3, height, width] = *shape else {
        return Err(Error::checkpoint(format!(
            "a first convolution {shape} cannot be made into one for {channels} channels: only one for 3 can"
        )));
    };
    let area = height * width;
    let values = weight.to_f32();
    let mut adapted = Vec::with_capacity(outputs * channels * area);
    for window in values.chunks_exact((3 * area).max(1)) {
        if channels == 1 {
            let sum = |i: usize| window[i] + window[area + i] + window[2 * area + i];
            adapted.extend((0..area).map(sum));
        } else {
            let factor = (3.0 / channels as f64) as f32;
            let planes = window.chunks_exact(area.max(1)).cycle().take(channels);
            adapted.extend(planes.flatten().map(|x| x * factor));
        }
    }
    Array::new([outputs, channels, height, width], adapted)
}
