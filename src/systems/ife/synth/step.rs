//! Synthetic gels as the inputs of a step: for what needs realistic numbers and no data.

use super::{Balance, sample};
use crate::array::Array;
use crate::data::Image;
use crate::data::gel_table::CLASSES;
use crate::data::resize::resize;
use crate::error::Result;
use crate::systems::ife::config::Config;
use crate::systems::ife::images::NORMALISATION;

/// The inputs of a training step (`x`, `heavy`, `light`, `learning_rate`) on the first gels of a seed, all classes equally
/// often.
///
/// # Errors
/// As [`sample`].
pub fn step_inputs(config: &Config, batch: usize, seed: u64) -> Result<Vec<(&'static str, Array)>> {
    let size = config.model.size;
    let (mut pixels, mut heavy, mut light) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..batch as u64 {
        let gel = sample(seed, index, Balance::Even)?;
        let (height, width) = (gel.image.height() as usize, gel.image.width() as usize);
        let picture = Image::new(height, width, gel.image.into_raw())?;
        pixels.extend(resize(&picture, size, size)?.normalised(&NORMALISATION));
        let (_, own_heavy, own_light) = CLASSES[gel.class];
        heavy.push(own_heavy as u32);
        light.push(own_light as u32);
    }
    Ok(vec![
        ("x", Array::new([batch, 3, size, size], pixels)?),
        ("heavy", Array::new([batch], heavy)?),
        ("light", Array::new([batch], light)?),
        ("learning_rate", Array::scalar(config.train.learning_rate)),
    ])
}
