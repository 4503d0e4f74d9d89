//! A graph as the tree of its named parts, with what each gives and costs.

use crate::graph::{Graph, Node};
use crate::shape::Shape;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// A part of a network: a layer, or what holds layers. Its figures include those of its parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Layer {
    /// Where it is: `layer1.0.conv1`; of the whole network empty.
    pub(super) path: String,
    /// How many parts lie around it.
    pub(super) depth: usize,
    /// The operations of its own, each once, in order.
    pub(super) operations: Vec<&'static str>,
    /// What it gives; where it does not say, what is computed last in it.
    pub(super) output: Option<Vec<usize>>,
    /// Numbers that learn.
    pub(super) parameters: usize,
    /// Floating-point operations.
    pub(super) flops: u64,
}

/// The parts of a graph, each before its own parts, in order of computation.
pub(super) fn layers(graph: &Graph) -> Vec<Layer> {
    let mut tree = Tree::default();
    let owners = owners(graph);
    let mut taps = graph.taps().to_vec();
    taps.sort_by_key(|(_, value)| value.node);
    let mut taps = taps.iter().peekable();
    for (i, node) in graph.nodes().iter().enumerate() {
        match node.leaf() {
            Some(leaf) if leaf.kind.init().is_some() => {
                let scope = outer(&leaf.name).unwrap_or_default();
                tree.place(scope);
            }
            Some(_) => {}
            None => tree.operation(graph, i, owners[i]),
        }
        while let Some((path, value)) = taps.next_if(|(_, value)| value.node == i) {
            tree.at(path).given = Some(graph.spec(*value).shape);
        }
    }
    for (name, spec) in graph.parameters() {
        let scope = outer(name).unwrap_or_default();
        tree.at(scope).parameters += spec.shape.elements();
    }
    if let Some((_, value)) = graph.outputs().first() {
        tree.at("").given = Some(graph.spec(*value).shape);
    }
    tree.into_layers()
}

/// Under which path each node's operation counts: its own, unless a part without operations of its own, within that path,
/// gives exactly this node's value (a pooling that a network applies without entering a scope, but names).
fn owners(graph: &Graph) -> Vec<&str> {
    let mut owners: Vec<&str> = graph
        .nodes()
        .iter()
        .map(|node| node.path.as_ref())
        .collect();
    let holding: HashSet<&str> = owners.iter().flat_map(|path| ancestors(path)).collect();
    for (path, value) in graph.taps() {
        let own = owners[value.node];
        let is_within = ancestors(path).any(|outer| outer == own) && path != own;
        if is_within && !holding.contains(path.as_str()) {
            owners[value.node] = path;
        }
    }
    owners
}

/// The path itself, then every path around it, the empty one last.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| outer(path))
}

/// The path around a path.
fn outer(path: &str) -> Option<&str> {
    match path.rsplit_once('.') {
        Some((outer, _)) => Some(outer),
        None => (!path.is_empty()).then_some(""),
    }
}

#[derive(Default)]
struct Part {
    path: String,
    children: Vec<usize>,
    operations: Vec<&'static str>,
    /// What it says that it gives.
    given: Option<Shape>,
    /// The node that is computed last in it, and what that gives.
    last: Option<(usize, Shape)>,
    parameters: usize,
    flops: u64,
}

/// Parts by position, each behind the part around it; the first is the whole.
#[derive(Default)]
struct Tree {
    parts: Vec<Part>,
    positions: HashMap<String, usize>,
}

impl Tree {
    /// The position of a part, which is added if it is new.
    fn place(&mut self, path: &str) -> usize {
        if let Some(&position) = self.positions.get(path) {
            return position;
        }
        let around = outer(path).map(|outer| self.place(outer));
        let position = self.parts.len();
        self.parts.push(Part {
            path: path.to_string(),
            ..Part::default()
        });
        self.positions.insert(path.to_string(), position);
        if let Some(around) = around {
            self.parts[around].children.push(position);
        }
        position
    }

    fn at(&mut self, path: &str) -> &mut Part {
        let position = self.place(path);
        &mut self.parts[position]
    }

    fn operation(&mut self, graph: &Graph, node: usize, owner: &str) {
        let recorded: &Node = &graph.nodes()[node];
        let Some(op) = recorded.op() else { return };
        let part = self.at(owner);
        if !part.operations.contains(&op.name()) {
            part.operations.push(op.name());
        }
        part.flops += op.cost(&graph.input_specs(node)).flops;
        part.last = recorded.outputs.first().map(|spec| (node, spec.shape));
    }

    fn into_layers(mut self) -> Vec<Layer> {
        // Parts stand behind what holds them, so that sums are complete when they are handed on.
        for position in (0..self.parts.len()).rev() {
            for child in self.parts[position].children.clone() {
                let inner = &self.parts[child];
                let (parameters, flops, last) = (inner.parameters, inner.flops, inner.last);
                let part = &mut self.parts[position];
                part.parameters += parameters;
                part.flops += flops;
                part.last = [part.last, last]
                    .into_iter()
                    .flatten()
                    .max_by_key(|last| last.0);
            }
        }
        let mut layers = Vec::with_capacity(self.parts.len());
        if !self.parts.is_empty() {
            self.walk(0, 0, &mut layers);
        }
        layers
    }

    fn walk(&self, position: usize, depth: usize, layers: &mut Vec<Layer>) {
        let part = &self.parts[position];
        layers.push(Layer {
            path: part.path.clone(),
            depth,
            operations: part.operations.clone(),
            output: part
                .given
                .or(part.last.map(|last| last.1))
                .map(|shape| shape.to_vec()),
            parameters: part.parameters,
            flops: part.flops,
        });
        for &child in &part.children {
            self.walk(child, depth + 1, layers);
        }
    }
}
