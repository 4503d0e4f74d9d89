//! The rooms' cases on an executor, and their gradient rules against central differences.

use super::{Finding, Sample, audit_plan};
use crate::array::{Array, Element, Spec};
use crate::autodiff;
use crate::error::Result;
use crate::exec::{Executor, Reference};
use crate::graph::{Graph, Recorder, Target, Tensor};
use crate::ops::{Room, RoomCase};
use crate::plan::Plan;
use crate::rng::Stream;
use std::sync::Arc;

/// What an executor did on all cases of a room.
#[derive(Clone, Debug)]
pub struct RoomFindings {
    /// The operation.
    pub name: &'static str,
    /// How many cases there are.
    pub cases: usize,
    /// How many elements were compared.
    pub elements: usize,
    /// The worst of the operation's own values, with the case.
    pub forward: Option<(&'static str, Finding)>,
    /// The worst of the nodes that its gradient rule records, with the case.
    pub gradient: Option<(&'static str, Finding)>,
}

impl RoomFindings {
    /// The largest ratio of an error to its bound.
    pub fn ratio(&self) -> f64 {
        let both = [&self.forward, &self.gradient].into_iter().flatten();
        both.map(|(_, finding)| finding.ratio).fold(0.0, f64::max)
    }
}

/// The operations on the executors as a table in Markdown: a row each, with the number of cases, and for each executor
/// whether they are all within their bounds.
pub fn markdown(executors: &[&str], rows: &[(&str, usize, Vec<bool>)]) -> String {
    let mut text = format!("| operation | cases | {} |\n", executors.join(" | "));
    text.push_str(&format!(
        "| --- | ---: |{}\n",
        " :---: |".repeat(executors.len())
    ));
    for (name, cases, within) in rows {
        let marks: Vec<&str> = within
            .iter()
            .map(|within| if *within { "✓" } else { "✗" })
            .collect();
        text.push_str(&format!("| `{name}` | {cases} | {} |\n", marks.join(" | ")));
    }
    text
}

/// Checks all cases of a room on an executor: each as the executor would run it, and for each way to multiply and each way to
/// store reals that its device has in one of its tiles, in turn, so that every variant sees many cases on every device.
///
/// # Errors
/// As [`check_case`], with the case.
pub fn check_room(room: &Room, executor: &mut dyn Executor) -> Result<RoomFindings> {
    let cases = room.cases();
    let mut all = RoomFindings {
        name: room.name,
        cases: cases.len(),
        elements: 0,
        forward: None,
        gradient: None,
    };
    let own = executor.target();
    let groups = own.variants();
    for (i, case) in cases.into_iter().enumerate() {
        let place = || format!("{} ({}): {}", room.name, case.op.attributes(), case.about);
        let in_turn = groups.iter().map(|group| group[i % group.len()]);
        let targets: Vec<Target> = [own].into_iter().chain(in_turn).collect();
        let found = check_targets(room, &case, executor, &targets);
        let found = found.map_err(|e| e.within(place()))?;
        let first = found.first().map(|finding| finding.node);
        for finding in found {
            all.elements += finding.checked;
            let worst = if Some(finding.node) == first {
                &mut all.forward
            } else {
                &mut all.gradient
            };
            if worst
                .as_ref()
                .is_none_or(|(_, worst)| finding.ratio > worst.ratio)
            {
                *worst = Some((case.about, finding));
            }
        }
    }
    Ok(all)
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
    let own = executor.target();
    check_targets(room, case, executor, &[own])
}

/// Checks a case as planned for each of the targets; plans that launch the same are run once.
fn check_targets(
    room: &Room,
    case: &RoomCase,
    executor: &mut dyn Executor,
    targets: &[Target],
) -> Result<Vec<Finding>> {
    let recorded = record_case(Through::All, room, case)?;
    let mut findings = Vec::new();
    let mut plans: Vec<Arc<Plan>> = Vec::new();
    for &target in targets {
        let plan = Arc::new(Plan::new(recorded.graph.clone(), target)?);
        if plans.iter().any(|known| known.steps() == plan.steps()) {
            continue;
        }
        plans.push(plan.clone());
        let inputs = recorded.inputs();
        findings.extend(audit_plan(plan, executor, &[], &inputs, Sample::All)?);
    }
    Ok(findings)
}

/// Checks the gradient rule of a case in f64 against central differences. Gives the largest ratio of the difference to
/// what the differences' own rounding allows; `None` where nothing is differentiable, or
/// differences do not tell. An input that no gradient reaches
/// must not move the outputs, unless the room declares it constant. Of several outputs, each is checked alone as well.
///
/// # Errors
/// As [`check_case`].
pub fn check_gradient(room: &Room, case: &RoomCase) -> Result<Option<f64>> {
    let specs: Vec<Spec> = case.inputs.iter().map(Array::spec).collect();
    let outputs = case.op.outputs(&specs)?.len();
    let alone = (0..outputs).filter(|_| outputs > 1).map(Through::Only);
    let mut worst = None;
    for through in std::iter::once(Through::All).chain(alone) {
        let ratio = check_gradient_through(through, room, case)?;
        worst = ratio.into_iter().chain(worst).reduce(f64::max);
    }
    Ok(worst)
}

/// The outputs through which gradients come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Through {
    All,
    Only(usize),
}

fn check_gradient_through(through: Through, room: &Room, case: &RoomCase) -> Result<Option<f64>> {
    let mut recorded = record_case(through, room, case)?;
    if !recorded.is_differentiable || !case.has_differences {
        return Ok(None);
    }
    follow(&mut recorded.named, case);
    let mut reference = Reference::new(0)?;
    let plan = reference.prepare(Arc::new(Plan::new(
        recorded.graph.clone(),
        reference.target(),
    )?))?;
    let outputs = reference.run(plan, &recorded.inputs(), None)?;
    let (values, gradients) = outputs.split_at(outputs.len() - recorded.reached.len());
    if values
        .iter()
        .any(|value| value.to_f64().iter().any(|x| !x.is_finite()))
    {
        // There are no differences of what is no number.
        return Ok(None);
    }
    let mut objective = |inputs: &[(String, Array)]| -> Result<f64> {
        let inputs: Vec<(&str, &Array)> = inputs
            .iter()
            .map(|(name, array)| (name.as_str(), array))
            .collect();
        let outputs = reference.run(plan, &inputs, None)?;
        let terms = recorded.cotangents.iter().zip(&outputs);
        Ok(terms.map(|(cotangent, y)| dot(cotangent, y)).sum())
    };
    let terms = recorded.cotangents.iter().zip(values);
    let scale: f64 = 1.0 + terms.map(|(c, y)| absolute_dot(c, y)).sum::<f64>();
    let mut worst: f64 = 0.0;
    for (target, input) in case.inputs.iter().enumerate() {
        if input.spec().element == Element::Index || case.op.constant_inputs().contains(&target) {
            continue;
        }
        let reached = recorded
            .reached
            .iter()
            .position(|&reached| reached == target);
        let gradient = reached.map(|i| gradients[i].to_f64());
        for element in sample(input.shape().elements(), 24) {
            let own = gradient.as_ref().map_or(0.0, |gradient| gradient[element]);
            let x = recorded.named[target].1.to_f64()[element];
            let step = 1e-6 * x.abs().max(1.0);
            let mut moved = recorded.named.clone();
            let mut at = |x: f64| {
                moved[target].1 = with_element(&recorded.named[target].1, element, x)?;
                follow(&mut moved, case);
                objective(&moved)
            };
            let slope = (at(x + step)? - at(x - step)?) / (2.0 * step);
            let allowed = 2e-9 * scale + 1e-6 * slope.abs().max(own.abs());
            let ratio = (slope - own).abs() / allowed;
            worst = worst.max(if ratio.is_nan() { f64::INFINITY } else { ratio });
        }
    }
    Ok(Some(worst))
}

/// A case as a graph: inputs `0`, `1`, …, cotangents `d0`, …; outputs the operation's, then the gradients of `reached`.
struct RecordedCase {
    graph: Arc<Graph>,
    named: Vec<(String, Array)>,
    cotangents: Vec<Array>,
    /// Which inputs a gradient reaches.
    reached: Vec<usize>,
    /// Whether there is a gradient rule.
    is_differentiable: bool,
}

impl RecordedCase {
    fn inputs(&self) -> Vec<(&str, &Array)> {
        self.named
            .iter()
            .map(|(name, array)| (name.as_str(), array))
            .collect()
    }
}

fn record_case(through: Through, room: &Room, case: &RoomCase) -> Result<RecordedCase> {
    let mut named: Vec<(String, Array)> = case
        .inputs
        .iter()
        .enumerate()
        .map(|(i, array)| (i.to_string(), array.clone()))
        .collect();
    let mut cotangents = Vec::new();
    let mut gradients = None;
    let graph = Graph::record(|r| {
        let declare = |(name, array): &(String, Array)| r.input(name, array.spec());
        let inputs: Vec<Tensor> = named.iter().map(declare).collect::<Result<_>>()?;
        let outputs = r.apply_any(case.op.clone(), &inputs)?;
        let mut pairs = Vec::new();
        for (i, &output) in outputs.iter().enumerate() {
            r.output(&i.to_string(), output)?;
            if output.spec().element == Element::Index {
                continue;
            }
            if through == Through::All || through == Through::Only(i) {
                cotangents.push(cotangent(output, i)?);
                named.push((format!("d{i}"), cotangents[cotangents.len() - 1].clone()));
                pairs.push((output, r.input(&format!("d{i}"), output.spec())?));
            } else {
                cotangents.push(Array::zeros(output.spec()));
            }
        }
        gradients = record_gradients(r, room, &inputs, &pairs)?;
        Ok(())
    })?;
    Ok(RecordedCase {
        graph: Arc::new(graph),
        named,
        cotangents,
        is_differentiable: gradients.is_some(),
        reached: gradients.unwrap_or_default(),
    })
}

/// Records the gradients of all real inputs; gives the inputs that one reaches, or `None` if there is no gradient rule.
fn record_gradients<'g>(
    r: &'g Recorder,
    room: &Room,
    inputs: &[Tensor<'g>],
    pairs: &[(Tensor<'g>, Tensor<'g>)],
) -> Result<Option<Vec<usize>>> {
    let reals: Vec<usize> = (0..inputs.len())
        .filter(|&i| inputs[i].spec().element == Element::Real)
        .collect();
    if reals.is_empty() || pairs.is_empty() {
        return Ok(None);
    }
    let targets: Vec<Tensor> = reals.iter().map(|&i| inputs[i]).collect();
    let gradients = match autodiff::vector_jacobian(pairs, &targets) {
        Ok(gradients) => gradients,
        // A gradient's own gradient may be refused; an operation's may not.
        Err(_) if room.name.ends_with("_grad") => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut reached = Vec::new();
    for (input, gradient) in reals.into_iter().zip(gradients) {
        if let Some(gradient) = gradient {
            r.output(&format!("grad.{input}"), gradient)?;
            reached.push(input);
        }
    }
    Ok(Some(reached))
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
