//! A graph as text, one line a node, and its digest.

use super::{Graph, Node, Source, ValueId};
use sha2::{Digest, Sha256};
use std::fmt;
use std::panic::Location;

impl fmt::Display for Graph {
    /// `%7 [2, 64, 16, 16] = relu(%6)  @ layer1.0  src/models/resnet.rs:40`; what belongs to a recomputation says so
    /// behind the attributes: `recomputation=3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes().iter().enumerate() {
            write!(f, "{}", line(i, node))?;
            let path = if node.path.is_empty() {
                "-"
            } else {
                &node.path
            };
            writeln!(f, "  @ {path}  {}:{}", node.place.file(), node.place.line())?;
        }
        write!(f, "{}", self.results())
    }
}

impl Graph {
    /// A digest of the computation itself: operations, attributes, shapes and connections, not names of places.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for (i, node) in self.nodes().iter().enumerate() {
            hasher.update(line(i, node));
            if let Some(super::LeafKind::Constant(array)) = node.leaf().map(|leaf| &leaf.kind) {
                array
                    .to_f64()
                    .iter()
                    .for_each(|x| hasher.update(x.to_bits().to_le_bytes()));
            }
        }
        hasher.update(self.results());
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// A node in words: `conv2d %12 in encoder.layer1.0.conv1 (recorded at src/systems/ife/model.rs:88)`.
    pub fn describe(&self, node: usize) -> String {
        let own = &self.nodes()[node];
        let path = if own.path.is_empty() {
            String::new()
        } else {
            format!(" in {}", own.path)
        };
        let place = recorded_at(own.place);
        format!("{} %{node}{path} ({place})", own.name())
    }

    fn results(&self) -> String {
        let outputs = self
            .outputs()
            .iter()
            .map(|(name, value)| format!("{name} = {}\n", reference(*value)));
        let assigns = self
            .assigns()
            .iter()
            .map(|(leaf, value)| format!("{} := {}\n", reference(*leaf), reference(*value)));
        outputs.chain(assigns).collect()
    }
}

/// Where a node comes from: `recorded at src/models/resnet.rs:88`.
pub(super) fn recorded_at(place: &Location<'_>) -> String {
    format!("recorded at {}:{}", place.file(), place.line())
}

fn reference(value: ValueId) -> String {
    if value.output == 0 {
        format!("%{}", value.node)
    } else {
        format!("%{}.{}", value.node, value.output)
    }
}

fn line(i: usize, node: &Node) -> String {
    let outputs: Vec<_> = node.outputs.iter().map(ToString::to_string).collect();
    let inputs: Vec<_> = node.inputs.iter().map(|&value| reference(value)).collect();
    let details = match &node.source {
        Source::Leaf(leaf) => leaf.name.clone(),
        Source::Op(op) => op.attributes().to_string(),
    };
    let space = if details.is_empty() { "" } else { " " };
    let again = node.recomputation.map(|n| format!(" recomputation={n}"));
    format!(
        "%{i} {} = {}({}){space}{details}{}",
        outputs.join(", "),
        node.name(),
        inputs.join(", "),
        again.unwrap_or_default()
    )
}
