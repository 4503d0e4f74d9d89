//! Training: optimisers, schedules, weights and their files, and running the plans of a study.

mod adamw;
pub mod bare;
mod checkpoint;
mod container;
mod ema;
mod files;
mod optimizer;
mod progress;
mod runner;
mod schedule;
mod sgd;
mod weights;

pub use adamw::{AdamW, record_adamw};
pub use checkpoint::{Checkpoint, Checkpoints};
pub use ema::record_ema;
pub use files::{Disk, Files};
pub use progress::{Progress, Silent};
pub use runner::{Runner, Values};
pub use schedule::WarmupCosine;
pub use sgd::{Sgd, record_sgd};
pub use weights::Weights;
