//! From files to batches: decoding, resizing, splits, samplers, loading, and one file per on-disk layout.
//!
//! A file becomes an [`Image`] ([`decode`](decode::decode)), the image [`Planes`](resize::Planes)
//! ([`resize`](resize::resize)), these are varied ([`Augment`](augment::Augment)) and normalised. A
//! [`Sampler`](sampler::Sampler) gives an epoch's order, a [`Loader`](loader::Loader) works through it ahead of the training
//! step. Nothing here depends on the number of threads or on the order in which they finish.

pub mod augment;
#[cfg(feature = "cli")]
pub mod decode;
pub mod file;
#[cfg(feature = "cli")]
pub mod gel_table;
mod image;
pub mod loader;
pub mod resize;
pub mod sampler;
pub mod split;

pub use self::image::Image;
