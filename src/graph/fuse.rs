//! Joining nodes that are computed in one pass over memory: a product and what follows it.
//!
//! A graph is recorded, printed and differentiated as its model says it. Where it is run, a node that only one other reads can
//! become a part of that other, if its operation knows how ([`Op::followed_by`](super::Op::followed_by)): what would be written
//! and read again then stays in registers or in the cache.

use super::simplify::remove_unneeded;
use super::{Graph, Node, Source};

impl Graph {
    /// The same computation, with nodes joined where operations know how. A joined node stands where the last of its parts
    /// stood, and has the path of the first. Results, assigned values, and what a gradient reads stay what they are.
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
        if first.recomputation != last.recomputation {
            return None;
        }
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
            recomputation: first.recomputation,
        })
    }
}
