//! Axenic.

pub mod data;
pub mod error;
pub mod metrics;
pub mod rng;

pub use error::{Error, Result};
