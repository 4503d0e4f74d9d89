//! Training: optimisers, schedules, weights and their files, and running the plans of a study.

mod runner;
mod schedule;
mod sgd;
mod weights;
mod write;

pub use runner::{Runner, Values};
pub use schedule::WarmupCosine;
pub use sgd::{Sgd, record_sgd};
pub use weights::{Weights, read_tensors, tensor_bytes};
pub use write::write_whole;
