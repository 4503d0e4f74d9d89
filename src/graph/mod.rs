//! The computation as a value: a static graph of operations with known shapes.
//!
//! A graph is recorded once ([`Graph::record`]), checked while it is recorded, and never changes. It can be printed,
//! counted, hashed and compared before a number flows.

mod attributes;
mod case;
mod fuse;
mod init;
mod launch;
mod matrices;
mod op;
mod precision;
mod print;
mod recompute;
mod recorder;
mod simplify;
mod taps;
mod tiling;
mod verify;

pub use attributes::{Asked, Attribute, Attributes, DEFAULT};
pub use case::{Case, Link};
pub use fuse::{Follower, Joined};
pub use init::Init;
pub use launch::{Binding, Launch, Limits, SCALES_BINDING, Shader, Target, library};
pub use matrices::{DEPTH, Matrices, Parts, Products, Side};
pub use op::{
    AnyOp, Call, Cost, Kept, Op, Slice, SliceMut, View, ViewMut, eval_in_parallel, expect_index,
    expect_inputs, expect_reals,
};
pub use precision::{Halves, Precision, Storage};
pub use recompute::Recompute;
pub use recorder::{Inside, Recorder, Scope, Tensor};
pub use tiling::{Class, Tile, Tiling};

use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use std::panic::Location;
use std::sync::Arc;

/// One of the one to four values of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId {
    /// The node, by its position in the graph.
    pub node: usize,
    /// Which of the node's outputs.
    pub output: usize,
}

/// Where a node's values come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// From outside the graph.
    Leaf(Leaf),
    /// Computed from other values.
    Op(Arc<dyn AnyOp>),
}

/// A value from outside the graph.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its name; no two leaves of a kind that lasts share one.
    pub name: String,
    /// What it is.
    pub kind: LeafKind,
}

/// The kinds of leaves.
#[derive(Clone, Debug)]
pub enum LeafKind {
    /// Given at every run.
    Input,
    /// Lasts from run to run, and learns.
    Parameter(Init),
    /// Lasts from run to run, but does not learn: running statistics, moments, counters.
    State(Init),
    /// Part of the graph.
    Constant(Arc<Array>),
}

impl LeafKind {
    /// How a leaf that lasts from run to run starts; `None` for inputs and constants.
    pub fn init(&self) -> Option<&Init> {
        match self {
            LeafKind::Parameter(init) | LeafKind::State(init) => Some(init),
            LeafKind::Input | LeafKind::Constant(_) => None,
        }
    }
}

/// One step of a computation.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it does.
    pub source: Source,
    /// What it reads; always from earlier nodes.
    pub inputs: Vec<ValueId>,
    /// What it gives.
    pub outputs: Vec<Spec>,
    /// The path of the scope it was recorded in: `encoder.layer1.0.conv1`. Nodes of a gradient have their forward node's.
    pub path: Arc<str>,
    /// The line of the model that asked for it.
    pub place: &'static Location<'static>,
    /// The recomputation of a block ([`Recompute`]) that it belongs to: a copy of one of the block's nodes, or a part of
    /// the gradient that reads such copies.
    pub recomputation: Option<u32>,
}

impl Node {
    /// The operation, unless the node is a leaf.
    pub fn op(&self) -> Option<&dyn AnyOp> {
        match &self.source {
            Source::Op(op) => Some(op.as_ref()),
            Source::Leaf(_) => None,
        }
    }

    /// The leaf, unless the node is an operation.
    pub fn leaf(&self) -> Option<&Leaf> {
        match &self.source {
            Source::Leaf(leaf) => Some(leaf),
            Source::Op(_) => None,
        }
    }

    /// The operation's name, or the kind of leaf.
    pub fn name(&self) -> &str {
        match &self.source {
            Source::Op(op) => op.name(),
            Source::Leaf(leaf) => match leaf.kind {
                LeafKind::Input => "input",
                LeafKind::Parameter(_) => "parameter",
                LeafKind::State(_) => "state",
                LeafKind::Constant(_) => "constant",
            },
        }
    }
}

/// A recorded computation. Nodes stand in an order in which they can be computed.
#[derive(Clone, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    outputs: Vec<(String, ValueId)>,
    assigns: Vec<(ValueId, ValueId)>,
    travelling: Vec<(String, Spec)>,
    taps: Vec<(String, ValueId)>,
}

impl Graph {
    /// Records a computation: `build` declares leaves, applies operations, and names outputs on the recorder. Nodes that
    /// nothing needs are dropped, equal nodes merged.
    ///
    /// ```
    /// use axenic::{Array, graph::Graph, ops, array::Spec};
    /// let graph = Graph::record(|r| {
    ///     let x = r.input("x", Spec::real([2, 3]))?;
    ///     r.output("y", ops::relu(x)?)
    /// })?;
    /// assert_eq!(graph.outputs().len(), 1);
    /// # axenic::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// Whatever `build` returns; shapes that do not fit name the line that recorded them.
    pub fn record(build: impl for<'g> FnOnce(&'g Recorder) -> Result<()>) -> Result<Self> {
        let recorder = Recorder::new();
        build(&recorder)?;
        let graph = simplify::simplify(recorder.into_graph());
        verify::verify(&graph)?;
        Ok(graph)
    }

    /// The same computation with some operations replaced by others that take and give the same.
    pub(crate) fn with_operations(
        &self,
        replace: impl Fn(&dyn AnyOp) -> Option<Arc<dyn AnyOp>>,
    ) -> Self {
        let mut graph = self.clone();
        for node in &mut graph.nodes {
            if let Some(op) = node.op().and_then(&replace) {
                node.source = Source::Op(op);
            }
        }
        graph
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The results, by name.
    pub fn outputs(&self) -> &[(String, ValueId)] {
        &self.outputs
    }

    /// The lasting leaves that a run overwrites at its end, each with its new value. The only writes there are.
    pub fn assigns(&self) -> &[(ValueId, ValueId)] {
        &self.assigns
    }

    /// Parameters that take no part in the computation, but travel with its checkpoints.
    pub fn travelling(&self) -> &[(String, Spec)] {
        &self.travelling
    }

    /// Shape and element type of a value.
    pub fn spec(&self, value: ValueId) -> Spec {
        self.nodes[value.node].outputs[value.output]
    }

    /// The leaves with their positions, shapes and types.
    pub fn leaves(&self) -> impl Iterator<Item = (ValueId, &Leaf, Spec)> {
        self.nodes.iter().enumerate().filter_map(|(node, n)| {
            n.leaf()
                .map(|leaf| (ValueId { node, output: 0 }, leaf, n.outputs[0]))
        })
    }

    /// The parameters, in order of declaration.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, Spec)> {
        self.leaves()
            .filter(|(_, leaf, _)| matches!(leaf.kind, LeafKind::Parameter(_)))
            .map(|(_, leaf, spec)| (leaf.name.as_str(), spec))
    }

    /// The value of an output by its name.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn output(&self, name: &str) -> Result<ValueId> {
        self.outputs
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| *value)
            .ok_or_else(|| Error::shape(format!("the graph has no output {name:?}")))
    }

    /// What the nodes read before they are computed: the specs of a node's inputs.
    pub fn input_specs(&self, node: usize) -> Vec<Spec> {
        self.nodes[node]
            .inputs
            .iter()
            .map(|&value| self.spec(value))
            .collect()
    }

    /// The value whose numbers a value shows: its own, unless it is an alias.
    pub fn root(&self, value: ValueId) -> ValueId {
        let node = &self.nodes[value.node];
        let alias = node.op().and_then(|op| op.alias_of_input());
        alias.map_or(value, |input| self.root(node.inputs[input]))
    }
}
