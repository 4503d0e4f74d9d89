//! Axenic.

pub mod error;
pub mod rng;

pub use error::{Error, Result};
#[cfg(feature = "cli")]
pub mod systems;
