//! Training: optimisers, schedules, weights and their files, and running the plans of a study.

mod adamw;
pub mod bare;
mod card;
mod checkpoint;
mod ema;
mod feature_cache;
mod files;
mod fine_tune;
pub mod fit;
mod groups;
mod loss_scale;
mod optimizer;
mod progress;
mod runner;
mod schedule;
mod sgd;
pub mod stored;
mod weights;

pub use adamw::{AdamW, record_adamw};
pub use card::{Card, Configuration};
pub use checkpoint::{Checkpoint, Checkpoints};
pub use ema::record_ema;
pub use feature_cache::{Backbone, CachedFeatures, ImageFiles, cached_features};
pub use files::{Disk, Files, Lock};
pub use fine_tune::{Batch, FineTune, Input, Kept, Optimizer, Samples, Tuned, untrained};
pub use groups::{Decaying, Groups, TOKENS_AND_POSITIONS};
pub use loss_scale::LossScaling;
pub use progress::{Progress, Silent};
pub use runner::{Runner, Values};
pub use schedule::WarmupCosine;
pub use sgd::{Sgd, record_sgd};
pub use stored::WeightFile;
pub use weights::{Proof, Weights};
