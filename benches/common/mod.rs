//! Networks ready to run on the host, for the benchmarks.

#![allow(dead_code, reason = "each benchmark uses a part")]

use axenic::array::Array;
use axenic::exec::Cpu;
use axenic::graph::{Graph, Recompute};
use axenic::models;
use axenic::rng::{Stream, stream_key};
use axenic::systems::ife::config::Preset;
use axenic::systems::ife::{graphs, synth};
use axenic::train::bare::{self, DROPOUT_KEY, ForwardRequest, TrainingRequest};
use axenic::train::{Groups, Runner, Weights};

/// What is computed of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Forward with running statistics.
    Inference,
    /// Forward, backward and update.
    TrainingStep,
}

/// A network with weights and inputs on all cores.
pub(crate) struct Bench {
    runner: Runner,
    inputs: Vec<(&'static str, Array)>,
    batch: usize,
}

impl Bench {
    /// The network `name` (`ife` or a model) on `batch` square images of height `size`.
    pub(crate) fn new(name: &str, pass: Pass, batch: usize, size: usize) -> Self {
        let mut runner = Runner::new(Box::new(Cpu::new(0).expect("threads")));
        let record = || graph(name, pass, batch, size);
        let graph = runner.prepare("bench", batch, record).expect("it fits");
        let weights = Weights::initial(&graph, 0).expect("initialisers");
        runner.set_weights(&graph, weights).expect("they fit");
        let mut inputs = inputs(name, batch, size);
        inputs.retain(|(own, _)| pass == Pass::TrainingStep || *own == "x");
        Self {
            runner,
            inputs,
            batch,
        }
    }

    /// One pass.
    pub(crate) fn step(&mut self) {
        let named = self.inputs.iter().map(|(name, array)| (*name, array));
        let named: Vec<(&str, &Array)> = named.collect();
        let values = self.runner.run("bench", self.batch, &named);
        std::hint::black_box(values.expect("the inputs fit"));
    }

    /// The planned peak of its memory, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.runner.peak_bytes()
    }
}

fn graph(name: &str, pass: Pass, batch: usize, size: usize) -> axenic::Result<Graph> {
    let config = Preset::Paper.config();
    if name == "ife" {
        let config = config.with(&format!("model.size={size}"))?;
        return match pass {
            Pass::Inference => graphs::inference(&config.model, batch),
            Pass::TrainingStep => graphs::training_step(&config, batch),
        };
    }
    let (model, images) = (models::find(name)?, [batch, 3, size, size].into());
    match pass {
        Pass::Inference => bare::forward(model.as_ref(), images, ForwardRequest::INFERENCE),
        Pass::TrainingStep => {
            let request = TrainingRequest {
                optimizer: config.train.sgd(),
                groups: &Groups::default(),
                recompute: Recompute::No,
            };
            bare::training_step(model.as_ref(), images, request)
        }
    }
}

fn inputs(name: &str, batch: usize, size: usize) -> Vec<(&'static str, Array)> {
    let config = Preset::Paper.config();
    if name == "ife" {
        let config = config.with(&format!("model.size={size}"));
        return synth::step_inputs(&config.expect("a size"), batch, 0).expect("images");
    }
    let mut stream = Stream::new(0, "images", 0, 0);
    let pixels = (0..batch * 3 * size * size).map(|_| stream.range(-1.0, 1.0) as f32);
    let x = Array::new([batch, 3, size, size], pixels.collect::<Vec<_>>());
    vec![
        ("x", x.expect("the length fits")),
        ("learning_rate", Array::scalar(config.train.learning_rate)),
        (DROPOUT_KEY, stream_key(0, "dropout", 0).into()),
    ]
}
