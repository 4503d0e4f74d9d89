//! How a network behaves: at inference, in training, with parts that stay as they are.

use super::{BatchNorm2d, BatchNormMode, dropout};
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

/// How the layers of a network behave. Handed down from part to part; each layer asks with its own scope, so that parts
/// of one network can differ.
#[derive(Clone, Debug)]
pub struct Mode<'g> {
    /// What the network is recorded for.
    pub phase: Phase,
    /// The key of chance for dropout and stochastic depth ([`dropout`]); without one nothing is dropped. Independent of
    /// the phase: Monte Carlo dropout is inference with a key.
    pub dropout_key: Option<Tensor<'g>>,
    /// Paths of scopes that stay as they are, everything below them included: their batch norms keep their running
    /// statistics, and nothing is dropped there. (That their parameters do not learn is the optimiser's affair.)
    pub frozen: Arc<[String]>,
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
        let path = scope.path();
        let within = |part: &String| {
            let rest = path.strip_prefix(part.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.frozen.iter().any(within)
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

    /// The same with these parts frozen.
    #[must_use]
    pub fn with_frozen(self, frozen: &[String]) -> Self {
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
