//! The invariants of a graph, checked once after it is recorded: executors rely on them.

use super::print::recorded_at;
use super::{Graph, Source};
use crate::error::{Error, Result};
use crate::shape::Shape;

/// Checks that every node reads earlier values only, that the recorded outputs are what the operation gives for the
/// recorded inputs, that an alias has its input's size, and that assignments keep shapes.
pub(super) fn verify(graph: &Graph) -> Result<()> {
    for (i, node) in graph.nodes().iter().enumerate() {
        let complaint = |what: &str| {
            let complaint = Error::shape(format!("node {i} ({}): {what}", node.name()));
            complaint.at(recorded_at(node.place))
        };
        if node.inputs.iter().any(|input| input.node >= i) {
            return Err(complaint("reads a value that is computed later"));
        }
        for spec in &node.outputs {
            Shape::new(&spec.shape).map_err(|e| complaint(&e.to_string()))?;
        }
        let Source::Op(op) = &node.source else {
            continue;
        };
        if op.outputs(&graph.input_specs(i))? != node.outputs {
            return Err(complaint("its outputs are not those of its operation"));
        }
        if !(1..=4).contains(&node.outputs.len()) {
            return Err(complaint("has not one to four outputs"));
        }
        if let Some(alias) = op.alias_of_input() {
            let input = graph.spec(node.inputs[alias]);
            if input.shape.elements() != node.outputs[0].shape.elements()
                || input.element != node.outputs[0].element
            {
                return Err(complaint("an alias must have its input's size"));
            }
        }
    }
    for &(leaf, value) in graph.assigns() {
        if graph.spec(leaf) != graph.spec(value) {
            return Err(Error::shape(format!(
                "node {} is assigned a value of another shape",
                leaf.node
            )));
        }
    }
    Ok(())
}
