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
//! A graph in which something is recomputed stays as it is: the copy of a block must give the bits of its first computation, but
//! gradients read in the copy what nothing else reads in the first, so that the two would be joined differently.

use super::simplify::remove_unneeded;
use super::{Graph, Node, Source};

impl Graph {
    /// The same computation, with nodes joined where operations know how. A joined node stands where the last of its parts
    /// stood, and has the path of the first. Results, assigned values, and what a gradient reads stay what they are; what scopes gave
    /// ([`taps`](Graph::taps)) goes with the nodes that are joined.
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
            let mut places = 0..graph.nodes[last].inputs.len();
            let joined = places.find_map(|place| {
                let first = graph.nodes[last].inputs[place].node;
                (readers[first] == 1).then(|| graph.joined(last, place))?
            });
            if let Some(joined) = joined {
                graph.nodes[last] = joined;
            }
        }
        remove_unneeded(graph)
    }

    /// A node and the one whose value it reads at `place` as one, if they can be.
    fn joined(&self, last: usize, place: usize) -> Option<Node> {
        let last = &self.nodes[last];
        let at = last.inputs[place].node;
        let first = &self.nodes[at];
        let specs: Vec<_> = last.inputs.iter().map(|&input| self.spec(input)).collect();
        let next = last.op()?.name();
        let op = first
            .op()?
            .followed_by(&self.input_specs(at), next, &specs)?;
        let others = last.inputs.iter().enumerate();
        let others = others.filter(|(i, _)| *i != place).map(|(_, value)| *value);
        Some(Node {
            source: Source::Op(op),
            inputs: first.inputs.iter().copied().chain(others).collect(),
            outputs: last.outputs.clone(),
            path: first.path.clone(),
            place: first.place,
            recomputation: None,
        })
    }
}
