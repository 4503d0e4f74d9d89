//! `axenic inspect`: the layers of a network, or what a weight file holds.

mod layers;

use super::compute::Compute;
use super::network::{Configured, Network, Pass};
use super::{Outcome, inspect_file, show};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{AnyOp, Graph, LeafKind};
use crate::plan::Plan;
use crate::report::{Align, Table, count, scaled};
use layers::{Layer, layers};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Lists the layers of a network, or what a weight file holds.
///
/// Of a layer it says what it gives, its parameters and FLOPs, those of its parts included; of a weight file (.safetensors,
/// .pth) its tensors, its nesting, its metadata, and whether its digest matches.
///
/// Layers, FLOPs and activations are those of an inference. The planned peaks are those of `axenic plan`, in which values
/// share memory; the activations are what they would take if none did.
///
/// Example: axenic inspect resnet18 --batch 1 --size 224
#[derive(clap::Args)]
pub(super) struct Inspect {
    /// The model, the system, or a weight file of any origin
    #[arg(value_name = "MODEL|SYSTEM|FILE", value_parser = Subject::named)]
    subject: Subject,
    /// Images in a batch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    batch: u64,
    /// Height and width of the images; the network's own if left out
    #[arg(long)]
    size: Option<usize>,
    /// One setting of a system, as in share=2; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

/// What is inspected.
#[derive(Clone, Debug)]
enum Subject {
    Network(Network),
    File(PathBuf),
}

impl Subject {
    /// A network by its name, else a file; no network's name has a dot or a slash.
    fn named(text: &str) -> Result<Self> {
        match Network::named(text) {
            Err(_) if text.contains(['.', '/', '\\']) || Path::new(text).exists() => {
                Ok(Self::File(text.into()))
            }
            network => network.map(Self::Network),
        }
    }
}

/// A network by its layers.
#[derive(Serialize)]
struct Inspected {
    layers: Vec<Layer>,
    totals: Totals,
}

#[derive(Serialize)]
struct Totals {
    /// Numbers that a weight file holds for learning, those that take no part included.
    parameters: usize,
    /// Of these, those that learn.
    trainable: usize,
    /// Running statistics.
    states: usize,
    flops: u64,
    /// Of convolutions, matrix products and attention.
    multiply_adds: u64,
    input_bytes: u64,
    /// Of parameters and states.
    parameter_bytes: u64,
    /// Of everything that an inference computes from the images, each value with memory of its own.
    activation_bytes: u64,
    /// As above, each value with its gradient.
    activation_and_gradient_bytes: u64,
    /// The plan's, with memory used again.
    inference_peak_bytes: u64,
    training_peak_bytes: u64,
}

impl Inspect {
    pub(super) fn run(self) -> Result<Outcome> {
        let network = match &self.subject {
            Subject::File(path) => return inspect_file::inspect(path, self.json),
            Subject::Network(network) => *network,
        };
        let configured = network.configured(self.size, &self.settings)?;
        let inspected = self.inspect(&configured)?;
        if self.json {
            show::json(&inspected)?;
        } else {
            show::result(&inspected.text(&network.name()))?;
        }
        Ok(Outcome::Done)
    }

    fn inspect(&self, configured: &Configured) -> Result<Inspected> {
        let batch = self.batch as usize;
        let target = self.compute.executor()?.target();
        let plan = |graph: &Graph| Plan::new(Arc::new(self.compute.graph(graph)), target);
        // As recorded: where it runs, layers are joined.
        let inference = configured.graph(Pass::Inference, batch)?;
        let training = configured.graph(Pass::TrainingStep, batch)?;
        let totals = Totals {
            inference_peak_bytes: plan(&inference)?.peak_bytes(),
            training_peak_bytes: plan(&training)?.peak_bytes(),
            ..totals(&inference)
        };
        Ok(Inspected {
            layers: layers(&inference),
            totals,
        })
    }
}

/// What a graph has, without its plans' peaks.
fn totals(graph: &Graph) -> Totals {
    let elements = |is_counted: fn(&LeafKind) -> bool| -> usize {
        let leaves = graph.leaves().filter(|(_, leaf, _)| is_counted(&leaf.kind));
        leaves.map(|(_, _, spec)| spec.shape.elements()).sum()
    };
    let travelling = graph.travelling().iter();
    let travelling: usize = travelling.map(|(_, spec)| spec.shape.elements()).sum();
    let trainable = elements(|kind| matches!(kind, LeafKind::Parameter(_)));
    let states = elements(|kind| matches!(kind, LeafKind::State(_)));
    let inputs = elements(|kind| matches!(kind, LeafKind::Input));
    let (mut flops, mut products, mut activations) = (0, 0, 0);
    let is_of_images = of_images(graph);
    for (i, node) in graph.nodes().iter().enumerate() {
        let Some(op) = node.op().filter(|op| op.alias_of_input().is_none()) else {
            continue;
        };
        let inputs = graph.input_specs(i);
        let own = op.cost(&inputs).flops;
        flops += own;
        products += multiply_adds(op, &inputs);
        if is_of_images[i] {
            let elements = node.outputs.iter().map(|spec| spec.shape.elements());
            activations += elements.sum::<usize>();
        }
    }
    let bytes = |elements: usize| 4 * elements as u64;
    Totals {
        parameters: trainable + travelling,
        trainable,
        states,
        flops,
        multiply_adds: products,
        input_bytes: bytes(inputs),
        parameter_bytes: bytes(trainable + travelling + states),
        activation_bytes: bytes(activations),
        activation_and_gradient_bytes: bytes(2 * activations),
        inference_peak_bytes: 0,
        training_peak_bytes: 0,
    }
}

/// Which nodes depend on an input; the others are parameters, or made of parameters alone.
fn of_images(graph: &Graph) -> Vec<bool> {
    let mut is_of_images = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        let own = match node.leaf() {
            Some(leaf) => matches!(leaf.kind, LeafKind::Input),
            None => node.inputs.iter().any(|input| is_of_images[input.node]),
        };
        is_of_images.push(own);
    }
    is_of_images
}

/// The products of an operation, each with its sum; of attention those of queries with keys and of weights with values.
fn multiply_adds(op: &dyn AnyOp, inputs: &[Spec]) -> u64 {
    match (op.name(), inputs) {
        // A bias that may follow is added only.
        ("conv2d" | "matmul", [a, b, ..]) => op.cost(&[*a, *b]).flops / 2,
        ("attention", [q, k, ..]) => 2 * (q.shape.elements() * k.shape[1]) as u64,
        _ => 0,
    }
}

impl Inspected {
    fn text(&self, name: &str) -> String {
        let mut align = vec![Align::Left; 3];
        align.extend([Align::Right; 2]);
        let mut table = Table::new(align);
        table.row(["layer", "operations", "output", "parameters", "FLOPs"]);
        for layer in &self.layers {
            let own = layer.path.rsplit('.').next().filter(|own| !own.is_empty());
            let output = layer.output.as_ref().map(|shape| format!("{shape:?}"));
            table.row([
                format!("{}{}", "  ".repeat(layer.depth), own.unwrap_or(name)),
                layer.operations.join(" "),
                output.unwrap_or_default(),
                some(layer.parameters),
                some(layer.flops as usize),
            ]);
        }
        format!("{}\n{}", table.render(0), self.totals.text())
    }
}

/// A count, nothing if it is none.
fn some(number: usize) -> String {
    match number {
        0 => String::new(),
        number => count(number),
    }
}

impl Totals {
    fn text(&self) -> String {
        let mut table = Table::new(vec![Align::Left, Align::Right, Align::Right]);
        let mut row = |what: &str, number: usize, short: String| {
            table.row([what.to_string(), count(number), short]);
        };
        for (what, number, unit) in [
            ("parameters", self.parameters, ""),
            ("trainable parameters", self.trainable, ""),
            ("running statistics", self.states, ""),
            ("FLOPs", self.flops as usize, "FLOP"),
            ("multiply-adds", self.multiply_adds as usize, ""),
        ] {
            row(what, number, scaled(number as f64, unit));
        }
        for (what, bytes) in [
            ("input", self.input_bytes),
            ("parameters and statistics", self.parameter_bytes),
            ("activations, forward", self.activation_bytes),
            (
                "activations, forward and backward",
                self.activation_and_gradient_bytes,
            ),
            ("planned peak of an inference", self.inference_peak_bytes),
            ("planned peak of a training step", self.training_peak_bytes),
        ] {
            let mebibytes = bytes as f64 / f64::from(1 << 20);
            row(what, bytes as usize, format!("{mebibytes:.1} MiB"));
        }
        table.render(0)
    }
}
