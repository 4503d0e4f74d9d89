//! What becomes of a recorded graph: equal nodes are merged, and nodes that nothing needs are removed.
//!
//! Two nodes are equal if they apply the same operation with the same attributes to the same values, in the same
//! recomputation or both in none. (An operation that draws random numbers has its stream among its attributes, so that two
//! samples never merge.)

use super::{Graph, LeafKind, Node, Source, ValueId};
use std::collections::HashMap;

/// The graph without duplicates and without what neither an output nor an assignment needs.
///
/// Inputs, parameters and states stay even if nothing reads them: they are the graph's face to the outside.
pub(super) fn simplify(graph: Graph) -> Graph {
    remove_unneeded(merge_equal(graph))
}

fn merge_equal(mut graph: Graph) -> Graph {
    type Identity = (&'static str, String, Vec<ValueId>, Option<u32>);
    let mut seen: HashMap<Identity, usize> = HashMap::new();
    let mut same_as: Vec<usize> = (0..graph.nodes.len()).collect();
    for i in 0..graph.nodes.len() {
        for input in &mut graph.nodes[i].inputs {
            input.node = same_as[input.node];
        }
        let node = &graph.nodes[i];
        if let Source::Op(op) = &node.source {
            let (attributes, inputs) = (op.attributes().to_string(), node.inputs.clone());
            same_as[i] = *seen
                .entry((op.name(), attributes, inputs, node.recomputation))
                .or_insert(i);
        }
    }
    redirect(&mut graph, &same_as);
    graph
}

pub(super) fn remove_unneeded(graph: Graph) -> Graph {
    let mut needed = vec![false; graph.nodes.len()];
    let results = graph.outputs.iter().map(|(_, value)| value);
    for value in results.chain(graph.assigns.iter().map(|(_, value)| value)) {
        needed[value.node] = true;
    }
    for i in (0..graph.nodes.len()).rev() {
        needed[i] |= is_face(&graph.nodes[i]);
        if needed[i] {
            graph.nodes[i]
                .inputs
                .iter()
                .for_each(|input| needed[input.node] = true);
        }
    }
    let mut new_position = vec![usize::MAX; graph.nodes.len()];
    let mut kept = Vec::new();
    let Graph {
        nodes,
        outputs,
        assigns,
        travelling,
        mut taps,
    } = graph;
    taps.retain(|(_, value)| needed[value.node]);
    for (i, mut node) in nodes.into_iter().enumerate().filter(|(i, _)| needed[*i]) {
        new_position[i] = kept.len();
        node.inputs
            .iter_mut()
            .for_each(|input| input.node = new_position[input.node]);
        kept.push(node);
    }
    let mut graph = Graph {
        nodes: Vec::new(),
        outputs,
        assigns,
        travelling,
        taps,
    };
    redirect(&mut graph, &new_position);
    graph.nodes = kept;
    graph
}

/// Points the results, assignments and taps at the nodes' new positions.
pub(super) fn redirect(graph: &mut Graph, position: &[usize]) {
    let named = graph.outputs.iter_mut().chain(&mut graph.taps);
    named.for_each(|(_, value)| value.node = position[value.node]);
    for (leaf, value) in &mut graph.assigns {
        leaf.node = position[leaf.node];
        value.node = position[value.node];
    }
}

fn is_face(node: &Node) -> bool {
    node.leaf()
        .is_some_and(|leaf| !matches!(leaf.kind, LeafKind::Constant(_)))
}
