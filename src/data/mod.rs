//! From files to batches: decoding, resizing, splits, samplers, and one file per on-disk layout.

#[cfg(feature = "cli")]
pub mod decode;
#[cfg(feature = "cli")]
pub mod gel_table;
mod image;
pub mod resize;

pub use self::image::Image;
