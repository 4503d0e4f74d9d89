//! Training: optimisers, schedules, weights and their files, and running the plans of a study.

mod container;
mod progress;
mod runner;
mod schedule;
mod sgd;
mod weights;
mod write;

pub use progress::{Progress, Silent};
pub use runner::{Runner, Values};
pub use schedule::WarmupCosine;
pub use sgd::{Sgd, record_sgd};
pub use weights::Weights;
pub use write::write_whole;
