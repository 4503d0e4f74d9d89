//! Every operation for which `tests/golden` holds vectors, against them: values and gradients that another framework
//! computed in f64 (`make_golden.py` says how). The reference must agree to twelve digits, the cpu to five.
#![cfg(feature = "cli")]

use axenic::array::{Array, Element, Numbers};
use axenic::autodiff;
use axenic::exec::{Cpu, Executor, Reference};
use axenic::graph::{Attributes, Graph, Tensor};
use axenic::ops::{ROOMS, room};
use axenic::plan::Plan;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// Vectors of what is no single operation here: layers and steps of the optimiser.
const NO_ROOM: [&str; 4] = [
    "batch_norm_training",
    "batch_norm_inference",
    "clip_grad_norm",
    "sgd",
];
/// Operations that are still to come.
const TO_COME: [&str; 6] = [
    "conv2d",
    "max_pool2d",
    "avg_pool2d",
    "concat",
    "slice",
    "permute",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The vectors of one case.
struct Case<'a> {
    entry: &'a Value,
    tensors: &'a SafeTensors<'a>,
}

impl Case<'_> {
    fn text(&self, key: &str) -> &str {
        self.entry[key].as_str().expect("a word")
    }

    fn count(&self, key: &str) -> usize {
        self.entry[key].as_u64().expect("a count") as usize
    }

    /// The array `case<number>.<name>`: f32 as it is, f64 as it is, i64 as indices.
    fn array(&self, name: &str) -> Array {
        let view = self
            .tensors
            .tensor(&format!("case{}.{name}", self.count("case")))
            .expect("the vector is there");
        let numbers = match view.dtype() {
            Dtype::F32 => Numbers::F32(words(view.data()).map(f32::from_le_bytes).collect()),
            Dtype::F64 => Numbers::F64(words(view.data()).map(f64::from_le_bytes).collect()),
            Dtype::I64 => {
                let index = |x| u32::try_from(i64::from_le_bytes(x)).expect("an index");
                Numbers::U32(words(view.data()).map(index).collect())
            }
            other => panic!("{other:?} is not expected"),
        };
        let shape = axenic::shape::Shape::new(view.shape()).expect("a shape");
        Array::new(shape, numbers).expect("it fits")
    }

    fn arrays(&self, kind: &str, count: usize) -> Vec<Array> {
        (0..count)
            .map(|i| self.array(&format!("{kind}.{i}")))
            .collect()
    }

    /// The room's name and attributes; those of the file are the other framework's.
    fn operation(&self) -> (&str, Attributes) {
        let name = match self.text("op") {
            "argmax" => "arg_max",
            "permute" => "transpose",
            other => other,
        };
        let given = self.entry["attributes"].as_object().expect("attributes");
        let attributes = given
            .iter()
            .fold(Attributes::none(), |attributes, (key, value)| {
                let number = |value: &Value| value.as_u64().expect("a whole number") as usize;
                match (name, key.as_str(), value) {
                    // Only what is left in row-major order matters there.
                    ("arg_max", "keepdim", _) => attributes,
                    ("arg_max", "axes", Value::Array(axes)) => {
                        attributes.with("axis", number(&axes[0]))
                    }
                    ("slice", "end", end) => {
                        attributes.with("length", number(end) - number(&given["start"]))
                    }
                    (_, "keepdim", Value::Bool(keep)) => {
                        attributes.with("keep", if *keep { "yes" } else { "no" })
                    }
                    (_, key, Value::Bool(flag)) => {
                        attributes.with(key, if *flag { "yes" } else { "no" })
                    }
                    (_, key, Value::Array(list)) => {
                        let list: Vec<usize> = list.iter().map(number).collect();
                        attributes.with(key, list.as_slice())
                    }
                    (_, key, value) => match value.as_u64() {
                        Some(n) => attributes.with(key, n as usize),
                        None => attributes.with(key, value.as_f64().expect("a number")),
                    },
                }
            });
        (name, attributes)
    }

    /// Computes outputs and gradients and compares all with the vectors.
    fn check(&self, executor: &mut dyn Executor, tolerance: f64) -> Vec<String> {
        let (name, attributes) = self.operation();
        let op = room(name)
            .and_then(|room| room.build(&attributes))
            .expect("the operation");
        let inputs = self.arrays("input", self.count("inputs"));
        let grads: Vec<usize> = self.entry["grads"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|i| i.as_u64().expect("an input") as usize)
            .collect();
        let graph = Graph::record(|r| {
            let inputs: Vec<Tensor> = inputs.iter().map(|x| r.constant(x.clone())).collect();
            let outputs = r.apply_any(op, &inputs)?;
            for (i, &output) in outputs.iter().enumerate() {
                r.output(&format!("output.{i}"), output)?;
            }
            if grads.is_empty() {
                return Ok(());
            }
            let cotangent = |(i, &output): (usize, &Tensor<'_>)| {
                let cotangent = self.array(&format!("cotangent.{i}"));
                let pair = (output.shape(), cotangent.numbers().clone());
                Array::new(pair.0, pair.1).map(|cotangent| (i, cotangent))
            };
            let real = |(_, output): &(usize, &Tensor<'_>)| output.spec().element == Element::Real;
            let cotangents: Vec<(usize, Array)> = outputs
                .iter()
                .enumerate()
                .filter(real)
                .map(cotangent)
                .collect::<axenic::Result<_>>()?;
            let pairs: Vec<(Tensor, Tensor)> = cotangents
                .into_iter()
                .map(|(i, cotangent)| (outputs[i], r.constant(cotangent)))
                .collect();
            let targets: Vec<Tensor> = grads.iter().map(|&i| inputs[i]).collect();
            for (i, gradient) in grads
                .iter()
                .zip(autodiff::vector_jacobian(&pairs, &targets)?)
            {
                r.output(&format!("grad.{i}"), gradient.expect("a gradient arrives"))?;
            }
            Ok(())
        })
        .expect("it records");
        let names: Vec<String> = graph
            .outputs()
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let plan = Plan::new(Arc::new(graph), executor.target()).expect("a plan");
        let plan = executor.prepare(Arc::new(plan)).expect("it prepares");
        let got = executor.run(plan, &[], None).expect("it runs");
        let place =
            |what: &str| format!("{name} ({attributes}) case {}: {what}", self.count("case"));
        names
            .iter()
            .zip(got)
            .filter_map(|(what, got)| {
                complaint(&got, &self.array(what), tolerance)
                    .map(|complaint| place(what) + ": " + &complaint)
            })
            .collect()
    }
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes
        .chunks_exact(N)
        .map(|word| word.try_into().expect("N bytes"))
}

/// Where the arrays differ by more than `tolerance`, relative to the element and a tenth of the largest.
fn complaint(got: &Array, expected: &Array, tolerance: f64) -> Option<String> {
    let (got, expected) = (got.to_f64(), expected.to_f64());
    if got.len() != expected.len() {
        return Some(format!(
            "{} elements instead of {}",
            got.len(),
            expected.len()
        ));
    }
    let largest = expected
        .iter()
        .fold(1e-3, |largest: f64, x| largest.max(x.abs()));
    got.iter()
        .zip(expected.iter())
        .enumerate()
        .find_map(|(i, (got, expected))| {
            let allowed = tolerance * (expected.abs() + 0.1 * largest);
            let fits = (got - expected).abs() <= allowed;
            (!fits).then(|| format!("element {i} is {got:e} instead of {expected:e}"))
        })
}

/// Calls `visit` with every case whose operation has a room.
fn each_case(mut visit: impl FnMut(&Case<'_>)) {
    let text = std::fs::read_to_string(folder().join("ops.json")).expect("the list of vectors");
    let list: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let mut checked = 0;
    for entry in &list {
        let op = entry["op"].as_str().expect("a name");
        if NO_ROOM.contains(&op) {
            continue;
        }
        let bytes =
            std::fs::read(folder().join(format!("ops/{op}.safetensors"))).expect("the vectors");
        let tensors = SafeTensors::deserialize(&bytes).expect("the vectors");
        let case = Case {
            entry,
            tensors: &tensors,
        };
        let (name, _) = case.operation();
        // The first of the largest over several axes is asked for along one axis only.
        let several_axes = name == "arg_max"
            && entry["attributes"]["axes"]
                .as_array()
                .is_some_and(|axes| axes.len() > 1);
        if several_axes {
            continue;
        }
        if !ROOMS.iter().any(|room| room.name == name) {
            assert!(TO_COME.contains(&op), "{op} has vectors, but no room");
            continue;
        }
        visit(&case);
        checked += 1;
    }
    assert!(checked > 150, "only {checked} cases were checked");
}

#[test]
fn the_reference_agrees_to_twelve_digits() {
    let mut complaints = Vec::new();
    let mut executor = Reference::new(1).expect("an executor");
    each_case(|case| complaints.extend(case.check(&mut executor, 1e-12)));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_cpu_agrees_to_five_digits() {
    let mut complaints = Vec::new();
    let mut executor = Cpu::new(2).expect("an executor");
    each_case(|case| complaints.extend(case.check(&mut executor, 1e-5)));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
