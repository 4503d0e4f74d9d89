//! The picture in memory: 8-bit RGB, never empty.

use crate::error::{Error, Result};

/// An 8-bit RGB picture: rows from the top, pixels from the left, three bytes each: [H, W, 3].
///
/// Height and width are at least 1, so that no reader of a picture needs to think of empty ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    height: usize,
    width: usize,
    samples: Vec<u8>,
}

impl Image {
    /// A picture of `height` rows and `width` columns from its samples [H, W, 3].
    ///
    /// # Errors
    /// A side is zero, or the number of samples is not 3·H·W.
    pub fn new(height: usize, width: usize, samples: Vec<u8>) -> Result<Self> {
        let expected = height.checked_mul(width).and_then(|n| n.checked_mul(3));
        if height == 0 || width == 0 {
            return Err(Error::input(format!(
                "a picture of {width}×{height} pixels has none"
            )));
        }
        if expected != Some(samples.len()) {
            return Err(Error::input(format!(
                "a picture of {width}×{height} pixels cannot have {} samples",
                samples.len()
            )));
        }
        Ok(Self {
            height,
            width,
            samples,
        })
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All samples: [H, W, 3].
    pub fn samples(&self) -> &[u8] {
        &self.samples
    }

    /// The samples of one row: [W, 3].
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, y: usize) -> &[u8] {
        let length = 3 * self.width;
        &self.samples[y * length..(y + 1) * length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_or_misfit_pictures_do_not_exist() {
        assert!(Image::new(0, 3, vec![]).is_err());
        assert!(Image::new(3, 0, vec![]).is_err());
        assert!(Image::new(2, 2, vec![0; 11]).is_err());
        assert!(Image::new(usize::MAX, 2, vec![]).is_err());
        let image = Image::new(2, 1, vec![1, 2, 3, 4, 5, 6]).expect("fits");
        assert_eq!(image.row(1), [4, 5, 6]);
    }
}
