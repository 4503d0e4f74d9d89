//! Layers: functions that record. A layer declares its parameters under its scope as it runs, with the names of the
//! ecosystem, so that weights load without tables.
//!
//! Every layer takes its scope first, then its input, then its settings, and puts the line of the model that called it
//! into the nodes it records.

mod batch_norm2d;
mod conv1d;
mod conv2d;
mod dropout;
mod embedding;
mod init;
mod linear;
mod mode;
mod multi_head_attention;
mod pattern;

pub use batch_norm2d::{BatchNorm2d, BatchNormMode, batch_norm2d};
pub use conv1d::{Bias, Conv1d, Padding, conv1d};
pub use conv2d::{Conv2d, conv2d};
pub use dropout::dropout;
pub use embedding::embedding;
pub use init::{he_normal, linear_bias, linear_weight, xavier_uniform};
pub use linear::linear;
pub use mode::{Mode, Part, Phase};
pub use multi_head_attention::{
    Attended, AttentionNames, MultiHeadAttention, multi_head_attention,
};
pub use pattern::Pattern;
