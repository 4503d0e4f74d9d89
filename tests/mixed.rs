//! Training in mixed precision: the loss scale as graph state on any executor, and half storage where a device has it.

use axenic::array::Spec;
use axenic::exec::{Cpu, Executor, Prepared};
use axenic::graph::{Graph, Init, Limits, Precision, Target, Tensor};
use axenic::nn::{self, BatchNorm2d, Conv2d};
use axenic::ops::{self, Transpose};
use axenic::plan::Plan;
use axenic::rng::Stream;
use axenic::shape::KeepAxes;
use axenic::train::{AdamW, Groups, LossScaling, Optimizer, Sgd, Weights};
use axenic::{Array, Result};
use std::sync::Arc;

#[cfg(feature = "gpu")]
#[path = "common/mod.rs"]
mod common;

/// The first scale.
const FIRST: f64 = 65_536.0;

fn sgd(loss_scaling: LossScaling) -> Optimizer {
    Optimizer::Sgd(Sgd {
        momentum: 0.5,
        weight_decay: 0.125,
        clip_norm: 1e30,
        loss_scaling,
    })
}

fn adamw(loss_scaling: LossScaling) -> Optimizer {
    Optimizer::AdamW(AdamW {
        update: ops::AdamW::default(),
        clip_norm: 1e30,
        loss_scaling,
    })
}

/// A step on the loss w · x, whose gradient is x.
struct Slope {
    cpu: Cpu,
    graph: Arc<Graph>,
    plan: Prepared,
}

impl Slope {
    fn new(optimizer: Optimizer) -> Self {
        let graph = Graph::record(|r| {
            let w = r.scope().parameter("w", [1], Init::Constant(1.5))?;
            let x = r.input("x", Spec::real([1]))?;
            let rate = r.input("rate", Spec::real([]))?;
            let loss = ops::reshape(ops::mul(w, x)?, [])?;
            let norm = optimizer.record(r, loss, rate, &Groups::default())?;
            r.output("square_norm", norm)
        });
        let graph = Arc::new(graph.expect("it records"));
        let mut cpu = Cpu::new(1).expect("an executor");
        let plan = Plan::new(graph.clone(), cpu.target()).expect("a plan");
        let plan = cpu.prepare(Arc::new(plan)).expect("it prepares");
        let initial = Weights::initial(&graph, 1).expect("first values");
        initial.write_to(&graph, &mut cpu).expect("written");
        Self { cpu, graph, plan }
    }

    /// The outputs by name.
    fn step(&mut self, x: f64) -> Vec<(String, f64)> {
        let (x, rate) = (Array::from([x]), Array::scalar(0.1));
        let outputs = self.cpu.run(self.plan, &[("x", &x), ("rate", &rate)], None);
        let names = self.graph.outputs().iter().map(|(name, _)| name.clone());
        let numbers = outputs.expect("it runs").into_iter().map(|y| y.to_f64()[0]);
        names.zip(numbers).collect()
    }

    /// Everything that lasts, by name.
    fn lasting(&mut self) -> Vec<(String, Vec<u64>)> {
        let weights = Weights::read_back(&self.graph, &mut self.cpu).expect("read");
        let bits = |array: &Array| array.to_f64().iter().map(|x| x.to_bits()).collect();
        let tensors = weights.tensors.iter();
        tensors
            .map(|(name, array)| (name.clone(), bits(array)))
            .collect()
    }

    fn read(&mut self, name: &str) -> f64 {
        self.cpu.read(name).expect("a state").to_f64()[0]
    }
}

/// Without what only loss scaling has.
fn shared(all: Vec<(String, Vec<u64>)>) -> Vec<(String, Vec<u64>)> {
    let own = ["loss_scale", "good_steps", "skipped_steps"].map(|name| format!("optimizer.{name}"));
    all.into_iter()
        .filter(|(name, _)| !own.contains(name))
        .collect()
}

/// A scale that is a power of two changes no bit of a step, and a step that overflows changes nothing but the scale.
#[test]
fn an_overflow_halves_the_scale_and_skips_the_step() {
    for optimizer in [sgd, adamw] {
        let mut plain = Slope::new(optimizer(LossScaling::Off));
        let mut scaled = Slope::new(optimizer(LossScaling::Dynamic));
        for (i, x) in [3.0, -0.7, 1e35, 2.0, 1e-3].into_iter().enumerate() {
            let before = scaled.lasting();
            let outputs = scaled.step(x);
            if x != 1e35 {
                plain.step(x);
                assert_eq!(
                    shared(scaled.lasting()),
                    shared(plain.lasting()),
                    "step {i}"
                );
                continue;
            }
            // The loss 1.5e35 is finite, 65,536 times its gradient is not.
            assert_eq!(shared(scaled.lasting()), shared(before), "nothing moves");
            let expected = [
                ("square_norm", 0.0),
                ("loss_scale", FIRST / 2.0),
                ("skipped_steps", 1.0),
            ];
            for (name, value) in expected {
                let found = outputs.iter().find(|(own, _)| own == name);
                assert_eq!(found.map(|(_, own)| *own), Some(value), "{name}");
            }
        }
        assert_eq!(scaled.read("optimizer.good_steps"), 2.0, "since then");
        assert_eq!(scaled.read("optimizer.skipped_steps"), 1.0);
        assert_eq!(scaled.read("optimizer.loss_scale"), FIRST / 2.0);
    }
}

#[test]
fn the_scale_grows_after_two_thousand_good_steps() {
    let mut slope = Slope::new(sgd(LossScaling::Dynamic));
    let good = Array::scalar(1998.0);
    slope
        .cpu
        .write("optimizer.good_steps", good)
        .expect("a state");
    for (scale, good) in [(FIRST, 1999.0), (2.0 * FIRST, 0.0), (2.0 * FIRST, 1.0)] {
        slope.step(0.1);
        assert_eq!(slope.read("optimizer.loss_scale"), scale);
        assert_eq!(slope.read("optimizer.good_steps"), good);
    }
    // The next steps back off until the gradient of 1e36 times the scale is finite again.
    for scale in [
        65_536.0, 32_768.0, 16_384.0, 8192.0, 4096.0, 2048.0, 1024.0, 512.0, 256.0,
    ] {
        slope.step(1e36);
        assert_eq!(slope.read("optimizer.loss_scale"), scale);
    }
    let before = slope.read("w");
    for _ in 0..24 {
        slope.step(0.5);
    }
    assert!(slope.read("w") < before, "it goes on");
    assert_eq!(slope.read("optimizer.loss_scale"), 256.0);
}

/// Two convolutions with normalisation, a mean over the image, a classifier.
fn network<'g>(x: Tensor<'g>) -> Result<Tensor<'g>> {
    let scope = x.recorder().scope();
    let mut y = x;
    for (i, channels) in [8, 8].into_iter().enumerate() {
        y = nn::conv2d(
            &scope.name(format!("conv{i}")),
            y,
            Conv2d::square(channels, 3, 1),
        )?;
        let batch = BatchNorm2d::new(nn::BatchNormMode::Batch);
        y = ops::relu(nn::batch_norm2d(&scope.name(format!("bn{i}")), y, batch)?)?;
    }
    let y = ops::mean(y, &[2, 3], KeepAxes::No)?;
    let w = scope.parameter("fc.weight", [8, 3], Init::Normal { std: 0.3 })?;
    ops::matmul(y, w, Transpose::No, Transpose::No)
}

fn training_step(loss_scaling: LossScaling) -> Arc<Graph> {
    let graph = Graph::record(|r| {
        let x = r.input("x", Spec::real([12, 1, 9, 7]))?;
        let labels = r.input("labels", Spec::index([12]))?;
        let rate = r.input("rate", Spec::real([]))?;
        let loss = ops::mean(ops::cross_entropy(network(x)?, labels)?, &[0], KeepAxes::No)?;
        r.output("loss", loss)?;
        let norm = sgd(loss_scaling).record(r, loss, rate, &Groups::default())?;
        r.output("square_norm", norm)
    });
    Arc::new(graph.expect("it records"))
}

/// Noise, of which each class has another brightness.
fn batch() -> [(&'static str, Array); 3] {
    let labels: Vec<u32> = (0..12).map(|i| i % 3).collect();
    let mut noise = Stream::new(7, "noise", 0, 0);
    let pixels = labels.iter().flat_map(|&label| {
        let values: Vec<f32> = (0..63)
            .map(|_| (noise.normal() + f64::from(label)) as f32)
            .collect();
        values
    });
    let x = Array::new([12, 1, 9, 7], pixels.collect::<Vec<_>>()).expect("pixels");
    [
        ("x", x),
        ("labels", Array::new([12], labels).expect("labels")),
        ("rate", Array::scalar(0.05)),
    ]
}

/// The losses of so many steps on an executor, the loss scale being set to `scale` first.
fn losses(executor: &mut dyn Executor, loss_scaling: LossScaling, scale: f64) -> Vec<f64> {
    let graph = training_step(loss_scaling);
    let plan = Plan::new(graph.clone(), executor.target()).expect("a plan");
    let plan = executor.prepare(Arc::new(plan)).expect("it prepares");
    let initial = Weights::initial(&graph, 3).expect("first values");
    initial.write_to(&graph, executor).expect("written");
    if loss_scaling == LossScaling::Dynamic {
        let scale = Array::scalar(scale);
        executor
            .write("optimizer.loss_scale", scale)
            .expect("a state");
    }
    let inputs = batch();
    let inputs: Vec<(&str, &Array)> = inputs.iter().map(|(name, array)| (*name, array)).collect();
    let step = |_| executor.run(plan, &inputs, None).expect("it runs")[0].to_f64()[0];
    (0..30).map(step).collect()
}

/// Activations and gradients take half the memory; weights, their copies and the optimiser do not.
#[test]
fn a_training_step_needs_less_memory() {
    let planned = |precision| {
        let limits = Limits {
            halves: true,
            precision,
            ..Limits::default()
        };
        let graph = training_step(LossScaling::Dynamic);
        let plan = Plan::new(graph, Target::Gpu(limits)).expect("a plan");
        (plan.slot_bytes(), plan.leaf_bytes())
    };
    let (full, mixed) = (planned(Precision::Full), planned(Precision::Mixed));
    assert_eq!(full.1, mixed.1);
    assert!(10 * mixed.0 < 7 * full.0, "{} of {}", mixed.0, full.0);
}

#[cfg(feature = "gpu")]
#[test]
fn a_network_learns_in_mixed_precision() {
    let full = losses(
        &mut Cpu::new(1).expect("an executor"),
        LossScaling::Off,
        FIRST,
    );
    let (first, last) = (full[0], full[29]);
    assert!(last < 0.6 * first, "it learns in full precision: {full:?}");
    let Some(mut gpu) = common::gpu_with_halves(Precision::Mixed) else {
        return;
    };
    assert!(gpu.description().ends_with(", mixed precision)"));
    let mixed = losses(&mut gpu, LossScaling::Dynamic, FIRST);
    assert_ne!(mixed, full, "it is not f32 in disguise");
    for (step, (mixed, full)) in mixed.iter().zip(&full).enumerate() {
        assert!(
            (mixed - full).abs() < 0.02 * first,
            "step {step}: {mixed}, not {full}"
        );
    }
    assert_eq!(
        gpu.read("optimizer.skipped_steps")
            .expect("a state")
            .to_f64()[0],
        0.0
    );
}

/// With a scale far too large the first steps are skipped, until the gradients fit into halves; then it learns.
#[cfg(feature = "gpu")]
#[test]
fn training_recovers_from_overflow_in_halves() {
    let Some(mut gpu) = common::gpu_with_halves(Precision::Mixed) else {
        return;
    };
    let start = 2f64.powi(24);
    let mixed = losses(&mut gpu, LossScaling::Dynamic, start);
    let mut state = |name: &str| gpu.read(name).expect("a state").to_f64()[0];
    let skipped = state("optimizer.skipped_steps");
    assert!(
        (2.0..15.0).contains(&skipped),
        "{skipped} steps were skipped"
    );
    assert_eq!(state("optimizer.loss_scale"), start / skipped.exp2());
    let skipped = skipped as usize;
    assert!(
        mixed[..=skipped].iter().all(|loss| *loss == mixed[0]),
        "{mixed:?}"
    );
    assert!(mixed[29] < 0.7 * mixed[0], "{mixed:?}");
}

#[cfg(feature = "gpu")]
#[test]
fn repeated_runs_give_the_same_bits() {
    let Some(mut gpu) = common::gpu_with_halves(Precision::Mixed) else {
        return;
    };
    let first = losses(&mut gpu, LossScaling::Dynamic, FIRST);
    assert_eq!(first, losses(&mut gpu, LossScaling::Dynamic, FIRST));
}
