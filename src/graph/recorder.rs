//! Recording: handles to values, scopes that name parameters, and the source place of every node.

use super::op::{AnyOp, Op};
use super::print::recorded_at;
use super::recompute::Block;
use super::{Graph, Init, Leaf, LeafKind, Node, Source, ValueId};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::shape::Shape;
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

/// Takes down a computation. Made by [`Graph::record`].
pub struct Recorder {
    pub(super) state: RefCell<State>,
}

pub(super) struct State {
    pub(super) graph: Graph,
    /// Lasting leaves by name, with the value that a reader sees now: the leaf, or what was last assigned to it.
    lasting: HashMap<String, (ValueId, ValueId)>,
    /// Those that have been left, in order of recording.
    pub(super) blocks: Vec<Block>,
    /// How many recomputations there have been.
    pub(super) recomputations: u32,
    pub(super) here: Here,
}

/// What recorded nodes carry.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) path: Arc<str>,
    pub(super) place: Option<&'static Location<'static>>,
    pub(super) recomputation: Option<u32>,
    /// Whether this is inside a block.
    pub(super) in_block: bool,
}

/// A handle to a value of the graph being recorded. Small and `Copy`; it cannot outlive the recording.
#[derive(Clone, Copy)]
pub struct Tensor<'g> {
    recorder: &'g Recorder,
    value: ValueId,
    spec: Spec,
}

impl<'g> Tensor<'g> {
    /// The lengths of the axes.
    pub fn shape(&self) -> Shape {
        self.spec.shape
    }

    /// Shape and element type.
    pub fn spec(&self) -> Spec {
        self.spec
    }

    /// Which value of the graph it is.
    pub fn value(&self) -> ValueId {
        self.value
    }

    /// The recorder it belongs to.
    pub fn recorder(&self) -> &'g Recorder {
        self.recorder
    }
}

impl std::fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "%{}.{} {}",
            self.value.node, self.value.output, self.spec
        )
    }
}

impl Recorder {
    pub(super) fn new() -> Self {
        let graph = Graph {
            nodes: Vec::new(),
            outputs: Vec::new(),
            assigns: Vec::new(),
            travelling: Vec::new(),
            taps: Vec::new(),
        };
        Self {
            state: RefCell::new(State {
                graph,
                lasting: HashMap::new(),
                blocks: Vec::new(),
                recomputations: 0,
                here: Here {
                    path: "".into(),
                    place: None,
                    recomputation: None,
                    in_block: false,
                },
            }),
        }
    }

    pub(super) fn into_graph(self) -> Graph {
        let State {
            mut graph, lasting, ..
        } = self.state.into_inner();
        let mut assigns: Vec<_> = lasting
            .into_values()
            .filter(|(leaf, newest)| leaf != newest)
            .collect();
        assigns.sort();
        graph.assigns = assigns;
        graph
    }

    /// Applies an operation and gives its outputs. Rooms wrap this in a function with named arguments.
    ///
    /// # Errors
    /// The inputs do not fit the operation; the error names the line that recorded it.
    #[track_caller]
    pub fn apply<'g, O: Op>(&'g self, op: O, inputs: &[Tensor<'g>]) -> Result<Vec<Tensor<'g>>> {
        self.apply_any(Arc::new(op), inputs)
    }

    /// Like [`apply`](Self::apply), for an operation chosen at run time.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    #[track_caller]
    pub fn apply_any<'g>(
        &'g self,
        op: Arc<dyn AnyOp>,
        inputs: &[Tensor<'g>],
    ) -> Result<Vec<Tensor<'g>>> {
        let caller = Location::caller();
        let Here { place, path, .. } = self.state.borrow().here.clone();
        let place = place.unwrap_or(caller);
        let specs: Vec<Spec> = inputs.iter().map(Tensor::spec).collect();
        if inputs
            .iter()
            .any(|input| !std::ptr::eq(input.recorder, self))
        {
            return Err(Error::shape(format!(
                "{}: an input belongs to another graph",
                op.name()
            )));
        }
        let outputs = op.outputs(&specs).map_err(|e| match path.is_empty() {
            true => e.at(recorded_at(place)),
            false => e.at(format!("{path}, {}", recorded_at(place))),
        })?;
        let inputs = inputs.iter().map(Tensor::value).collect();
        Ok(self.push(Source::Op(op), inputs, outputs, place))
    }

    /// Applies an operation that has one output.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    #[track_caller]
    pub fn apply_one<'g, O: Op>(&'g self, op: O, inputs: &[Tensor<'g>]) -> Result<Tensor<'g>> {
        Ok(self.apply(op, inputs)?[0])
    }

    fn push<'g>(
        &'g self,
        source: Source,
        inputs: Vec<ValueId>,
        outputs: Vec<Spec>,
        place: &'static Location<'static>,
    ) -> Vec<Tensor<'g>> {
        let state = &mut *self.state.borrow_mut();
        let node = state.graph.nodes.len();
        let tensor = |(output, &spec)| Tensor {
            recorder: self,
            value: ValueId { node, output },
            spec,
        };
        let tensors = outputs.iter().enumerate().map(tensor).collect();
        state.graph.nodes.push(Node {
            source,
            inputs,
            outputs,
            path: state.here.path.clone(),
            place,
            recomputation: state.here.recomputation,
        });
        tensors
    }

    #[track_caller]
    fn leaf(&self, name: &str, kind: LeafKind, spec: Spec) -> Tensor<'_> {
        let place = self.state.borrow().here.place.unwrap_or(Location::caller());
        let leaf = Leaf {
            name: name.to_string(),
            kind,
        };
        self.push(Source::Leaf(leaf), Vec::new(), vec![spec], place)[0]
    }

    /// A value given at every run.
    ///
    /// # Errors
    /// An input of this name exists.
    #[track_caller]
    pub fn input(&self, name: &str, spec: Spec) -> Result<Tensor<'_>> {
        let taken = self
            .state
            .borrow()
            .graph
            .leaves()
            .any(|(_, leaf, _)| leaf.name == name && matches!(leaf.kind, LeafKind::Input));
        if taken {
            Err(Error::shape(format!(
                "the input {name:?} is declared twice"
            )))
        } else {
            Ok(self.leaf(name, LeafKind::Input, spec))
        }
    }

    /// Numbers that are part of the graph.
    #[track_caller]
    pub fn constant(&self, numbers: impl Into<Array>) -> Tensor<'_> {
        let array = numbers.into();
        let spec = array.spec();
        self.leaf("", LeafKind::Constant(Arc::new(array)), spec)
    }

    /// The outermost scope.
    pub fn scope(&self) -> Scope<'_> {
        Scope {
            recorder: self,
            path: String::new(),
            shared: false,
        }
    }

    #[track_caller]
    fn lasting(&self, name: &str, kind: LeafKind, spec: Spec) -> Result<Tensor<'_>> {
        if self.state.borrow().lasting.contains_key(name) {
            return Err(Error::shape(format!(
                "the parameter {name:?} is declared twice; to use one parameter in two places, say `shared`"
            )));
        }
        let tensor = self.leaf(name, kind, spec);
        self.state
            .borrow_mut()
            .lasting
            .insert(name.to_string(), (tensor.value, tensor.value));
        Ok(tensor)
    }

    /// The present value of a parameter or state that has been declared: what was last assigned to it.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn newest(&self, name: &str) -> Result<Tensor<'_>> {
        let newest = self.state.borrow().lasting.get(name).map(|entry| entry.1);
        let value = newest.ok_or_else(|| {
            Error::shape(format!("no parameter or state {name:?} has been declared"))
        })?;
        Ok(self.tensor(value))
    }

    /// A handle to a recorded value.
    pub(super) fn tensor(&self, value: ValueId) -> Tensor<'_> {
        let spec = self.state.borrow().graph.spec(value);
        Tensor {
            recorder: self,
            value,
            spec,
        }
    }

    /// Gives a parameter or state its value for the next run (and for readers recorded from here on).
    ///
    /// # Errors
    /// There is none of this name, or the shape differs.
    pub fn assign(&self, name: &str, tensor: Tensor<'_>) -> Result<()> {
        let old = self.newest(name)?;
        if old.spec != tensor.spec {
            return Err(Error::shape(format!(
                "{name:?} of shape {} cannot be assigned {}",
                old.spec, tensor.spec
            )));
        }
        if let Some(entry) = self.state.borrow_mut().lasting.get_mut(name) {
            entry.1 = tensor.value;
        }
        Ok(())
    }

    /// The parameters declared so far, in order, with their names.
    pub fn parameters(&self) -> Vec<(String, Tensor<'_>)> {
        let state = self.state.borrow();
        let parameters = state
            .graph
            .leaves()
            .filter(|(_, leaf, _)| matches!(leaf.kind, LeafKind::Parameter(_)));
        parameters
            .map(|(value, leaf, _)| (leaf.name.clone(), self.tensor(value)))
            .collect()
    }

    /// Names a result.
    ///
    /// # Errors
    /// A result of this name exists.
    pub fn output(&self, name: &str, tensor: Tensor<'_>) -> Result<()> {
        let outputs = &mut self.state.borrow_mut().graph.outputs;
        if outputs.iter().any(|(own, _)| own == name) {
            return Err(Error::shape(format!(
                "the output {name:?} is declared twice"
            )));
        }
        outputs.push((name.to_string(), tensor.value));
        Ok(())
    }

    /// What scopes gave so far ([`Scope::tap`]), by path, in the order of recording.
    pub fn taps(&self) -> Vec<(String, Tensor<'_>)> {
        let taps = &self.state.borrow().graph.taps;
        taps.iter()
            .map(|(path, value)| (path.clone(), self.tensor(*value)))
            .collect()
    }

    /// What recorded nodes carry from here on, until what is given is dropped.
    pub(super) fn enter(&self, here: impl FnOnce(&mut Here)) -> Inside<'_> {
        let state = &mut *self.state.borrow_mut();
        let outer = state.here.clone();
        here(&mut state.here);
        Inside {
            recorder: self,
            outer,
            block: None,
        }
    }
}

/// While it lives, recorded nodes carry its scope's path (and a layer's place in the model).
#[must_use = "nodes carry the scope's path only while this value lives"]
pub struct Inside<'g> {
    recorder: &'g Recorder,
    outer: Here,
    /// The block that ends with it, empty as yet.
    pub(super) block: Option<Block>,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let state = &mut *self.recorder.state.borrow_mut();
        state.here = self.outer.clone();
        if let Some(mut block) = self.block.take() {
            block.nodes.end = state.graph.nodes.len();
            // One without nodes has nothing to recompute, and is no layer.
            if !block.nodes.is_empty() {
                state.blocks.push(block);
            }
        }
    }
}

/// A named part of a model. Names are joined with dots into the parameter names of the ecosystem:
/// `scope.name("layer1").name("0").name("conv1").parameter("weight", …)`.
#[derive(Clone)]
pub struct Scope<'g> {
    recorder: &'g Recorder,
    path: String,
    shared: bool,
}

impl<'g> Scope<'g> {
    /// A part of this part.
    pub fn name(&self, name: impl std::fmt::Display) -> Scope<'g> {
        Scope {
            recorder: self.recorder,
            path: self.full(&name.to_string()),
            shared: self.shared,
        }
    }

    /// The same part, used a second time: parameters and states are those declared before, with their newest values.
    pub fn shared(&self) -> Scope<'g> {
        Scope {
            shared: true,
            ..self.clone()
        }
    }

    /// The recorder.
    pub fn recorder(&self) -> &'g Recorder {
        self.recorder
    }

    /// The dotted path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Puts what is recorded from here on under this path.
    pub fn enter(&self) -> Inside<'g> {
        self.recorder
            .enter(|here| here.path = self.path.as_str().into())
    }

    /// Like [`enter`](Self::enter), for a layer function: what it records is placed where the model called the layer.
    pub fn enter_layer(&self, caller: &'static Location<'static>) -> Inside<'g> {
        self.recorder.enter(|here| {
            here.path = self.path.as_str().into();
            here.place = Some(caller);
        })
    }

    /// Says that `tensor` is what this scope gives, so that it can be found by the scope's path, and gives it. A part
    /// that is used twice keeps what it gave last.
    pub fn tap(&self, tensor: Tensor<'g>) -> Tensor<'g> {
        let taps = &mut self.recorder.state.borrow_mut().graph.taps;
        match taps.iter_mut().find(|(path, _)| *path == self.path) {
            Some((_, value)) => *value = tensor.value,
            None => taps.push((self.path.clone(), tensor.value)),
        }
        tensor
    }

    /// Declares a value that learns.
    ///
    /// # Errors
    /// The name is taken (or, in a shared scope, unknown or of another shape).
    #[track_caller]
    pub fn parameter(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor<'g>> {
        self.declare(name, shape.into(), LeafKind::Parameter(init))
    }

    /// Declares a value that lasts from run to run, but does not learn.
    ///
    /// # Errors
    /// As [`parameter`](Self::parameter).
    #[track_caller]
    pub fn state(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor<'g>> {
        self.declare(name, shape.into(), LeafKind::State(init))
    }

    #[track_caller]
    fn declare(&self, name: &str, shape: Shape, kind: LeafKind) -> Result<Tensor<'g>> {
        let full = self.full(name);
        if !self.shared {
            return self.recorder.lasting(&full, kind, Spec::real(shape));
        }
        let tensor = self.recorder.newest(&full)?;
        if tensor.shape() == shape {
            Ok(tensor)
        } else {
            Err(Error::shape(format!(
                "the shared {full:?} has shape {}, not {shape}",
                tensor.shape()
            )))
        }
    }

    /// Declares a parameter that takes no part, but travels with checkpoints.
    ///
    /// # Errors
    /// The name is taken.
    pub fn travelling(&self, name: &str, shape: impl Into<Shape>) -> Result<()> {
        let full = self.full(name);
        let state = &mut *self.recorder.state.borrow_mut();
        let travelling = &mut state.graph.travelling;
        if state.lasting.contains_key(&full) || travelling.iter().any(|(own, _)| *own == full) {
            return Err(Error::shape(format!(
                "the parameter {full:?} is declared twice"
            )));
        }
        travelling.push((full, Spec::real(shape)));
        Ok(())
    }

    /// Gives a state of this scope its value for the next run.
    ///
    /// # Errors
    /// As [`Recorder::assign`].
    pub fn assign(&self, name: &str, tensor: Tensor<'g>) -> Result<()> {
        self.recorder.assign(&self.full(name), tensor)
    }

    fn full(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}
