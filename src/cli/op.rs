//! `axenic op`: one operation on given numbers.

use super::compute::Compute;
use super::{Outcome, show};
use crate::array::Array;
use crate::conformance::record_alone;
use crate::error::{Error, Result};
use crate::graph::{Attributes, Graph};
use crate::ops::{self, Room};
use crate::train::{Files, Weights};
use std::path::PathBuf;

/// Runs one operation on the numbers of a file and writes the results to another.
///
/// X holds the inputs as `0`, `1`, … (indices may be i64); Y receives `y`, or `y.0`, `y.1`, … where there are several
/// outputs. With --gradients X also holds the cotangents `dy` (or `dy.0`, …; one that is left out counts as zero), and Y
/// receives `grad.0`, `grad.1`, … for the inputs that a gradient reaches. `axenic ops` lists operations and attributes.
///
/// Example: axenic op conv2d --attr stride=2 --attr padding=1,1 --input X.safetensors --output Y.safetensors --gradients
#[derive(clap::Args)]
pub(super) struct Op {
    /// The operation
    name: String,
    /// One attribute, as in axis=1 or stride=2,2; may be repeated
    #[arg(long = "attr", value_name = "KEY=VALUE")]
    attributes: Vec<String>,
    /// The numbers that go in (safetensors)
    #[arg(long)]
    input: PathBuf,
    /// Where the results go (safetensors)
    #[arg(long)]
    output: PathBuf,
    /// Gradients too
    #[arg(long)]
    gradients: bool,
    #[command(flatten)]
    compute: Compute,
}

impl Op {
    pub(super) fn run(self) -> Result<Outcome> {
        let room = ops::room(&self.name)?;
        let attributes = self
            .attributes
            .iter()
            .try_fold(Attributes::none(), |all, text| all.parse(text))?;
        let given = Weights::load(&self.input)?;
        let inputs = self
            .numbers(room, &given)
            .map_err(|e| e.within(self.input.display()))?;
        let mut runner = self.compute.runner()?;
        runner.prepare("op", 0, || {
            Graph::record(|r| record_alone(r, room.build(&attributes)?, &inputs))
        })?;
        let named: Vec<(&str, &Array)> = inputs
            .iter()
            .map(|(name, array)| (name.as_str(), array))
            .collect();
        let tensors = runner.run("op", 0, &named)?.into_inner();
        let results = Weights {
            tensors: tensors.into_iter().collect(),
            ..Weights::default()
        };
        Files::default().write(&self.output, &results.to_bytes()?)?;
        show::note(&format!(
            "wrote {} on {}",
            self.output.display(),
            runner.description()
        ));
        Ok(Outcome::Done)
    }

    /// The tensors of the file, in the order of the operation's inputs, then the cotangents.
    fn numbers(&self, room: &Room, given: &Weights) -> Result<Vec<(String, Array)>> {
        let count = (0..)
            .take_while(|i| given.tensors.contains_key(&i.to_string()))
            .count();
        let is_input = |name: &str| name.parse::<usize>().is_ok_and(|i| i < count);
        let is_cotangent = |name: &str| {
            let index = name.strip_prefix("dy.").map(str::parse::<usize>);
            self.gradients && (name == "dy" || matches!(index, Some(Ok(_))))
        };
        let stranger = |name: &&String| !is_input(name) && !is_cotangent(name);
        if let Some(name) = given.tensors.keys().find(stranger) {
            return Err(Error::input(format!(
                "the tensor {name:?} is none of {}'s: inputs are named 0, 1, … without a gap ({}){}",
                room.name,
                room.inputs.join(", "),
                if self.gradients {
                    ", cotangents dy or dy.0, dy.1, …"
                } else {
                    ""
                }
            )));
        }
        let input = |i: usize| i.to_string();
        let cotangents = given
            .tensors
            .keys()
            .filter(|name| is_cotangent(name))
            .cloned();
        let names: Vec<String> = (0..count).map(input).chain(cotangents).collect();
        if self.gradients && names.len() == count {
            return Err(Error::input(
                "gradients need the cotangent `dy` (or `dy.0`, … where there are several outputs)",
            ));
        }
        Ok(names
            .into_iter()
            .map(|name| (name.clone(), given.tensors[&name].clone()))
            .collect())
    }
}
