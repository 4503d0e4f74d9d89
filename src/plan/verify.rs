//! The invariant of a plan, checked once after it is made: no value is overwritten while it is alive.

use super::{Place, Plan, Step};
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use std::collections::HashMap;

/// Which value lies in each slot.
type Owners = HashMap<usize, ValueId>;

impl Plan {
    /// Follows who lies in each slot: whatever a step reads, and whatever is read after the last step, must still be
    /// there; no slot is read and written by one step, or written twice; every value fits into its slot.
    /// [`new`](Self::new) makes no plan that fails this.
    ///
    /// # Errors
    /// The step and the slot where it is not so.
    pub fn verify(&self) -> Result<()> {
        let graph = self.graph();
        let mut owners = Owners::new();
        for step in self.steps() {
            let place = |e: Error| {
                let name = graph.nodes()[step.node].name();
                e.within(format!("the step of node {} ({name})", step.node))
            };
            self.verify_step(step, &mut owners).map_err(place)?;
        }
        let results = graph.outputs().iter().map(|&(_, value)| value);
        let assigned = graph.assigns().iter().map(|&(_, value)| value);
        results
            .chain(assigned)
            .try_for_each(|value| self.verify_there(&owners, value))
    }

    fn verify_step(&self, step: &Step, owners: &mut Owners) -> Result<()> {
        let node = &self.graph().nodes()[step.node];
        let mut written: Vec<usize> = Vec::new();
        for (output, spec) in node.outputs.iter().enumerate() {
            let value = ValueId {
                node: step.node,
                output,
            };
            let Place::Slot(slot) = self.place(value) else {
                return Err(Error::shape(format!("output {output} lies in a leaf")));
            };
            let own = self.slots()[slot];
            if own.length < spec.shape.elements() || own.element != spec.element {
                return Err(Error::shape(format!(
                    "output {output} of shape {spec} does not fit into slot {slot}"
                )));
            }
            written.push(slot);
        }
        written.extend(step.scratch.iter().map(|&(slot, _)| slot));
        for (i, slot) in written.iter().enumerate() {
            if written[..i].contains(slot) {
                return Err(Error::shape(format!("slot {slot} is written twice")));
            }
        }
        for &input in &node.inputs {
            self.verify_there(owners, input)?;
            match self.place(input) {
                Place::Slot(slot) if written.contains(&slot) => {
                    let what = format!("slot {slot} is read and written at once");
                    return Err(Error::shape(what));
                }
                _ => {}
            }
        }
        for &(slot, length) in &step.scratch {
            if self.slots()[slot].length < length {
                let what = format!("scratch memory does not fit into slot {slot}");
                return Err(Error::shape(what));
            }
            owners.remove(&slot);
        }
        for (output, &slot) in written[..node.outputs.len()].iter().enumerate() {
            let node = step.node;
            owners.insert(slot, ValueId { node, output });
        }
        Ok(())
    }

    /// That a value is where its readers look for it.
    fn verify_there(&self, owners: &Owners, value: ValueId) -> Result<()> {
        let root = root(self.graph(), value);
        let is_there = match self.place(value) {
            Place::Leaf(node) => node == root.node,
            Place::Slot(slot) => owners.get(&slot) == Some(&root),
        };
        if is_there {
            return Ok(());
        }
        let ValueId { node, output } = value;
        Err(Error::shape(format!(
            "value %{node}.{output} is not where it is read, {:?}",
            self.place(value)
        )))
    }
}

/// The value whose numbers a value shows; deliberately not the function that slots are assigned with.
fn root(graph: &Graph, mut value: ValueId) -> ValueId {
    while let Some(alias) = graph.nodes()[value.node]
        .op()
        .and_then(|op| op.alias_of_input())
    {
        value = graph.nodes()[value.node].inputs[alias];
    }
    value
}

#[cfg(test)]
mod tests {
    use super::{Place, Plan};
    use crate::array::{Element, Spec};
    use crate::graph::{Graph, Target};
    use crate::plan::Slot;
    use crate::{Result, ops};
    use std::sync::Arc;

    /// x → relu → sigmoid → add of both.
    fn plan() -> Plan {
        let graph = Graph::record(|r| {
            let x = r.input("x", Spec::real([4]))?;
            let a = ops::relu(x)?;
            let b = ops::sigmoid(a)?;
            r.output("y", ops::add(a, b)?)
        });
        graph
            .and_then(|graph| Plan::new(Arc::new(graph), Target::Reference))
            .expect("it can be planned")
    }

    fn refused(spoil: impl Fn(&mut Plan)) -> String {
        let mut plan = plan();
        spoil(&mut plan);
        let refused: Result<()> = plan.verify();
        refused.expect_err("it is refused").to_string()
    }

    #[test]
    fn a_spoilt_plan_is_refused() {
        plan().verify().expect("nothing is wrong with it");
        let slot = |plan: &Plan, node: usize| plan.places[node][0];
        let written = refused(|plan| plan.places[2] = vec![slot(plan, 1)]);
        assert!(written.contains("read and written at once"), "{written}");
        // Scratch memory of the sigmoid where the relu's numbers still wait for the sum.
        let gone = refused(|plan| {
            plan.slots.push(Slot {
                element: Element::Real,
                length: 4,
            });
            let other = plan.slots.len() - 1;
            plan.places[2] = vec![Place::Slot(other)];
            plan.steps.swap(0, 1);
        });
        assert!(gone.contains("is not where it is read"), "{gone}");
        let short = refused(|plan| plan.slots[0].length = 3);
        assert!(short.contains("does not fit"), "{short}");
        let leaf = refused(|plan| plan.places[1] = vec![Place::Leaf(0)]);
        assert!(leaf.contains("lies in a leaf"), "{leaf}");
        let twice = refused(|plan| {
            let Place::Slot(slot) = slot(plan, 2) else {
                return;
            };
            plan.steps[1].scratch = vec![(slot, 4)];
        });
        assert!(twice.contains("written twice"), "{twice}");
    }
}
