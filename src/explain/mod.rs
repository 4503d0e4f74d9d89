//! Explanations: pictures that show where a network looked.

mod overlay;

pub use overlay::{AttentionOverlay, attention_overlay};
