//! The IFE system held against the method as it was published: its settings as literal numbers, and its values against an
//! independent implementation in f64 (`tests/golden/make_golden.py`), on every executor.
#![cfg(feature = "cli")]

use axenic::array::Array;
use axenic::data::resize::Planes;
use axenic::exec::{Cpu, Executor, Reference};
use axenic::nn::BatchNormMode;
use axenic::systems::ife::config::{Config, Decoding, Preset, Variant};
use axenic::systems::ife::graphs::{ForwardRequest, forward, inference, training_step};
use axenic::systems::ife::images::NORMALISATION;
use axenic::train::{Runner, Weights};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

#[cfg(feature = "gpu")]
mod common;
#[path = "common/golden.rs"]
mod golden;

use golden::{Found, complaints, hashed, set_hashed_weights, states};

static GOLDEN: LazyLock<BTreeMap<String, Array>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ife.safetensors");
    Weights::load(&path).expect("golden vectors").tensors
});

/// One of the batches of the golden vectors, read by one of the networks.
#[derive(Clone, Copy, Debug)]
struct Case {
    batch: &'static str,
    variant: Variant,
    share: usize,
}

impl Case {
    fn given(&self, what: &str) -> &'static Array {
        &GOLDEN[&format!("{}.{what}", self.batch)]
    }

    fn shape(&self) -> [usize; 4] {
        let shape = self.given("shape").to_f64();
        std::array::from_fn(|axis| shape[axis] as usize)
    }

    fn x(&self) -> Array {
        let count = self.shape().iter().product();
        Array::new(self.shape(), hashed("x", count, 0.0, 1.0)).expect("it fits")
    }

    fn config(&self) -> Config {
        let preset = match self.variant {
            Variant::Paper => Preset::Paper,
            Variant::Released => Preset::Released,
        };
        let mut config = preset.config();
        assert_eq!(config.model.variant, self.variant);
        config.model.share = self.share;
        config.model.width = self.given("width").to_f64()[0] as usize;
        config.model.size = self.shape()[2];
        config
    }

    /// The golden values of a run, by name.
    fn expected(&self, run: &str) -> BTreeMap<&'static str, &'static Array> {
        let variant = match self.variant {
            Variant::Paper => "paper",
            Variant::Released => "released",
        };
        let prefix = format!("{}.{variant}.share{}.{run}.", self.batch, self.share);
        let named = |(key, array): (&'static String, &'static Array)| {
            Some((key.strip_prefix(&prefix)?, array))
        };
        let values: BTreeMap<_, _> = GOLDEN.iter().filter_map(named).collect();
        assert!(!values.is_empty(), "there are no vectors {prefix}");
        values
    }
}

fn runner(executor: impl Executor + 'static) -> Runner {
    Runner::new(Box::new(executor))
}

/// What of a run is held against the golden vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Compared {
    All,
    /// Not the gradients: a relu's argument lies within f32's rounding of 0, and they jump by chance.
    Results,
}

/// `forward` with loss and gradients.
fn check_forward(
    mut runner: Runner,
    case: Case,
    mode: BatchNormMode,
    allowed: f64,
    compared: Compared,
) {
    let request = ForwardRequest {
        mode,
        with_loss: true,
        with_gradients: true,
        taps: &[],
    };
    let record = || forward(&case.config(), case.shape().into(), request);
    let graph = runner.prepare("forward", 0, record).expect("it records");
    set_hashed_weights(&mut runner, &graph);
    let x = case.x();
    let labels = [case.given("heavy"), case.given("light")];
    let inputs = [("x", &x), ("heavy", labels[0]), ("light", labels[1])];
    let results = runner.run("forward", 0, &inputs).expect("it runs");
    let mut found: Found = results
        .into_inner()
        .into_iter()
        .map(|(name, array)| (name, array.to_f64().into_owned()))
        .collect();
    let run = match mode {
        BatchNormMode::Batch => {
            found.extend(states(&graph, &mut runner));
            "train"
        }
        BatchNormMode::Running => "inference",
    };
    let mut expected = case.expected(run);
    if compared == Compared::Results {
        expected.remove("grad").expect("gradients");
    }
    let complaints = complaints(&found, &expected, |_| allowed);
    assert!(complaints.is_empty(), "{case:?} {mode:?}: {complaints:#?}");
}

/// The inference that images are read with.
fn check_inference(mut runner: Runner, case: Case, allowed: f64) {
    let batch = case.shape()[0];
    let record = || inference(&case.config().model, batch);
    let graph = runner.prepare("inference", batch, record).expect("records");
    set_hashed_weights(&mut runner, &graph);
    let results = runner
        .run("inference", batch, &[("x", &case.x())])
        .expect("it runs");
    let found: Found = results
        .into_inner()
        .into_iter()
        .map(|(name, array)| (name, array.to_f64().into_owned()))
        .collect();
    let mut expected = case.expected("inference");
    expected.retain(|name, _| name.starts_with("y.") || name.starts_with("attention."));
    assert_eq!(expected.len(), 10);
    let complaints = complaints(&found, &expected, |_| allowed);
    assert!(complaints.is_empty(), "{case:?} inference: {complaints:#?}");
}

/// Two steps of training: loss, gradient norm, and what becomes of parameters, momentum and running statistics.
fn check_steps(mut runner: Runner, case: Case, allowed: f64) {
    let batch = case.shape()[0];
    let record = || training_step(&case.config(), batch);
    let graph = runner.prepare("training", batch, record).expect("records");
    let first = set_hashed_weights(&mut runner, &graph);
    for (rate, run) in [(0.03, "step1"), (0.02, "step2")] {
        let (x, rate) = (case.x(), Array::scalar(rate));
        let labels = [case.given("heavy"), case.given("light")];
        let inputs = [
            ("x", &x),
            ("heavy", labels[0]),
            ("light", labels[1]),
            ("learning_rate", &rate),
        ];
        let results = runner.run("training", batch, &inputs).expect("it runs");
        let mut found = states(&graph, &mut runner);
        for (name, array) in results.into_inner() {
            let name = name.strip_prefix("gradient.").unwrap_or(&name);
            found.insert(name.to_string(), array.to_f64().into_owned());
        }
        let now = runner.weights(&graph).expect("they are there").tensors;
        for (name, _) in graph.parameters() {
            let (new, old) = (now[name].to_f64(), first.tensors[name].to_f64());
            let update = new.iter().zip(old.iter()).map(|(new, old)| new - old);
            found.insert(format!("update.{name}"), update.collect());
            let buffer = now[&format!("optimizer.momentum.{name}")].to_f64();
            found.insert(format!("momentum.{name}"), buffer.into_owned());
        }
        let complaints = complaints(&found, &case.expected(run), |_| allowed);
        assert!(complaints.is_empty(), "{case:?} {run}: {complaints:#?}");
    }
}

const VARIANTS: [Variant; 2] = [Variant::Paper, Variant::Released];

/// The small network: given ways to share stages on a batch with pairs of chains, a batch without any, inference, and two
/// steps of training.
fn check_small_network(executor: impl Fn() -> Option<Runner>, shares: &[usize], allowed: f64) {
    for variant in VARIANTS {
        let case = |batch, share| Case {
            batch,
            variant,
            share,
        };
        let pairs = shares.iter().map(|&share| case("pairs", share));
        for case in pairs.chain([case("no_pair", 3)]) {
            let Some(runner) = executor() else { return };
            check_forward(runner, case, BatchNormMode::Batch, allowed, Compared::All);
        }
        for check in [check_inference, check_steps] {
            let Some(runner) = executor() else { return };
            check(runner, case("pairs", 3), allowed);
        }
    }
}

#[test]
fn the_reference_agrees_with_the_independent_implementation() {
    let reference = || runner(Reference::new(0).expect("an executor"));
    check_small_network(|| Some(reference()), &[0, 1, 3, 4], 1e-6);
    for (variant, share, mode) in [
        (Variant::Paper, 3, BatchNormMode::Batch),
        (Variant::Released, 3, BatchNormMode::Batch),
        (Variant::Released, 2, BatchNormMode::Running),
    ] {
        let case = Case {
            batch: "wide",
            variant,
            share,
        };
        check_forward(reference(), case, mode, 1e-6, Compared::All);
    }
}

#[test]
fn the_cpu_agrees_with_the_independent_implementation() {
    let cpu = || runner(Cpu::new(0).expect("an executor"));
    check_small_network(|| Some(cpu()), &[0, 1, 3, 4], 2e-3);
    for variant in VARIANTS {
        for share in [2, 3] {
            for mode in [BatchNormMode::Batch, BatchNormMode::Running] {
                let case = Case {
                    batch: "wide",
                    variant,
                    share,
                };
                let compared = match (variant, share, mode) {
                    (Variant::Paper, 2, BatchNormMode::Running) => Compared::Results,
                    _ => Compared::All,
                };
                check_forward(cpu(), case, mode, 2e-3, compared);
            }
        }
    }
}

#[cfg(feature = "gpu")]
#[test]
fn the_gpu_agrees_with_the_independent_implementation() {
    let gpu = || common::gpu(axenic::exec::gpu::Checks::On).map(runner);
    check_small_network(gpu, &[0], 2e-3);
}

/// At full size, where products are cut into blocks and convolutions into panels for several threads.
#[test]
fn a_step_at_full_size_gives_the_same_bits_for_any_number_of_threads() {
    let config = Preset::Paper.config();
    let shape = [2, 3, config.model.size, config.model.size];
    let x = Array::new(shape, hashed("x", shape.iter().product(), 0.0, 1.0)).expect("it fits");
    let heavy = Array::new([2], vec![1u32, 0]).expect("it fits");
    let light = Array::new([2], vec![2u32, 0]).expect("it fits");
    let rate = Array::scalar(0.03);
    let inputs = [
        ("x", &x),
        ("heavy", &heavy),
        ("light", &light),
        ("learning_rate", &rate),
    ];
    let digest = |threads| {
        let mut runner = runner(Cpu::new(threads).expect("an executor"));
        let record = || training_step(&config, 2);
        let graph = runner.prepare("training", 2, record).expect("it records");
        set_hashed_weights(&mut runner, &graph);
        runner.run("training", 2, &inputs).expect("it runs");
        runner.weights(&graph).expect("they are there").digest()
    };
    let one = digest(1);
    for threads in [2, 3, 7] {
        assert_eq!(one, digest(threads), "{threads} threads");
    }
}

/// The numbers of the paper, and of its released code.
#[test]
fn the_presets_are_the_published_settings() {
    let paper = Preset::Paper.config();
    assert_eq!(paper.model.variant, Variant::Paper);
    assert_eq!(paper.train.decoding, Decoding::Joint);
    let released = Preset::Released.config();
    assert_eq!(released.model.variant, Variant::Released);
    assert_eq!(released.train.decoding, Decoding::Released);
    for config in [paper, released] {
        let (model, loss, train) = (&config.model, &config.loss, &config.train);
        assert_eq!((model.share, model.size, model.width), (3, 224, 64));
        assert_eq!((loss.lambda_inner, loss.lambda_inter), (0.3, 0.3));
        assert_eq!(loss.tau, 5.0);
        assert_eq!((train.epochs, train.batch, train.seed), (100, 64, 42));
        assert_eq!((train.learning_rate, train.warmup_epochs), (0.03, 5.0));
        assert_eq!((train.momentum, train.weight_decay), (0.9, 5e-4));
        assert_eq!(train.clip_norm, 3.0);
        assert_eq!(train.test_share, 0.2);
        let augment = config.augment;
        let changes = [
            augment.vertical_shift,
            augment.horizontal_shift,
            augment.brightness,
            augment.gain,
            augment.contrast,
        ];
        assert_eq!(changes, [0.0; 5]);
    }
}

#[test]
fn samples_are_normalised_by_mean_and_deviation_one_half() {
    let planes = Planes {
        height: 1,
        width: 1,
        values: vec![0.0, 127.5, 255.0],
    };
    assert_eq!(planes.normalised(&NORMALISATION), [-1.0, 0.0, 1.0]);
}
