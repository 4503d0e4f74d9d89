//! Joining nodes that are computed in one pass over memory: a product and what follows it.
//!
//! A graph is recorded, printed and differentiated as its model says it. Where it is run, a node that only one other reads can
//! become a part of that other, if its operation knows how ([`Op::followed_by`](super::Op::followed_by)): what would be written
//! and read again then stays in registers or in the cache.
//!
//! That this is a pass over graphs, and no operation that a layer calls, has a reason: a layer cannot know who will read what
//! it gives. A gradient needs what GELU saw, and the layer that applies it is differentiated or not by its caller; the sums in which
//! gradients of one value meet are recorded by no layer at all. What a joined node computes is still an operation of a room, with
//! its attributes, and is audited as such.
//!
//! A normalisation by constants can end the convolution before it: its factors and biases are computed for each channel, and
//! applied where the sums are written. That alone does not give the bits that the two would give apart; the room
//! `batch_norm_fold` says what it costs. So it is done at inference only, and only if asked for ([`Graph::folded`]): neither a
//! step of a training nor a network's features that are kept to train with may depend on it.
//!
//! A graph in which something is recomputed stays as it is: the copy of a block must give the bits of its first computation, but
//! gradients read in the copy what nothing else reads in the first, so that the two would be joined differently.

use super::simplify::{redirect, remove_unneeded};
use super::{AnyOp, Graph, Node, Source, ValueId};
use crate::array::Spec;
use std::ops::Range;
use std::sync::Arc;

/// The only reader of what an operation gives.
#[derive(Debug)]
pub struct Follower<'a> {
    /// Its operation.
    pub op: &'a dyn AnyOp,
    /// Which of its inputs that is.
    pub place: usize,
    /// All its inputs.
    pub specs: &'a [Spec],
}

/// What two operations, one after the other, become as one: it takes the first's inputs, then the others of the second.
#[derive(Debug)]
pub struct Joined<O> {
    /// The one.
    pub op: O,
    /// An operation that makes one value of so many of the others, from the first on, and that value is taken in their place.
    pub gather: Option<(usize, Arc<dyn AnyOp>)>,
}

impl<O> Joined<O> {
    /// An operation that takes all inputs as they are.
    pub fn of(op: O) -> Self {
        Self { op, gather: None }
    }
}

impl Graph {
    /// The same computation, with nodes joined where operations know how. A joined node stands where the last of its parts
    /// stood, and has the path of the first. Results, assigned values, and what a gradient reads stay what they are; what scopes gave
    /// ([`taps`](Graph::taps)) goes with the nodes that are joined. On the host all bits stay the same.
    ///
    /// ```
    /// # use axenic::{array::Spec, graph::Graph, ops};
    /// let graph = Graph::record(|r| {
    ///     let (x, weight) = (r.input("x", Spec::real([2, 3]))?, r.input("weight", Spec::real([4, 3]))?);
    ///     let y = ops::linear(x, weight, r.input("bias", Spec::real([4]))?)?;
    ///     r.output("y", ops::relu(y)?)
    /// })?;
    /// assert_eq!(graph.nodes().len(), 5);
    /// assert_eq!(graph.fused().nodes().len(), 4);
    /// # axenic::Result::Ok(())
    /// ```
    #[must_use]
    pub fn fused(&self) -> Graph {
        self.with_joined(false)
    }

    /// The same as [`fused`](Self::fused); and in a graph that assigns nothing, normalisations by constants end the convolutions
    /// before them, where those are no results themselves. Results may change in their last digits.
    ///
    /// ```
    /// # use axenic::{array::Spec, graph::Graph, ops::{self, Conv2d, Statistics}};
    /// let graph = Graph::record(|r| {
    ///     let (x, weight) = (r.input("x", Spec::real([2, 3, 8, 8]))?, r.input("weight", Spec::real([4, 3, 3, 3]))?);
    ///     let y = ops::conv2d(x, weight, Conv2d::default())?;
    ///     let v = r.input("v", Spec::real([4]))?;
    ///     r.output("y", ops::batch_norm(y, v, v, v, v, 1e-5, Statistics::Running)?)
    /// })?;
    /// let folded = graph.folded();
    /// let names: Vec<_> = folded.nodes()[3..].iter().map(|node| node.name()).collect();
    /// assert_eq!(names, ["batch_norm_fold", "conv2d"]);
    /// # axenic::Result::Ok(())
    /// ```
    #[must_use]
    pub fn folded(&self) -> Graph {
        self.with_joined(self.assigns.is_empty())
    }

    fn with_joined(&self, folds: bool) -> Graph {
        let mut graph = self.clone();
        if graph.nodes.iter().any(|node| node.recomputation.is_some()) {
            return graph;
        }
        let mut readers = vec![0; graph.nodes.len()];
        let read = graph.nodes.iter().flat_map(|node| &node.inputs);
        let results = graph.outputs.iter().map(|(_, value)| value);
        let assigned = graph.assigns.iter().map(|(_, value)| value);
        for value in read.chain(results).chain(assigned) {
            readers[value.node] += 1;
        }
        for last in 0..graph.nodes.len() {
            for place in 0..graph.nodes[last].inputs.len() {
                let first = graph.nodes[last].inputs[place].node;
                if readers[first] != 1 {
                    continue;
                }
                if let Some(moved) = graph.join([first, last], place, folds) {
                    readers[moved].rotate_left(1);
                    break;
                }
            }
        }
        remove_unneeded(graph)
    }

    /// Makes one node of `last` and of `first`, whose value it reads at `place`, if that can be. What gathers other inputs for it
    /// comes right before it, in the place of `first`, and what was between moves up. Gives the nodes whose places were turned
    /// round so.
    fn join(
        &mut self,
        [first, last]: [usize; 2],
        place: usize,
        folds: bool,
    ) -> Option<Range<usize>> {
        let (own, next) = (&self.nodes[first], &self.nodes[last]);
        let specs: Vec<_> = next.inputs.iter().map(|&input| self.spec(input)).collect();
        let follower = Follower {
            op: next.op()?,
            place,
            specs: &specs,
        };
        let Joined { op, gather } = own.op()?.followed_by(&self.input_specs(first), &follower)?;
        let others = next.inputs.iter().enumerate();
        let others = others.filter(|(i, _)| *i != place).map(|(_, value)| *value);
        let mut others: Vec<ValueId> = others.collect();
        let gathering = match gather {
            None => None,
            Some(_) if !folds => return None,
            Some((count, op)) => {
                let gathered = ValueId {
                    node: first,
                    output: 0,
                };
                let inputs: Vec<_> = others.splice(..count, [gathered]).collect();
                let specs: Vec<_> = inputs.iter().map(|&input| self.spec(input)).collect();
                let outputs = op.outputs(&specs).ok()?;
                Some(Node {
                    source: Source::Op(op),
                    inputs,
                    outputs,
                    ..next.clone()
                })
            }
        };
        let joined = Node {
            source: Source::Op(op),
            inputs: own.inputs.iter().copied().chain(others).collect(),
            outputs: next.outputs.clone(),
            path: own.path.clone(),
            place: own.place,
            recomputation: None,
        };
        self.taps.retain(|(_, value)| value.node != first);
        self.nodes[last] = joined;
        let Some(gathering) = gathering else {
            return Some(first..first + 1);
        };
        self.nodes[first] = gathering;
        self.nodes[first..last].rotate_left(1);
        let moved = |node: usize| match node {
            node if node == first => last - 1,
            node if node > first && node < last => node - 1,
            node => node,
        };
        let position: Vec<usize> = (0..self.nodes.len()).map(moved).collect();
        let inputs = self.nodes.iter_mut().flat_map(|node| &mut node.inputs);
        inputs.for_each(|input| input.node = position[input.node]);
        redirect(self, &position);
        Some(first..last)
    }
}
