//! Axenic.

pub mod array;
pub mod autodiff;
pub mod conformance;
#[cfg(feature = "cli")]
pub mod data;
pub mod error;
pub mod exec;
#[cfg(feature = "cli")]
pub mod explain;
pub mod graph;
pub mod metrics;
pub mod ops;
pub mod plan;
pub mod product;
pub mod real;
#[cfg(feature = "cli")]
pub mod report;
pub mod rng;
pub mod shape;
pub mod workers;

pub use array::Array;
pub use error::{Error, Result};
pub use exec::eval;
