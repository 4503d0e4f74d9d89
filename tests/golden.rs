//! Every operation for which `tests/golden` holds vectors, against them: values and gradients that another framework
//! computed in f64 (`make_golden.py` says how). The reference must agree to twelve digits, the cpu to five.
#![cfg(feature = "cli")]

use axenic::array::{Array, Numbers};
use axenic::autodiff;
use axenic::exec::{Cpu, Executor, Reference};
use axenic::graph::{Attributes, Graph, Init, LeafKind, Tensor};
use axenic::nn::{Bias, Conv1d, Padding, conv1d};
use axenic::ops::{self, AdamW, Nesterov, Sgd, Statistics, room};
use axenic::plan::Plan;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

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

    fn has(&self, name: &str) -> bool {
        self.tensors
            .tensor(&format!("case{}.{name}", self.count("case")))
            .is_ok()
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
            "adaptive_avg_pool2d" => "avg_pool2d",
            "adaptive_max_pool2d" => "max_pool2d",
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
                    (_, key, Value::String(word)) => attributes.with(key, word.as_str()),
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

    fn float(&self, key: &str) -> f64 {
        self.entry["attributes"][key].as_f64().expect("a number")
    }

    /// Records what the case is about: one operation, or the few that make up a layer or a step.
    fn record<'g>(&self, inputs: &[Tensor<'g>]) -> axenic::Result<Vec<Tensor<'g>>> {
        match (self.text("op"), inputs) {
            ("batch_norm_training", &[x, weight, bias, mean, variance]) => {
                let (own_mean, own_variance) = ops::batch_statistics(x)?;
                let (eps, momentum) = (self.float("eps"), self.float("momentum"));
                let n = (x.shape().elements() / x.shape()[1]) as f64;
                Ok(vec![
                    ops::batch_norm(
                        x,
                        own_mean,
                        own_variance,
                        weight,
                        bias,
                        eps,
                        Statistics::Batch,
                    )?,
                    own_mean,
                    own_variance,
                    ops::running_update(mean, own_mean, momentum, 1.0)?,
                    ops::running_update(variance, own_variance, momentum, n / (n - 1.0))?,
                ])
            }
            ("batch_norm_inference", &[x, weight, bias, mean, variance]) => {
                let eps = self.float("eps");
                Ok(vec![ops::batch_norm(
                    x,
                    mean,
                    variance,
                    weight,
                    bias,
                    eps,
                    Statistics::Running,
                )?])
            }
            ("clip_grad_norm", gradients) => {
                // The vectors end with the norm, which the factor keeps to itself.
                let zero = ops::fill(inputs[0].recorder(), [], 0.0)?;
                let add =
                    |total, &gradient: &Tensor<'g>| ops::accumulate_square_sum(total, gradient);
                let total = gradients.iter().try_fold(zero, add)?;
                let factor = ops::clip_factor(total, self.float("max_norm"))?;
                gradients
                    .iter()
                    .map(|&gradient| ops::mul(gradient, factor))
                    .collect()
            }
            ("sgd", &[parameter, ref gradients @ ..]) => self.record_steps(parameter, gradients),
            ("adamw", &[parameter, ref gradients @ ..]) => self.record_adamw(parameter, gradients),
            ("ema", values) => {
                let mut average = ops::fill(values[0].recorder(), values[0].shape(), 0.0)?;
                let step = |(i, &value): (usize, &Tensor<'g>)| {
                    let count = ops::fill(value.recorder(), [], i as f64)?;
                    average = ops::ema(average, value, count, self.float("decay"))?;
                    Ok(average)
                };
                values.iter().enumerate().map(step).collect()
            }
            ("conv1d", &[x, ref parameters @ ..]) => Ok(vec![self.record_conv1d(x, parameters)?]),
            (_, inputs) => {
                let (name, attributes) = self.operation();
                let op = room(name).and_then(|room| room.build(&attributes))?;
                let outputs = inputs[0].recorder().apply_any(op, inputs)?;
                // Some operations give more than the other framework's: indices beside maxima.
                Ok(outputs[..self.count("outputs")].to_vec())
            }
        }
    }

    /// The layer, whose parameters are declared and given the vectors' values before.
    fn record_conv1d<'g>(
        &self,
        x: Tensor<'g>,
        parameters: &[Tensor<'g>],
    ) -> axenic::Result<Tensor<'g>> {
        let case = self.count("case");
        let scope = x.recorder().scope().name(format!("conv{case}"));
        for (name, &value) in ["weight", "bias"].into_iter().zip(parameters) {
            scope.parameter(name, value.shape(), Init::Constant(0.0))?;
            scope.assign(name, value)?;
        }
        let attributes = &self.entry["attributes"];
        let number = |key: &str| attributes[key].as_u64().map(|n| n as usize);
        let count = |key: &str| number(key).expect("a whole number");
        let weight = parameters[0].shape();
        let settings = Conv1d {
            out_channels: weight[0],
            kernel_size: weight[2],
            stride: count("stride"),
            padding: number("padding").map_or(Padding::Causal, Padding::Both),
            dilation: count("dilation"),
            groups: count("groups"),
            bias: if parameters.len() == 2 {
                Bias::Yes
            } else {
                Bias::No
            },
        };
        conv1d(&scope.shared(), x, settings)
    }

    fn record_steps<'g>(
        &self,
        mut parameter: Tensor<'g>,
        gradients: &[Tensor<'g>],
    ) -> axenic::Result<Vec<Tensor<'g>>> {
        let attributes = &self.entry["attributes"];
        let settings = Sgd {
            momentum: self.float("momentum"),
            weight_decay: self.float("weight_decay"),
            nesterov: if attributes["nesterov"] == true {
                Nesterov::Yes
            } else {
                Nesterov::No
            },
        };
        let r = parameter.recorder();
        let mut momentum = ops::fill(r, parameter.shape(), 0.0)?;
        let mut outputs = Vec::new();
        for (i, &gradient) in gradients.iter().enumerate() {
            let rate = attributes["learning_rates"][i].as_f64().expect("a rate");
            let (rate, scale) = (ops::fill(r, [], rate)?, ops::fill(r, [], 1.0)?);
            (parameter, momentum) =
                ops::sgd(parameter, gradient, momentum, rate, scale, settings.clone())?;
            outputs.extend([parameter, momentum]);
        }
        Ok(outputs)
    }

    fn record_adamw<'g>(
        &self,
        mut parameter: Tensor<'g>,
        gradients: &[Tensor<'g>],
    ) -> axenic::Result<Vec<Tensor<'g>>> {
        let settings = AdamW {
            first_beta: self.float("first_beta"),
            second_beta: self.float("second_beta"),
            eps: self.float("eps"),
            weight_decay: self.float("weight_decay"),
        };
        let r = parameter.recorder();
        let mut moments = [ops::fill(r, parameter.shape(), 0.0)?; 2];
        let mut outputs = Vec::new();
        for (i, &gradient) in gradients.iter().enumerate() {
            let rate = self.entry["attributes"]["learning_rates"][i].as_f64();
            let schedule = r.constant([rate.expect("a rate"), 1.0, (i + 1) as f64]);
            let new = ops::adamw(parameter, gradient, moments, schedule, settings)?;
            (parameter, moments) = (new[0], [new[1], new[2]]);
            outputs.extend(new);
        }
        Ok(outputs)
    }

    /// The graph of the case: `output.0`, …, and `grad.i` for every input that has one.
    fn graph(&self) -> axenic::Result<Graph> {
        let constants = self.arrays("input", self.count("inputs"));
        let list = self.entry["grads"].as_array().expect("a list");
        let grads: Vec<usize> = list
            .iter()
            .map(|i| i.as_u64().expect("an input") as usize)
            .collect();
        Graph::record(|r| {
            let inputs: Vec<Tensor> = constants.iter().map(|x| r.constant(x.clone())).collect();
            let outputs = self.record(&inputs)?;
            let mut pairs = Vec::new();
            for (i, &output) in outputs.iter().enumerate() {
                r.output(&format!("output.{i}"), output)?;
                let cotangent = format!("cotangent.{i}");
                if self.has(&cotangent) && !grads.is_empty() {
                    pairs.push((output, r.constant(self.array(&cotangent))));
                }
            }
            let targets: Vec<Tensor> = grads.iter().map(|&i| inputs[i]).collect();
            for (i, gradient) in grads
                .iter()
                .zip(autodiff::vector_jacobian(&pairs, &targets)?)
            {
                r.output(&format!("grad.{i}"), gradient.expect("a gradient arrives"))?;
            }
            Ok(())
        })
    }

    /// Computes outputs and gradients and compares all with the vectors.
    fn check(&self, executor: &mut dyn Executor, tolerance: f64) -> Vec<String> {
        let graph = self.graph().expect("it records");
        let names: Vec<String> = graph
            .outputs()
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let graph = Arc::new(graph);
        let plan = Plan::new(graph.clone(), executor.target()).expect("a plan");
        let plan = executor.prepare(Arc::new(plan)).expect("it prepares");
        for (_, leaf, spec) in graph.leaves() {
            if let LeafKind::Parameter(_) = leaf.kind {
                let before = Array::zeros(spec);
                executor.write(&leaf.name, before).expect("it is known");
            }
        }
        let got = executor.run(plan, &[], None).expect("it runs");
        let place = format!("{} {}", self.text("op"), self.entry["attributes"]);
        let number = self.count("case");
        let compare = |(what, got): (&String, Array)| {
            let complaint = complaint(&got, &self.array(what), tolerance)?;
            Some(format!("{place}, case {number}, {what}: {complaint}"))
        };
        names.iter().zip(got).filter_map(compare).collect()
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

/// Calls `visit` with every case.
fn each_case(mut visit: impl FnMut(&Case<'_>)) {
    let text = std::fs::read_to_string(folder().join("ops.json")).expect("the list of vectors");
    let list: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let mut checked = 0;
    for entry in &list {
        let op = entry["op"].as_str().expect("a name");
        let bytes =
            std::fs::read(folder().join(format!("ops/{op}.safetensors"))).expect("the vectors");
        let tensors = SafeTensors::deserialize(&bytes).expect("the vectors");
        let case = Case {
            entry,
            tensors: &tensors,
        };
        // The first of the largest over several axes is asked for along one axis only.
        let several_axes = op == "argmax"
            && entry["attributes"]["axes"]
                .as_array()
                .is_some_and(|axes| axes.len() > 1);
        if several_axes {
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
