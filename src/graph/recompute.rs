//! Blocks, whose inner values need not outlive the forward pass: they can be computed again for the gradient.
//!
//! A gradient rule reads what its node read and gave, so every activation of a network waits in memory for the backward
//! walk. Where a block is to be recomputed ([`Recompute::Blocks`]), the walk first records the block's operations once
//! more, from the values that came from outside the block, and the rules read these copies. Of the first computation only
//! the blocks' inputs then outlive the forward pass; of the copies, those of one block at a time are alive. With n equal
//! blocks the activations take n inputs and one block, for about one further forward pass of time.
//!
//! The copies repeat the very same operations on the very same values (a random draw is a function of its key and stream),
//! so that gradients have the same bits with and without. Copies that no rule reads, assignments of running statistics
//! among them, are dropped with all else that nothing needs. A copy never merges with the first computation, which would
//! keep that alive: a node knows the recomputation it belongs to, and equality includes it.
//!
//! Reference: Chen, Xu, Zhang, Guestrin, *Training Deep Nets with Sublinear Memory Cost*, 2016, section 4;
//! `torch.utils.checkpoint.checkpoint`.

use super::op::Call;
use super::print::recorded_at;
use super::recorder::{Inside, Recorder, Scope, Tensor};
use super::{Node, Source, ValueId};
use crate::error::Result;
use std::ops::Range;

/// What the gradient of a block reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recompute {
    /// The values of the forward pass.
    No,
    /// The block's values computed once more, from the block's inputs.
    Blocks,
}

/// The nodes recorded in a block, those of blocks within it included.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) nodes: Range<usize>,
    recompute: Recompute,
}

/// The copies of a block's nodes.
pub(crate) struct Recomputation {
    number: u32,
    block: Range<usize>,
    /// The position of each node's copy; a leaf's is its own.
    copies: Vec<usize>,
}

impl Recomputation {
    /// What a gradient rule reads for a value: its copy if the block computes it.
    fn read(&self, value: ValueId) -> ValueId {
        let copy = value.node.checked_sub(self.block.start);
        let copy = copy.and_then(|place| self.copies.get(place));
        ValueId {
            node: copy.copied().unwrap_or(value.node),
            ..value
        }
    }
}

impl<'g> Scope<'g> {
    /// Enters a block, as [`enter`](Self::enter), that is to be recomputed or not. A block within a block is a part of it.
    pub fn enter_block(&self, recompute: Recompute) -> Inside<'g> {
        let recorder = self.recorder();
        let mut inside = self.enter();
        let state = &mut *recorder.state.borrow_mut();
        if !std::mem::replace(&mut state.here.in_block, true) {
            let start = state.graph.nodes.len();
            inside.block = Some(Block {
                nodes: start..start,
                recompute,
            });
        }
        inside
    }
}

impl Recorder {
    /// How many blocks lie before a value or around it; one more for what is recorded behind the last block. A network
    /// of n blocks has the depths 0 (before the first) to n + 1.
    pub fn depth_of(&self, value: ValueId) -> usize {
        let blocks = &self.state.borrow().blocks;
        let begun = blocks.partition_point(|block| block.nodes.start <= value.node);
        let is_behind = |last: &Block| last.nodes.end <= value.node;
        begun + usize::from(blocks.last().is_some_and(is_behind))
    }

    /// How many values a recorded node gives.
    pub(crate) fn output_count(&self, node: usize) -> usize {
        self.state.borrow().graph.nodes[node].outputs.len()
    }

    /// The inputs of a recorded node.
    pub(crate) fn node_inputs(&self, node: usize) -> Vec<ValueId> {
        self.state.borrow().graph.nodes[node].inputs.clone()
    }

    /// Puts what is recorded from here on where a node stands.
    pub(crate) fn enter_node(&self, node: usize) -> Inside<'_> {
        let (path, place) = {
            let node = &self.state.borrow().graph.nodes[node];
            (node.path.clone(), node.place)
        };
        self.enter(|here| (here.path, here.place) = (path, Some(place)))
    }

    /// The recomputation of a node's block, recorded now unless `last` is it; `None` if the node is to be recomputed in none.
    pub(crate) fn recomputed(
        &self,
        node: usize,
        last: Option<Recomputation>,
    ) -> Option<Recomputation> {
        if last.as_ref().is_some_and(|own| own.block.contains(&node)) {
            return last;
        }
        let state = &mut *self.state.borrow_mut();
        let is_around =
            |block: &&Block| block.recompute == Recompute::Blocks && block.nodes.contains(&node);
        let block = state.blocks.iter().find(is_around)?.nodes.clone();
        state.recomputations += 1;
        let mut again = Recomputation {
            number: state.recomputations,
            block: block.clone(),
            copies: Vec::with_capacity(block.len()),
        };
        for original in block {
            let node = &state.graph.nodes[original];
            if node.leaf().is_some() {
                again.copies.push(original);
                continue;
            }
            let copy = Node {
                inputs: node.inputs.iter().map(|&input| again.read(input)).collect(),
                recomputation: Some(again.number),
                ..node.clone()
            };
            again.copies.push(state.graph.nodes.len());
            state.graph.nodes.push(copy);
        }
        Some(again)
    }

    /// Applies the gradient rule of a recorded node to what the node reads and gives, in a recomputation if there is one.
    /// What it records gets the node's own path and place. `None` for leaves.
    pub(crate) fn vjp<'g>(
        &'g self,
        node: usize,
        again: Option<&Recomputation>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Option<Vec<Option<Tensor<'g>>>>> {
        let recorded = self.state.borrow().graph.nodes[node].clone();
        let Source::Op(op) = &recorded.source else {
            return Ok(None);
        };
        let read = |value| self.tensor(again.map_or(value, |again| again.read(value)));
        let outputs = 0..recorded.outputs.len();
        let call = Call {
            inputs: recorded.inputs.iter().copied().map(read).collect(),
            outputs: outputs
                .map(|output| read(ValueId { node, output }))
                .collect(),
        };
        let _place = self.enter_node(node);
        let _again = self.enter(|here| here.recomputation = again.map(|again| again.number));
        let place = format!("gradient of {} {}", op.name(), recorded_at(recorded.place));
        op.vjp(&call, output_grads)
            .map(Some)
            .map_err(|e| e.at(place))
    }
}
