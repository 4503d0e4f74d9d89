//! Reverse-mode differentiation: from a graph being recorded to more of the same graph.
//!
//! Walking the nodes backwards, each node's gradient rule (`Op::vjp`) turns the gradients of its outputs into gradients
//! of its inputs. The result is ordinary nodes: they can be printed, planned, audited, and differentiated again as far
//! as the rules allow. Where a block of the model is to be recomputed, its operations are recorded again just before its
//! gradients, and the rules read the copies ([`Recompute`](crate::graph::Recompute)).
//!
//! Reference: Griewank and Walther, *Evaluating Derivatives*, 2nd edition, chapter 3.

use crate::error::{Error, Result};
use crate::graph::{Tensor, ValueId};
use crate::ops;
use std::collections::{HashMap, HashSet};

/// The gradient of a scalar with respect to each target.
///
/// ```
/// use axenic::{autodiff, eval, ops, shape::KeepAxes};
/// let [slope] = eval(|r| {
///     let x = r.constant([3.0]);
///     let y = ops::sum(ops::mul(x, x)?, &[0], KeepAxes::No)?;
///     Ok([autodiff::gradients(y, &[x])?[0]])
/// })?;
/// assert_eq!(slope.to_f64()[0], 6.0);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// `output` is not a scalar, or a target has no path to it: a parameter that would silently not learn.
#[track_caller]
pub fn gradients<'g>(output: Tensor<'g>, targets: &[Tensor<'g>]) -> Result<Vec<Tensor<'g>>> {
    if output.shape().elements() != 1 {
        return Err(Error::shape(format!(
            "the gradient is taken of a scalar, not of shape {}",
            output.shape()
        )));
    }
    let seed = ops::fill(output.recorder(), output.shape(), 1.0)?;
    let gradients = vector_jacobian(&[(output, seed)], targets)?;
    gradients
        .into_iter()
        .zip(targets)
        .map(|(gradient, target)| {
            gradient.ok_or_else(|| {
                Error::shape(format!("no gradient reaches {target:?} from {output:?}"))
            })
        })
        .collect()
}

/// The product of cotangents with the Jacobian: for every target, Σ over the outputs of cotangentᵀ · ∂output/∂target.
/// `None` where no path leads from the target to any output.
///
/// # Errors
/// A cotangent has another shape than its output, or an operation on the way has no gradient rule.
#[track_caller]
pub fn vector_jacobian<'g>(
    outputs: &[(Tensor<'g>, Tensor<'g>)],
    targets: &[Tensor<'g>],
) -> Result<Vec<Option<Tensor<'g>>>> {
    let Some((first, _)) = outputs.first() else {
        return Ok(vec![None; targets.len()]);
    };
    let recorder = first.recorder();
    let mut arrived: HashMap<ValueId, Tensor<'g>> = HashMap::new();
    for (output, cotangent) in outputs {
        if output.spec() != cotangent.spec() {
            let (output, cotangent) = (output.spec(), cotangent.spec());
            return Err(Error::shape(format!(
                "a cotangent {cotangent} was given for an output {output}"
            )));
        }
        accumulate(&mut arrived, output.value(), *cotangent)?;
    }
    let last = outputs
        .iter()
        .map(|(output, _)| output.value().node)
        .max()
        .unwrap_or(0);
    let depends = dependants(targets, last);
    let mut again = None;
    for node in (0..=last).rev().filter(|node| depends.contains(node)) {
        let output_count = recorder.output_count(node);
        let own = |output| arrived.get(&ValueId { node, output }).copied();
        let output_grads: Vec<_> = (0..output_count).map(own).collect();
        if output_grads.iter().all(Option::is_none) {
            continue;
        }
        again = recorder.recomputed(node, again);
        let Some(input_grads) = recorder.vjp(node, again.as_ref(), &output_grads)? else {
            continue;
        };
        for (value, gradient) in recorder.node_inputs(node).into_iter().zip(input_grads) {
            if let Some(gradient) = gradient.filter(|_| depends.contains(&value.node)) {
                accumulate(&mut arrived, value, gradient)?;
            }
        }
    }
    Ok(targets
        .iter()
        .map(|target| arrived.get(&target.value()).copied())
        .collect())
}

fn accumulate<'g>(
    arrived: &mut HashMap<ValueId, Tensor<'g>>,
    value: ValueId,
    gradient: Tensor<'g>,
) -> Result<()> {
    let sum = match arrived.get(&value) {
        Some(&earlier) => {
            let _inside = gradient.recorder().enter_node(value.node);
            ops::add(earlier, gradient)?
        }
        None => gradient,
    };
    arrived.insert(value, sum);
    Ok(())
}

/// The nodes up to `last` that a target's value flows into, the targets' own among them.
fn dependants(targets: &[Tensor<'_>], last: usize) -> HashSet<usize> {
    let mut depends: HashSet<usize> = targets.iter().map(|target| target.value().node).collect();
    let Some(recorder) = targets.first().map(Tensor::recorder) else {
        return depends;
    };
    for node in 0..=last {
        if recorder
            .node_inputs(node)
            .iter()
            .any(|input| depends.contains(&input.node))
        {
            depends.insert(node);
        }
    }
    depends
}
