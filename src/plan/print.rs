//! A plan as text: what runs in which order, where the values lie, and the totals.

use super::{Place, Plan};
use crate::graph::{Storage, ValueId};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.steps() {
            let node = &self.graph().nodes()[step.node];
            let cost = self.step_cost(step);
            let outputs = node.outputs.iter().enumerate().map(|(output, spec)| {
                let node = step.node;
                let value = ValueId { node, output };
                let half = match self.storage(value) {
                    Storage::Full => "",
                    Storage::Half => " as f16",
                };
                let place = match self.place(value) {
                    Place::Leaf(leaf) => format!("leaf {leaf}"),
                    Place::Slot(slot) => format!("slot {slot}"),
                };
                format!("{spec}{half} in {place}")
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
        let casts: usize = self.steps().iter().map(|step| step.casts.len()).sum();
        writeln!(f, "steps            {}", self.steps().len())?;
        if casts > 0 {
            writeln!(f, "casts            {casts}")?;
        }
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
        if self.kept_bytes() > 0 {
            writeln!(f, "kept             {} bytes", self.kept_bytes())?;
        }
        writeln!(f, "peak             {} bytes", self.peak_bytes())
    }
}
