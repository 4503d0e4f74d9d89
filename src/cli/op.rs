//! `axenic op`: one operation on given numbers.

use super::compute::Compute;
use super::{Outcome, show};
use crate::array::{Array, Element};
use crate::autodiff;
use crate::error::{Error, Result};
use crate::graph::{Attributes, Graph, Recorder, Tensor};
use crate::ops::{self, Room};
use crate::train::{Files, Weights};
use std::collections::BTreeMap;
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
            Graph::record(|r| self.record(r, room, &attributes, &inputs))
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
        Ok(names
            .into_iter()
            .map(|name| (name.clone(), given.tensors[&name].clone()))
            .collect())
    }

    /// The operation and, if asked for, its gradients.
    fn record(
        &self,
        r: &Recorder,
        room: &Room,
        attributes: &Attributes,
        numbers: &[(String, Array)],
    ) -> Result<()> {
        let mut declared: BTreeMap<&str, Tensor> = BTreeMap::new();
        for (name, array) in numbers {
            declared.insert(name, r.input(name, array.spec())?);
        }
        let inputs: Vec<Tensor> = (0..)
            .map_while(|i| declared.get(i.to_string().as_str()).copied())
            .collect();
        let outputs = r.apply_any(room.build(attributes)?, &inputs)?;
        let suffix = |i: usize| match outputs.len() {
            1 => String::new(),
            _ => format!(".{i}"),
        };
        for (i, output) in outputs.iter().enumerate() {
            r.output(&format!("y{}", suffix(i)), *output)?;
        }
        if !self.gradients {
            return Ok(());
        }
        let mut pairs = Vec::new();
        for (i, output) in outputs.iter().enumerate() {
            if let Some(cotangent) = declared.remove(format!("dy{}", suffix(i)).as_str()) {
                pairs.push((*output, cotangent));
            }
        }
        if let Some((name, _)) = declared
            .into_iter()
            .find(|(name, _)| name.starts_with("dy"))
        {
            return Err(Error::input(format!(
                "{} has no output for the cotangent {name:?}",
                room.name
            )));
        }
        if pairs.is_empty() {
            return Err(Error::input(format!(
                "gradients need the cotangent `dy{}`",
                suffix(0)
            )));
        }
        let reals =
            |(i, input): (usize, &Tensor)| (input.spec().element == Element::Real).then_some(i);
        let targets: Vec<usize> = inputs.iter().enumerate().filter_map(reals).collect();
        let tensors: Vec<Tensor> = targets.iter().map(|&i| inputs[i]).collect();
        let gradients = autodiff::vector_jacobian(&pairs, &tensors)?;
        for (i, gradient) in targets.into_iter().zip(gradients) {
            if let Some(gradient) = gradient {
                r.output(&format!("grad.{i}"), gradient)?;
            }
        }
        Ok(())
    }
}
