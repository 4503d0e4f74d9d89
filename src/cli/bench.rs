//! `axenic bench`: the speed of a step.

use super::compute::Compute;
use super::{Outcome, System, show};
use crate::array::Array;
use crate::error::Result;
use crate::graph::Graph;
use crate::rng::Stream;
use crate::systems::ife::config::{Config, Preset};
use crate::systems::ife::graphs::{inference, training_step};
use crate::systems::ife::model::{HEAVY_CLASSES, LIGHT_CLASSES};
use crate::train::Weights;
use serde::Serialize;
use std::time::Instant;

/// Measures the median time of a training step (forward, backward, update) or of an inference, after a warm-up.
///
/// Example: axenic bench ife --batch 16 --size 224 --train --steps 10
#[derive(clap::Args)]
pub(super) struct Bench {
    /// The system
    system: System,
    /// Images in a batch
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    batch: u64,
    /// Height and width of the images
    #[arg(long, default_value_t = 224)]
    size: usize,
    /// A whole training step (the default)
    #[arg(long, conflicts_with = "infer")]
    train: bool,
    /// An inference
    #[arg(long)]
    infer: bool,
    /// Steps to measure
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    steps: u64,
    /// Where weights and inputs come from
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// One setting, as in width=16; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Serialize)]
struct Measured {
    seconds_per_step: f64,
    images_per_second: f64,
    gflops: f64,
    peak_bytes: u64,
    device: String,
}

impl Bench {
    pub(super) fn run(self) -> Result<Outcome> {
        let System::Ife = self.system;
        let mut config = Preset::Paper
            .config()
            .with(&format!("model.size={}", self.size))?;
        for setting in &self.settings {
            config = config.with(setting)?;
        }
        let measured = self.measure(&config)?;
        if self.json {
            show::json(&measured)?;
            return Ok(Outcome::Done);
        }
        let row = |name: &str, value: String| vec![name.to_string(), value];
        show::result(&show::table(&[
            row(
                "seconds per step",
                format!("{:.4}", measured.seconds_per_step),
            ),
            row(
                "images per second",
                format!("{:.2}", measured.images_per_second),
            ),
            row("GFLOP/s", format!("{:.1}", measured.gflops)),
            row("peak memory", format!("{} MiB", measured.peak_bytes >> 20)),
            row("device", measured.device),
        ]))?;
        Ok(Outcome::Done)
    }

    fn measure(&self, config: &Config) -> Result<Measured> {
        let batch = self.batch as usize;
        let mut runner = self.compute.runner()?;
        let record = || -> Result<Graph> {
            if self.infer {
                inference(&config.model, batch)
            } else {
                training_step(config, batch)
            }
        };
        let graph = runner.prepare("bench", batch, record)?;
        runner.set_weights(&graph, &Weights::initial(&graph, self.seed)?)?;
        let inputs = self.inputs(config, batch)?;
        let named: Vec<(&str, &Array)> =
            inputs.iter().map(|(name, array)| (*name, array)).collect();
        runner.run("bench", batch, &named)?;
        let mut seconds = Vec::new();
        for _ in 0..self.steps {
            let begin = Instant::now();
            runner.run("bench", batch, &named)?;
            seconds.push(begin.elapsed().as_secs_f64());
        }
        let median = median(&mut seconds);
        let flops = runner.flops("bench", batch);
        Ok(Measured {
            seconds_per_step: median,
            images_per_second: batch as f64 / median,
            gflops: flops as f64 / median / 1e9,
            peak_bytes: runner.peak_bytes(),
            device: runner.description(),
        })
    }

    /// Random images and labels.
    fn inputs(&self, config: &Config, batch: usize) -> Result<Vec<(&'static str, Array)>> {
        let size = config.model.size;
        let mut stream = Stream::new(self.seed, "bench", 0, 0);
        let pixels: Vec<f32> = (0..batch * 3 * size * size)
            .map(|_| stream.range(-1.0, 1.0) as f32)
            .collect();
        let mut inputs = vec![("x", Array::new([batch, 3, size, size], pixels)?)];
        if !self.infer {
            let mut labels = |classes| {
                (0..batch)
                    .map(|_| stream.below(classes) as u32)
                    .collect::<Vec<_>>()
            };
            inputs.push(("heavy", Array::new([batch], labels(HEAVY_CLASSES))?));
            inputs.push(("light", Array::new([batch], labels(LIGHT_CLASSES))?));
            inputs.push(("learning_rate", Array::scalar(config.train.learning_rate)));
        }
        Ok(inputs)
    }
}

/// The middle value, or the mean of the two middle ones; NaN of none.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    0.5 * (at(n.saturating_sub(1) / 2) + at(n / 2))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_ones() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 8.0]), 3.0);
        assert_eq!(median(&mut [7.0]), 7.0);
        assert!(median(&mut []).is_nan());
    }
}
