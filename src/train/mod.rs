//! Training: optimisers, schedules, weights and their files, and running the plans of a study.

mod adamw;
mod ema;
mod optimizer;
mod progress;
mod runner;
mod schedule;
mod sgd;
mod weights;
mod write;

pub use adamw::{AdamW, record_adamw};
pub use ema::record_ema;
pub use progress::{Progress, Silent};
pub use runner::{Runner, Values};
pub use schedule::WarmupCosine;
pub use sgd::{Sgd, record_sgd};
pub use weights::Weights;
pub use write::write_whole;
