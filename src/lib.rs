//! Axenic.

pub mod array;
pub mod autodiff;
#[cfg(feature = "cli")]
pub mod cli;
pub mod conformance;
#[cfg(feature = "cli")]
pub mod data;
pub mod error;
pub mod exec;
#[cfg(feature = "cli")]
pub mod explain;
pub mod graph;
pub mod metrics;
pub mod nn;
pub mod ops;
pub mod plan;
pub mod real;
#[cfg(feature = "cli")]
pub mod report;
pub mod rng;
pub mod shape;
#[cfg(feature = "cli")]
pub mod systems;
#[cfg(feature = "cli")]
pub mod train;
pub mod workers;

pub use array::Array;
pub use error::{Error, Result};
pub use exec::eval;
