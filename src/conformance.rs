//! Is an executor right? Checks any operation, or any whole graph, on any executor, node by node.
//!
//! Every node is computed again in [`Bounded`](crate::real::Bounded) arithmetic *from the executor's own inputs to that
//! node*, so that errors cannot hide behind one another, and its outputs must lie within the error bound that this
//! yields. The reference's gradient rules are checked against central differences.

use crate::array::{Array, Element};
use crate::autodiff;
use crate::error::{Error, Result};
use crate::exec::{Executor, Reference, eval_bounded};
use crate::graph::{Graph, LeafKind, Recorder, Tensor, ValueId};
use crate::ops::{Room, RoomCase};
use crate::plan::Plan;
use crate::rng::Stream;
use crate::workers::Workers;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// How one value of one node compares with its bound.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The node in its graph.
    pub node: usize,
    /// Which of its values.
    pub output: usize,
    /// The operation.
    pub op: &'static str,
    /// The element with the largest ratio.
    pub element: usize,
    /// The error there.
    pub error: f64,
    /// The bound there.
    pub bound: f64,
    /// error / bound; 0 where both are 0, infinite where only the bound is or a NaN appeared.
    pub ratio: f64,
}

/// Runs a graph on an executor and compares every node's values with their bounds.
///
/// # Errors
/// As [`Executor::run`].
pub fn audit(
    graph: &Arc<Graph>,
    executor: &mut dyn Executor,
    lasting: &[(&str, &Array)],
    inputs: &[(&str, &Array)],
) -> Result<Vec<Finding>> {
    let plan = executor.prepare(Arc::new(Plan::new(graph.clone(), executor.target())?))?;
    lasting
        .iter()
        .try_for_each(|(name, value)| executor.write(name, value))?;
    let mut values: HashMap<usize, Vec<Array>> = HashMap::new();
    for (value, leaf, _) in graph.leaves() {
        let given = match &leaf.kind {
            LeafKind::Constant(array) => Some(array.as_ref()),
            LeafKind::Input => inputs
                .iter()
                .find(|(name, _)| *name == leaf.name)
                .map(|(_, array)| *array),
            _ => lasting
                .iter()
                .find(|(name, _)| *name == leaf.name)
                .map(|(_, array)| *array),
        };
        let given = given.ok_or_else(|| Error::input(format!("{:?} was not given", leaf.name)))?;
        values.insert(value.node, vec![as_held(given)?]);
    }
    let mut watch = |moment: crate::exec::Moment| {
        values.insert(moment.node, moment.outputs);
        ControlFlow::Continue(())
    };
    executor.run(plan, inputs, Some(&mut watch))?;

    let workers = Workers::new(0)?;
    let mut findings = Vec::new();
    for (i, node) in graph.nodes().iter().enumerate() {
        let Some(op) = node.op() else { continue };
        let own_inputs: Vec<Array> = node
            .inputs
            .iter()
            .map(|value| held(graph, &values, *value))
            .collect::<Result<_>>()?;
        if op.alias_of_input().is_some() {
            let alias = Array::new(node.outputs[0].shape, own_inputs[0].numbers().clone())?;
            values.insert(i, vec![alias]);
            continue;
        }
        for (output, (expected, bounds)) in eval_bounded(op, &own_inputs, &workers)?
            .into_iter()
            .enumerate()
        {
            let got = held(graph, &values, ValueId { node: i, output })?;
            findings.push(finding(i, output, op.name(), &got, &expected, &bounds));
        }
    }
    Ok(findings)
}

/// What an f32 device holds of numbers that were given to it.
fn as_held(array: &Array) -> Result<Array> {
    match array.spec().element {
        Element::Real => Array::new(array.shape(), array.to_f32().into_owned()),
        Element::Index => Ok(array.clone()),
    }
}

fn held(graph: &Graph, values: &HashMap<usize, Vec<Array>>, value: ValueId) -> Result<Array> {
    let found = values
        .get(&value.node)
        .and_then(|outputs| outputs.get(value.output))
        .cloned();
    found.ok_or_else(|| {
        Error::device(format!(
            "the executor did not show node {}",
            graph.nodes()[value.node].name()
        ))
    })
}

fn finding(
    node: usize,
    output: usize,
    op: &'static str,
    got: &Array,
    expected: &Array,
    bounds: &[f64],
) -> Finding {
    let mut worst = Finding {
        node,
        output,
        op,
        element: 0,
        error: 0.0,
        bound: 0.0,
        ratio: 0.0,
    };
    let (got, expected) = (got.to_f64(), expected.to_f64());
    for (element, ((&x, &y), &bound)) in got.iter().zip(expected.iter()).zip(bounds).enumerate() {
        let error = match (x.is_nan(), y.is_nan()) {
            (true, true) => 0.0,
            (false, false) if x == y => 0.0,
            (false, false) => (x - y).abs(),
            _ => f64::INFINITY,
        };
        let ratio = if error == 0.0 { 0.0 } else { error / bound };
        if ratio > worst.ratio || ratio.is_nan() || element == 0 {
            worst = Finding {
                element,
                error,
                bound,
                ratio: if ratio.is_nan() { f64::INFINITY } else { ratio },
                ..worst
            };
        }
    }
    worst
}

/// Checks a case of a room on an executor: the operation and everything its gradient rule records, node by node.
///
/// # Errors
/// As [`Executor::run`]; or the gradient rule fails.
pub fn check_case(
    room: &Room,
    case: &RoomCase,
    executor: &mut dyn Executor,
) -> Result<Vec<Finding>> {
    let recorded = record_case(room, case)?;
    audit(&recorded.graph, executor, &[], &recorded.inputs())
}

/// Checks the gradient rule of a case in f64 against central differences. Gives the largest ratio of the difference to
/// what the differences' own rounding allows; `None` where nothing is differentiable.
///
/// # Errors
/// As [`check_case`].
pub fn check_gradient(room: &Room, case: &RoomCase) -> Result<Option<f64>> {
    let mut recorded = record_case(room, case)?;
    if recorded.targets.is_empty() {
        return Ok(None);
    }
    follow(&mut recorded.named, case);
    let mut reference = Reference::new(0)?;
    let plan = reference.prepare(Arc::new(Plan::new(
        recorded.graph.clone(),
        reference.target(),
    )?))?;
    let outputs = reference.run(plan, &recorded.inputs(), None)?;
    let (values, gradients) = outputs.split_at(outputs.len() - recorded.targets.len());
    let mut objective = |inputs: &[(String, Array)]| -> Result<f64> {
        let inputs: Vec<(&str, &Array)> = inputs
            .iter()
            .map(|(name, array)| (name.as_str(), array))
            .collect();
        let outputs = reference.run(plan, &inputs, None)?;
        Ok(recorded
            .cotangents
            .iter()
            .zip(&outputs)
            .map(|(cotangent, y)| dot(cotangent, y))
            .sum())
    };
    let scale: f64 = 1.0
        + recorded
            .cotangents
            .iter()
            .zip(values)
            .map(|(c, y)| absolute_dot(c, y))
            .sum::<f64>();
    let mut worst: f64 = 0.0;
    for (&target, gradient) in recorded.targets.iter().zip(gradients) {
        let gradient = gradient.to_f64();
        for element in sample(gradient.len(), 24) {
            let x = recorded.named[target].1.to_f64()[element];
            let step = 1e-6 * x.abs().max(1.0);
            let mut moved = recorded.named.clone();
            let mut at = |x: f64| {
                moved[target].1 = with_element(&recorded.named[target].1, element, x)?;
                follow(&mut moved, case);
                objective(&moved)
            };
            let slope = (at(x + step)? - at(x - step)?) / (2.0 * step);
            let allowed = 2e-9 * scale + 1e-6 * slope.abs().max(gradient[element].abs());
            worst = worst.max((slope - gradient[element]).abs() / allowed);
        }
    }
    Ok(Some(worst))
}

/// A case as a graph: inputs `0`, `1`, …, cotangents `d0`, …; outputs the operation's, then the gradients of `targets`.
struct RecordedCase {
    graph: Arc<Graph>,
    named: Vec<(String, Array)>,
    cotangents: Vec<Array>,
    /// Which inputs a gradient reaches.
    targets: Vec<usize>,
}

impl RecordedCase {
    fn inputs(&self) -> Vec<(&str, &Array)> {
        self.named
            .iter()
            .map(|(name, array)| (name.as_str(), array))
            .collect()
    }
}

fn record_case(room: &Room, case: &RoomCase) -> Result<RecordedCase> {
    let mut named: Vec<(String, Array)> = case
        .inputs
        .iter()
        .enumerate()
        .map(|(i, array)| (i.to_string(), array.clone()))
        .collect();
    let mut cotangents = Vec::new();
    let mut targets = Vec::new();
    let graph = Graph::record(|r| {
        let declare = |(name, array): &(String, Array)| r.input(name, array.spec());
        let inputs: Vec<Tensor> = named.iter().map(declare).collect::<Result<_>>()?;
        let outputs = r.apply_any(case.op.clone(), &inputs)?;
        let mut pairs = Vec::new();
        for (i, &output) in outputs.iter().enumerate() {
            r.output(&i.to_string(), output)?;
            if output.spec().element == Element::Real {
                cotangents.push(cotangent(output, i)?);
                named.push((format!("d{i}"), cotangents[cotangents.len() - 1].clone()));
                pairs.push((output, r.input(&format!("d{i}"), output.spec())?));
            }
        }
        targets = record_gradients(r, room, &inputs, &pairs)?;
        Ok(())
    })?;
    Ok(RecordedCase {
        graph: Arc::new(graph),
        named,
        cotangents,
        targets,
    })
}

fn record_gradients<'g>(
    r: &'g Recorder,
    room: &Room,
    inputs: &[Tensor<'g>],
    pairs: &[(Tensor<'g>, Tensor<'g>)],
) -> Result<Vec<usize>> {
    let reals: Vec<usize> = (0..inputs.len())
        .filter(|&i| inputs[i].spec().element == Element::Real)
        .collect();
    if reals.is_empty() || pairs.is_empty() {
        return Ok(Vec::new());
    }
    let targets: Vec<Tensor> = reals.iter().map(|&i| inputs[i]).collect();
    let gradients = match autodiff::vector_jacobian(pairs, &targets) {
        Ok(gradients) => gradients,
        // A gradient's own gradient may be refused; an operation's may not.
        Err(_) if room.name.ends_with("_grad") => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut reached = Vec::new();
    for (input, gradient) in reals.into_iter().zip(gradients) {
        if let Some(gradient) = gradient {
            r.output(&format!("grad.{input}"), gradient)?;
            reached.push(input);
        }
    }
    Ok(reached)
}

fn cotangent(output: Tensor<'_>, index: usize) -> Result<Array> {
    let mut stream = Stream::new(1, "cotangent", 0, index as u64);
    let values: Vec<f32> = (0..output.shape().elements())
        .map(|_| stream.normal() as f32)
        .collect();
    Array::new(output.shape(), values)
}

/// Lets those inputs that are functions of others follow them.
fn follow(named: &mut [(String, Array)], case: &RoomCase) {
    let Some(link) = case.link else { return };
    let own = &mut named[..case.inputs.len()];
    let mut inputs: Vec<Array> = own.iter().map(|(_, array)| array.clone()).collect();
    link(&mut inputs);
    own.iter_mut()
        .zip(inputs)
        .for_each(|((_, array), new)| *array = new);
}

fn dot(a: &Array, b: &Array) -> f64 {
    a.to_f64()
        .iter()
        .zip(b.to_f64().iter())
        .map(|(x, y)| x * y)
        .sum()
}

fn absolute_dot(a: &Array, b: &Array) -> f64 {
    a.to_f64()
        .iter()
        .zip(b.to_f64().iter())
        .map(|(x, y)| (x * y).abs())
        .sum()
}

/// At most `count` positions, spread over 0..n.
fn sample(n: usize, count: usize) -> impl Iterator<Item = usize> {
    let step = n.div_ceil(count).max(1);
    (0..n).step_by(step)
}

fn with_element(array: &Array, element: usize, value: f64) -> Result<Array> {
    let mut values = array.to_f64().into_owned();
    values[element] = value;
    Array::new(array.shape(), values)
}
