//! How a network behaves: at inference, in training, with parts that stay as they are.

use super::{BatchNorm2d, BatchNormMode, Pattern, dropout};
use crate::error::Result;
use crate::graph::{Inside, Recompute, Scope, Tensor};
use crate::ops::Noise;
use std::sync::Arc;

/// What a network is recorded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Running statistics.
    Inference,
    /// Statistics of the batch.
    Training,
}

/// Whether a part of a network may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It stays as it is.
    Frozen,
    /// It learns.
    Learns,
}

/// How the layers of a network behave. Handed down from part to part; each layer asks with its own scope, so that parts
/// of one network can differ.
#[derive(Clone, Debug)]
pub struct Mode<'g> {
    /// What the network is recorded for.
    pub phase: Phase,
    /// The key of chance for dropout and stochastic depth ([`dropout`]); without one nothing is dropped. Independent of
    /// the phase: Monte Carlo dropout is inference with a key.
    pub dropout_key: Option<Tensor<'g>>,
    /// Which parts stay as they are; of the rules that cover a scope's path the last counts. The batch norms of frozen
    /// parts keep their running statistics, and nothing is dropped there. (That their parameters do not learn is the
    /// optimiser's affair.)
    pub frozen: Arc<[(Pattern, Part)]>,
    /// Whether the gradient computes the values within blocks again, to save memory.
    pub recompute: Recompute,
}

impl<'g> Mode<'g> {
    /// Running statistics, nothing dropped.
    pub fn inference() -> Self {
        Self {
            phase: Phase::Inference,
            dropout_key: None,
            frozen: Arc::from([]),
            recompute: Recompute::No,
        }
    }

    /// Statistics of the batch; dropout if there is a key.
    pub fn training(dropout_key: Option<Tensor<'g>>) -> Self {
        Self {
            phase: Phase::Training,
            dropout_key,
            frozen: Arc::from([]),
            recompute: Recompute::No,
        }
    }

    /// Whether the scope lies in a frozen part.
    pub fn is_frozen(&self, scope: &Scope<'g>) -> bool {
        let mut rules = self.frozen.iter().rev();
        let last = rules.find(|(pattern, _)| pattern.covers(scope.path()));
        last.is_some_and(|(_, part)| *part == Part::Frozen)
    }

    /// The usual batch norm, as it behaves in this scope.
    pub fn batch_norm(&self, scope: &Scope<'g>) -> BatchNorm2d {
        let runs = self.phase == Phase::Inference || self.is_frozen(scope);
        BatchNorm2d::new(if runs {
            BatchNormMode::Running
        } else {
            BatchNormMode::Batch
        })
    }

    /// Dropout with probability p, where there is a key and the scope is not frozen; else x.
    ///
    /// # Errors
    /// As [`dropout`].
    #[track_caller]
    pub fn dropout(
        &self,
        scope: &Scope<'g>,
        x: Tensor<'g>,
        p: f64,
        noise: Noise,
    ) -> Result<Tensor<'g>> {
        match self.dropout_key {
            Some(key) if p > 0.0 && !self.is_frozen(scope) => dropout(scope, x, key, p, noise),
            _ => Ok(x),
        }
    }

    /// The same, with parts frozen by these rules.
    #[must_use]
    pub fn with_frozen(self, frozen: impl Into<Arc<[(Pattern, Part)]>>) -> Self {
        Self {
            frozen: frozen.into(),
            ..self
        }
    }

    /// The same, with the values within blocks computed again for the gradient or not.
    #[must_use]
    pub fn with_recompute(self, recompute: Recompute) -> Self {
        Self { recompute, ..self }
    }

    /// Enters a block: a part that takes few numbers in, gives few out, and computes many between.
    pub fn enter_block(&self, scope: &Scope<'g>) -> Inside<'g> {
        scope.enter_block(self.recompute)
    }
}
