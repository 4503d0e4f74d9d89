//! The invariant of a plan, checked once after it is made: no value is overwritten while it is alive.

use super::{Place, Plan, Step};
use crate::array::Element;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use std::collections::HashMap;

/// What lies in each slot.
type Owners = HashMap<usize, Held>;

/// What lies in a slot.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    Value(ValueId),
    /// The copy of a value in the other storage.
    Cast(ValueId),
}

impl Plan {
    /// Follows who lies in each slot: whatever a step reads, and whatever is read after the last step, must still be
    /// there, in the storage it is read in; no slot is read and written by one step, or written twice; every value fits
    /// into its slot.
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
            .try_for_each(|value| self.verify_there(&owners, value, self.place(value)))
    }

    fn verify_step(&self, step: &Step, owners: &mut Owners) -> Result<()> {
        let node = &self.graph().nodes()[step.node];
        for &value in &step.casts {
            self.verify_there(owners, value, self.place(value))?;
            let (copy, words) = self.cast(value);
            let slot = self.verify_fits(copy, words, Element::Real, "the copy of a value")?;
            if self.place(value) == copy {
                let what = format!("slot {slot} is read and written at once");
                return Err(Error::shape(what));
            }
            owners.insert(slot, Held::Cast(root(self.graph(), value)));
        }
        let mut written: Vec<usize> = Vec::new();
        for (output, spec) in node.outputs.iter().enumerate() {
            let value = ValueId {
                node: step.node,
                output,
            };
            let what = format!("output {output} of shape {spec}");
            let (place, words) = (self.place(value), self.words(value));
            written.push(self.verify_fits(place, words, spec.element, &what)?);
        }
        written.extend(step.scratch.iter().map(|&(slot, _)| slot));
        for (i, slot) in written.iter().enumerate() {
            if written[..i].contains(slot) {
                return Err(Error::shape(format!("slot {slot} is written twice")));
            }
        }
        for (input, &value) in node.inputs.iter().enumerate() {
            let (place, _) = self.operand(step.node, input);
            self.verify_there(owners, value, place)?;
            match place {
                Place::Slot(slot) if written.contains(&slot) => {
                    let what = format!("slot {slot} is read and written at once");
                    return Err(Error::shape(what));
                }
                _ => {}
            }
        }
        for &(slot, length) in &step.scratch {
            self.verify_fits(Place::Slot(slot), length, Element::Real, "scratch memory")?;
            owners.remove(&slot);
        }
        for (output, &slot) in written[..node.outputs.len()].iter().enumerate() {
            let node = step.node;
            owners.insert(slot, Held::Value(ValueId { node, output }));
        }
        Ok(())
    }

    /// The slot of something that is written there, which is large enough.
    fn verify_fits(
        &self,
        place: Place,
        words: usize,
        element: Element,
        what: &str,
    ) -> Result<usize> {
        let Place::Slot(slot) = place else {
            return Err(Error::shape(format!("{what} lies in a leaf")));
        };
        let own = self.slots()[slot];
        if own.length < words || own.element != element {
            let what = format!("{what} does not fit into slot {slot}");
            return Err(Error::shape(what));
        }
        Ok(slot)
    }

    /// That a value, or its copy if that is what lies elsewhere, is where its readers look for it.
    fn verify_there(&self, owners: &Owners, value: ValueId, place: Place) -> Result<()> {
        let root = root(self.graph(), value);
        let held = match place == self.place(value) {
            true => Held::Value(root),
            false => Held::Cast(root),
        };
        let is_there = match place {
            Place::Leaf(node) => node == root.node,
            Place::Slot(slot) => owners.get(&slot) == Some(&held),
        };
        if is_there {
            return Ok(());
        }
        let ValueId { node, output } = value;
        Err(Error::shape(format!(
            "value %{node}.{output} is not where it is read, {place:?}"
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
