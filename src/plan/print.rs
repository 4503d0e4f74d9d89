//! A plan as text: what runs in which order, where the values lie, and the totals.

use super::{Place, Plan};
use crate::graph::ValueId;
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.steps() {
            let node = &self.graph().nodes()[step.node];
            let cost = self.step_cost(step);
            let outputs = node.outputs.iter().enumerate().map(|(output, spec)| {
                let place = match self.place(ValueId {
                    node: step.node,
                    output,
                }) {
                    Place::Leaf(leaf) => format!("leaf {leaf}"),
                    Place::Slot(slot) => format!("slot {slot}"),
                };
                format!("{spec} in {place}")
            });
            let outputs: Vec<_> = outputs.collect();
            let (name, path) = (node.name(), &node.path);
            let (flops, read, written) = (cost.flops, cost.bytes_read, cost.bytes_written);
            let outputs = outputs.join(", ");
            writeln!(
                f,
                "%{:<5} {name:<24} {outputs:<48} {flops:>14} FLOP {read:>12} B in {written:>12} B out  {path}",
                step.node
            )?;
        }
        let cost = self.cost();
        writeln!(f, "steps            {}", self.steps().len())?;
        writeln!(f, "FLOPs            {}", cost.flops)?;
        writeln!(
            f,
            "bytes moved      {}",
            cost.bytes_read + cost.bytes_written
        )?;
        writeln!(
            f,
            "slots            {} ({} bytes)",
            self.slots().len(),
            self.slot_bytes()
        )?;
        writeln!(f, "leaves           {} bytes", self.leaf_bytes())?;
        writeln!(f, "peak             {} bytes", self.peak_bytes())
    }
}
