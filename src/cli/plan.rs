//! `axenic plan`: the totals and the memory of a graph, before anything runs.

use super::compute::Compute;
use super::network::{Network, Pass, Tuning};
use super::{Outcome, show};
use crate::array::{Element, Spec};
use crate::error::Result;
use crate::graph::ValueId;
use crate::plan::{Place, Plan as MemoryPlan, Step};
use serde::Serialize;
use std::sync::Arc;

/// Prints a graph's totals and memory plan.
///
/// Example: axenic plan resnet50 --batch 64 --size 224 --train
#[derive(clap::Args)]
pub(super) struct Plan {
    /// The system or model
    #[arg(value_name = "SYSTEM|MODEL", value_parser = Network::named)]
    network: Network,
    /// Images in a batch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    batch: u64,
    /// Height and width of the images; the network's own if left out
    #[arg(long)]
    size: Option<usize>,
    /// The whole training step instead of an inference
    #[arg(long)]
    train: bool,
    /// One setting of a system, as in share=2; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Every step, not only the totals
    #[arg(long)]
    steps: bool,
    #[command(flatten)]
    tuning: Tuning,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Serialize)]
struct Totals {
    steps: usize,
    parameters: usize,
    flops: u64,
    bytes_moved: u64,
    slots: usize,
    slot_bytes: u64,
    leaf_bytes: u64,
    kept_bytes: u64,
    peak_bytes: u64,
    graph_sha256: String,
    /// With `--steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Vec<StepRow>>,
}

/// A step of the plan.
#[derive(Serialize)]
struct StepRow {
    node: usize,
    operation: String,
    path: String,
    outputs: Vec<Output>,
    flops: u64,
    bytes_read: u64,
    bytes_written: u64,
}

/// A value that a step computes, and where it lies: in a slot, or in a parameter's or state's own memory.
#[derive(Serialize)]
struct Output {
    shape: Vec<usize>,
    #[serde(rename = "type")]
    element: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf: Option<usize>,
}

impl Plan {
    pub(super) fn run(self) -> Result<Outcome> {
        let pass = Pass::new(self.train);
        let configured = self.network.configured(self.size, &self.settings)?;
        let configured = configured.tuned(self.tuning, pass)?;
        let configured = configured.in_precision(self.compute.precision());
        let graph = configured.graph(pass, self.batch as usize)?;
        let target = self.compute.executor()?.target();
        let plan = MemoryPlan::new(Arc::new(self.compute.graph(&graph)), target)?;
        if self.steps && !self.json {
            show::result(&plan.to_string())?;
            return Ok(Outcome::Done);
        }
        let mut totals = totals(&plan);
        if self.json {
            totals.order = self.steps.then(|| order(&plan));
            show::json(&totals)?;
            return Ok(Outcome::Done);
        }
        let row = |name: &str, value: String| vec![name.to_string(), value];
        let bytes = |n: u64| format!("{n} ({:.1} MiB)", n as f64 / f64::from(1 << 20));
        show::result(&show::table(&[
            row("steps", totals.steps.to_string()),
            row("parameters", totals.parameters.to_string()),
            row(
                "FLOPs",
                format!("{} ({:.2} GFLOP)", totals.flops, totals.flops as f64 / 1e9),
            ),
            row("bytes moved", bytes(totals.bytes_moved)),
            row(
                "slots",
                format!("{} of {}", totals.slots, bytes(totals.slot_bytes)),
            ),
            row("inputs, parameters, states", bytes(totals.leaf_bytes)),
            row("computed of parameters, kept", bytes(totals.kept_bytes)),
            row("peak", bytes(totals.peak_bytes)),
            row("graph SHA-256", totals.graph_sha256),
        ]))?;
        Ok(Outcome::Done)
    }
}

fn totals(plan: &MemoryPlan) -> Totals {
    let cost = plan.cost();
    Totals {
        steps: plan.steps().len(),
        parameters: plan
            .graph()
            .parameters()
            .map(|(_, spec)| spec.shape.elements())
            .sum(),
        flops: cost.flops,
        bytes_moved: cost.bytes_read + cost.bytes_written,
        slots: plan.slots().len(),
        slot_bytes: plan.slot_bytes(),
        leaf_bytes: plan.leaf_bytes(),
        kept_bytes: plan.kept_bytes(),
        peak_bytes: plan.peak_bytes(),
        graph_sha256: plan.graph().digest(),
        order: None,
    }
}

fn order(plan: &MemoryPlan) -> Vec<StepRow> {
    let row = |step: &Step| {
        let node = &plan.graph().nodes()[step.node];
        let cost = plan.step_cost(step);
        let output = |(output, spec): (usize, &Spec)| {
            let place = plan.place(ValueId {
                node: step.node,
                output,
            });
            Output {
                shape: spec.shape.to_vec(),
                element: match spec.element {
                    Element::Real => "real",
                    Element::Index => "u32",
                },
                slot: match place {
                    Place::Slot(slot) => Some(slot),
                    Place::Leaf(_) => None,
                },
                leaf: match place {
                    Place::Leaf(leaf) => Some(leaf),
                    Place::Slot(_) => None,
                },
            }
        };
        StepRow {
            node: step.node,
            operation: node.name().to_string(),
            path: node.path.to_string(),
            outputs: node.outputs.iter().enumerate().map(output).collect(),
            flops: cost.flops,
            bytes_read: cost.bytes_read,
            bytes_written: cost.bytes_written,
        }
    };
    plan.steps().iter().map(row).collect()
}
