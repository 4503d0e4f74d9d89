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
mod feed_forward;
mod init;
mod layer_norm;
mod layer_scale;
mod linear;
mod mode;
mod multi_head_attention;
mod patch_embedding;
mod pattern;

pub use batch_norm2d::{
    BatchNorm2d, BatchNormMode, batch_norm2d, batch_norm2d_add_relu, batch_norm2d_relu,
};
pub use conv1d::{Bias, Conv1d, Padding, conv1d};
pub use conv2d::{Conv2d, conv2d};
pub use dropout::dropout;
pub use embedding::embedding;
pub use feed_forward::{FeedForward, mlp, swiglu};
pub use init::{
    default_uniform, kaiming_normal, kaiming_uniform, truncated_normal, xavier_uniform,
};
pub use layer_norm::{layer_norm, layer_norm2d};
pub use layer_scale::layer_scale;
pub use linear::{Linear, linear};
pub use mode::{Mode, Part, Phase};
pub use multi_head_attention::{
    Attended, AttentionNames, MultiHeadAttention, multi_head_attention,
};
pub use patch_embedding::{PatchEmbedding, patch_embedding};
pub use pattern::Pattern;
