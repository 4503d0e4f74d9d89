//! One operation alone in a graph, by the names that `axenic op` gives its numbers.

use crate::array::{Array, Element};
use crate::autodiff;
use crate::error::{Error, Result};
use crate::graph::{AnyOp, Recorder, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records an operation on inputs named `0`, `1`, …; its results are `y`, or `y.0`, `y.1`, … where there are several.
/// Cotangents among the numbers (`dy`, or `dy.0`, …; one that is left out counts as zero) ask for gradients: `grad.0`,
/// `grad.1`, … for the inputs that one reaches.
///
/// # Errors
/// The inputs do not fit, a cotangent has no output or not its shape, or there is no gradient rule.
pub fn record_alone(r: &Recorder, op: Arc<dyn AnyOp>, numbers: &[(String, Array)]) -> Result<()> {
    let mut declared: BTreeMap<&str, Tensor> = BTreeMap::new();
    for (name, array) in numbers {
        declared.insert(name, r.input(name, array.spec())?);
    }
    let inputs: Vec<Tensor> = (0..)
        .map_while(|i| declared.remove(i.to_string().as_str()))
        .collect();
    let name = op.name();
    let outputs = r.apply_any(op, &inputs)?;
    let suffix = |i: usize| match outputs.len() {
        1 => String::new(),
        _ => format!(".{i}"),
    };
    let mut pairs = Vec::new();
    for (i, &output) in outputs.iter().enumerate() {
        r.output(&format!("y{}", suffix(i)), output)?;
        if let Some(cotangent) = declared.remove(format!("dy{}", suffix(i)).as_str()) {
            pairs.push((output, cotangent));
        }
    }
    if let Some(stranger) = declared.keys().next() {
        return Err(Error::input(format!(
            "{name} has no output for the cotangent {stranger:?}"
        )));
    }
    record_gradients(r, &inputs, &pairs)
}

fn record_gradients<'g>(
    r: &'g Recorder,
    inputs: &[Tensor<'g>],
    pairs: &[(Tensor<'g>, Tensor<'g>)],
) -> Result<()> {
    let reals = |(i, input): (usize, &Tensor)| (input.spec().element == Element::Real).then_some(i);
    let targets: Vec<usize> = inputs.iter().enumerate().filter_map(reals).collect();
    let tensors: Vec<Tensor> = targets.iter().map(|&i| inputs[i]).collect();
    let gradients = autodiff::vector_jacobian(pairs, &tensors)?;
    for (i, gradient) in targets.into_iter().zip(gradients) {
        if let Some(gradient) = gradient {
            r.output(&format!("grad.{i}"), gradient)?;
        }
    }
    Ok(())
}
