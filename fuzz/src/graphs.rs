//! Random graphs over all rooms.

use crate::chance::{MAX_ELEMENTS, array, attributes, below, case, changed, one_in, pick, spec};
use crate::prove::prove;
use arbitrary::Unstructured;
use axenic::array::{Element, Spec};
use axenic::graph::{AnyOp, Graph, Init, Recorder, Tensor};
use axenic::ops::ROOMS;
use axenic::{Array, Result, autodiff};
use std::sync::Arc;

/// The shapes of the two states.
const STATE: [usize; 2] = [2, 3];

/// Bytes as a graph: operations of all rooms on each other's results, aliases, several outputs, gradients, states that are
/// assigned and exchanged.
pub fn graphs(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let mut inputs = Vec::new();
    let recorded = Graph::record(|r| {
        let mut maker = Maker {
            u: &mut u,
            r,
            values: Vec::new(),
            inputs: &mut inputs,
        };
        maker.record()
    });
    let graph = recorded.expect("what did not fit was left out");
    let lasting: Vec<(String, Array)> = ["s", "t"]
        .map(|name| (name.to_string(), array(&mut u, Spec::real(STATE), false)))
        .into();
    prove(graph, &lasting, &inputs);
}

/// Records what its bytes say.
struct Maker<'m, 'u, 'g> {
    u: &'m mut Unstructured<'u>,
    r: &'g Recorder,
    /// What the next operations can read.
    values: Vec<Tensor<'g>>,
    inputs: &'m mut Vec<(String, Array)>,
}

impl<'g> Maker<'_, '_, 'g> {
    fn record(&mut self) -> Result<()> {
        let state = |name| self.r.scope().state(name, STATE, Init::Constant(1.0));
        let (s, t) = (state("s")?, state("t")?);
        self.values.extend([s, t]);
        for _ in 0..1 + below(self.u, 3) {
            let spec = spec(self.u);
            let input = self.input(spec)?;
            self.values.push(input);
        }
        for _ in 0..1 + below(self.u, 16) {
            match below(self.u, 8) {
                0..4 => self.apply_case(),
                7 => self.differentiate(),
                _ => self.apply_anything(),
            }
        }
        self.r.assign("s", t)?;
        self.r.assign("t", s)?;
        for i in 0..1 + below(self.u, 4) {
            let value = *pick(self.u, &self.values);
            self.r.output(&i.to_string(), value)?;
            if value.spec() == s.spec() && one_in(self.u, 2) {
                self.r.assign("t", value)?;
            }
        }
        Ok(())
    }

    fn input(&mut self, spec: Spec) -> Result<Tensor<'g>> {
        let numbers = array(self.u, spec, false);
        self.given(numbers)
    }

    fn given(&mut self, numbers: Array) -> Result<Tensor<'g>> {
        if one_in(self.u, 8) {
            return Ok(self.r.constant(numbers));
        }
        let name = self.inputs.len().to_string();
        let input = self.r.input(&name, numbers.spec())?;
        self.inputs.push((name, numbers));
        Ok(input)
    }

    /// A case of a room on values that fit it, and on its own numbers where there are none.
    fn apply_case(&mut self) {
        let Some((room, case)) = case(self.u) else {
            return;
        };
        let mut operation = case.op.clone();
        if one_in(self.u, 4) {
            let attributes = changed(self.u, room, &case.op.attributes());
            match room.build(&attributes) {
                Ok(changed) => operation = changed,
                Err(_) => return,
            }
        }
        let operands = case.inputs.iter().map(|own| match self.like(own.spec()) {
            Some(value) => Ok(value),
            None => self.given(own.clone()),
        });
        let operands: Result<Vec<Tensor>> = operands.collect();
        if let Ok(operands) = operands {
            self.apply(operation, &operands);
        }
    }

    /// Any room on any values.
    fn apply_anything(&mut self) {
        let room = pick(self.u, ROOMS);
        let attributes = attributes(self.u, room);
        let Ok(operation) = room.build(&attributes) else {
            return;
        };
        let first = *pick(self.u, &self.values);
        let mut operands = Vec::new();
        for i in 0..room.inputs.len() {
            let operand = match below(self.u, 4) {
                _ if i == 0 => Some(first),
                0 => self.like(first.spec()),
                1 => self.input(first.spec()).ok(),
                2 => Some(*pick(self.u, &self.values)),
                _ => {
                    let spec = spec(self.u);
                    self.input(spec).ok()
                }
            };
            operands.extend(operand);
        }
        self.apply(operation, &operands);
    }

    /// What does not fit is left out; what is too large is recorded, but nothing reads it.
    fn apply(&mut self, operation: Arc<dyn AnyOp>, operands: &[Tensor<'g>]) {
        if let Ok(outputs) = self.r.apply_any(operation, operands) {
            let small = |output: &Tensor| output.shape().elements() <= MAX_ELEMENTS;
            self.values.extend(outputs.into_iter().filter(small));
        }
    }

    /// A value of this shape and type, one of the newest first.
    fn like(&mut self, spec: Spec) -> Option<Tensor<'g>> {
        let fitting = self.values.iter().rev().filter(|own| own.spec() == spec);
        let fitting: Vec<Tensor> = fitting.copied().collect();
        match fitting.is_empty() {
            true => None,
            false => Some(*pick(self.u, &fitting)),
        }
    }

    /// The gradients of a value by some others.
    fn differentiate(&mut self) {
        let output = *pick(self.u, &self.values);
        let Ok(cotangent) = self.input(output.spec()) else {
            return;
        };
        let real = |value: &&Tensor| value.spec().element == Element::Real;
        let targets: Vec<Tensor> = self.values.iter().filter(real).take(6).copied().collect();
        if let Ok(gradients) = autodiff::vector_jacobian(&[(output, cotangent)], &targets) {
            self.values.extend(gradients.into_iter().flatten());
        }
    }
}
