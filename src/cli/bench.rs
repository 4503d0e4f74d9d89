//! `axenic bench`: the speed of a step.

use super::compute::Compute;
use super::network::{Network, Pass, Tuning};
use super::{Outcome, show};
use crate::array::Array;
use crate::error::Result;
use crate::train::Weights;
use serde::Serialize;
use std::time::Instant;

/// Measures the median time of a training step (forward, backward, update) or of an inference, after a warm-up.
///
/// A bare model trains on the mean square of its result, with the optimiser of the system. On a gpu it says what the host
/// does for each dispatch, too.
///
/// Example: axenic bench resnet18 --batch 16 --size 224 --train --steps 10
#[derive(clap::Args)]
pub(super) struct Bench {
    /// The system or model
    #[arg(value_name = "SYSTEM|MODEL", value_parser = Network::named)]
    network: Network,
    /// Images in a batch
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    batch: u64,
    /// Height and width of the images; the network's own if left out
    #[arg(long)]
    size: Option<usize>,
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
    /// One setting of a system, as in width=16; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    tuning: Tuning,
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
    /// What the device is given in a step; null where the host computes.
    dispatches: Option<usize>,
    /// The median time in which the host records and submits one, without waiting for the device.
    host_microseconds_per_dispatch: Option<f64>,
}

impl Bench {
    pub(super) fn run(self) -> Result<Outcome> {
        let measured = self.measure()?;
        if self.json {
            show::json(&measured)?;
            return Ok(Outcome::Done);
        }
        let row = |name: &str, value: String| vec![name.to_string(), value];
        let mut rows = vec![
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
        ];
        rows.extend(
            measured
                .dispatches
                .map(|n| row("dispatches per step", n.to_string())),
        );
        let host = measured.host_microseconds_per_dispatch;
        rows.extend(host.map(|us| row("host time per dispatch", format!("{us:.2} µs"))));
        show::result(&show::table(&rows))?;
        Ok(Outcome::Done)
    }

    fn measure(&self) -> Result<Measured> {
        let batch = self.batch as usize;
        let pass = Pass::new(!self.infer);
        let configured = self.network.configured(self.size, &self.settings)?;
        let configured = configured.tuned(self.tuning.clone(), pass)?;
        let configured = configured.in_precision(self.compute.precision());
        let mut runner = self.compute.runner()?;
        let graph = runner.prepare("bench", batch, || configured.graph(pass, batch))?;
        runner.set_weights(&graph, Weights::initial(&graph, self.seed)?)?;
        let inputs = configured.inputs(pass, batch, self.seed)?;
        let named: Vec<(&str, &Array)> =
            inputs.iter().map(|(name, array)| (*name, array)).collect();
        runner.run("bench", batch, &named)?;
        let (mut seconds, mut host) = (Vec::new(), Vec::new());
        let mut dispatches = None;
        for _ in 0..self.steps {
            let begin = Instant::now();
            runner.run("bench", batch, &named)?;
            seconds.push(begin.elapsed().as_secs_f64());
            if let Some(time) = runner.host_time("bench", batch) {
                host.push(1e6 * time.elapsed.as_secs_f64() / time.dispatches as f64);
                dispatches = Some(time.dispatches);
            }
        }
        let median = median(&mut seconds);
        let flops = runner.flops("bench", batch);
        Ok(Measured {
            seconds_per_step: median,
            images_per_second: batch as f64 / median,
            gflops: flops as f64 / median / 1e9,
            peak_bytes: runner.peak_bytes(),
            device: runner.description(),
            dispatches,
            host_microseconds_per_dispatch: dispatches.map(|_| self::median(&mut host)),
        })
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
