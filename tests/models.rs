//! The models held against torchvision and timm in f64 (`tests/golden/models.py`): results, what their parts give,
//! gradients and running statistics, at inference and in training, on every executor.
#![cfg(feature = "cli")]

use axenic::array::Array;
use axenic::exec::{Cpu, Executor, Reference};
use axenic::models::{self, Model};
use axenic::nn::Phase;
use axenic::shape::Shape;
use axenic::train::bare::{self, Dropout, ForwardRequest, cotangent};
use axenic::train::{Runner, Weights};
use std::collections::BTreeMap;
use std::path::Path;

#[cfg(feature = "gpu")]
mod common;
#[path = "common/golden.rs"]
mod golden;

use golden::{Found, complaints, hashed, set_hashed_weights, states};

/// What precision an executor is held to.
#[derive(Clone, Copy)]
enum Allowed {
    /// 1e-8, the vectors' own.
    Double,
    /// 2e-3; of a gradient five times the error of PyTorch in f32, where that is more.
    Single,
}

/// A model as the golden vectors know it.
struct Case {
    /// The file's name.
    name: &'static str,
    model: fn() -> Box<dyn Model>,
    /// The parts that are watched.
    taps: &'static [&'static str],
    /// The phases in which no relu's argument is within rounding of 0. In others the gradients in f32 jump by chance, and
    /// only those of the reference can be held against anything.
    steady: &'static [Phase],
    /// Whether a software GPU gets through it in good time.
    on_gpu: bool,
}

const RESNET_TAPS: &[&str] = &[
    "bn1",
    "conv1",
    "layer1.0",
    "layer2",
    "layer2.0.downsample.1",
    "layer4",
    "maxpool",
];

const BOTH: &[Phase] = &[Phase::Inference, Phase::Training];

const CASES: &[Case] = &[
    Case {
        name: "resnet18",
        model: || of_five_classes("resnet18"),
        taps: RESNET_TAPS,
        steady: BOTH,
        on_gpu: true,
    },
    Case {
        name: "resnet34",
        model: || of_five_classes("resnet34"),
        taps: RESNET_TAPS,
        steady: BOTH,
        on_gpu: false,
    },
    Case {
        name: "resnet50",
        model: || of_five_classes("resnet50"),
        taps: RESNET_TAPS,
        steady: &[Phase::Inference],
        on_gpu: false,
    },
];

fn of_five_classes(name: &str) -> Box<dyn Model> {
    let mut model = models::find(name).expect("a model");
    model.set_num_classes(Some(5));
    model
}

/// Every tensor of a case in one phase, on one executor.
fn check(
    case: &Case,
    golden: &BTreeMap<String, Array>,
    phase: Phase,
    mut runner: Runner,
    allowed: Allowed,
) {
    let mode = match phase {
        Phase::Inference => "inference.",
        Phase::Training => "train.",
    };
    let named = |(key, array): (_, _)| Some((str::strip_prefix(key, mode)?, array));
    let golden_strs = golden.iter().map(|(key, array)| (key.as_str(), array));
    let mut expected: BTreeMap<&str, &Array> = golden_strs.filter_map(named).collect();
    let results: Vec<String> = expected
        .keys()
        .filter(|name| name.split('.').next() == Some("y"))
        .map(|name| name.to_string())
        .collect();
    let taps: Vec<String> = case.taps.iter().map(|path| path.to_string()).collect();
    let images: Vec<usize> = golden["shape"]
        .to_f64()
        .iter()
        .map(|&n| n as usize)
        .collect();
    let images = Shape::new(&images).expect("a shape");
    let request = ForwardRequest {
        phase,
        dropout: Dropout::Off,
        taps: &taps,
        cotangents: &results,
    };
    let record = || bare::forward((case.model)().as_ref(), images, request);
    let graph = runner.prepare("forward", 0, record).expect("it records");
    set_hashed_weights(&mut runner, &graph);
    let given = |name: &str, shape: Shape| {
        Array::new(shape, hashed(name, shape.elements(), 0.0, 1.0)).expect("it fits")
    };
    let mut inputs = vec![("x".to_string(), given("x", images))];
    inputs.extend(results.iter().map(|name| {
        let own = cotangent(name);
        let array = given(&own, expected[name.as_str()].shape());
        (own, array)
    }));
    let inputs: Vec<(&str, &Array)> = inputs
        .iter()
        .map(|(name, array)| (name.as_str(), array))
        .collect();
    let mut found = Found::new();
    for (name, array) in runner
        .run("forward", 0, &inputs)
        .expect("it runs")
        .into_inner()
    {
        let is_tap = taps.contains(&name);
        let name = if is_tap { format!("tap.{name}") } else { name };
        found.insert(name, array.to_f64().into_owned());
    }
    if phase == Phase::Training {
        found.extend(states(&graph, &mut runner));
    }
    let single = expected.remove("single").expect("errors in f32").to_f64();
    let gradients = found.keys().filter(|name| name.starts_with("grad."));
    let single: BTreeMap<&str, f64> = gradients
        .map(String::as_str)
        .zip(single.iter().copied())
        .collect();
    // The gradients of deep networks in f32 are as far off as rounding makes them, in PyTorch too.
    let allowed_for = |name: &str| match allowed {
        Allowed::Double => 1e-8,
        Allowed::Single => 2e-3f64.max(5.0 * single.get(name).copied().unwrap_or(0.0)),
    };
    if matches!(allowed, Allowed::Single) && !case.steady.contains(&phase) {
        expected.remove("grad").expect("gradients");
    }
    let complaints = complaints(&found, &expected, allowed_for);
    assert!(
        complaints.is_empty(),
        "{} {mode} on {}: {complaints:#?}",
        case.name,
        runner.description()
    );
}

/// The cases on an executor, if there is one.
fn check_all(
    cases: impl Iterator<Item = &'static Case>,
    executor: impl Fn() -> Option<Box<dyn Executor>>,
    allowed: Allowed,
) {
    for case in cases {
        let file = format!("tests/golden/models/{}.safetensors", case.name);
        let golden = Weights::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        let golden = golden.expect("golden vectors").tensors;
        for phase in [Phase::Inference, Phase::Training] {
            let Some(executor) = executor() else { return };
            check(case, &golden, phase, Runner::new(executor), allowed);
        }
    }
}

#[test]
fn the_reference_agrees_with_pytorch() {
    let reference = || Some(Box::new(Reference::new(0).expect("an executor")) as Box<dyn Executor>);
    check_all(CASES.iter(), reference, Allowed::Double);
}

#[test]
fn the_cpu_agrees_with_pytorch() {
    let cpu = || Some(Box::new(Cpu::new(0).expect("an executor")) as Box<dyn Executor>);
    check_all(CASES.iter(), cpu, Allowed::Single);
}

#[cfg(feature = "gpu")]
#[test]
fn the_gpu_agrees_with_pytorch() {
    let gpu =
        || common::gpu(axenic::exec::gpu::Checks::On).map(|gpu| Box::new(gpu) as Box<dyn Executor>);
    check_all(
        CASES.iter().filter(|case| case.on_gpu),
        gpu,
        Allowed::Single,
    );
}

/// Every model can be found by its name, says that name, and takes the number of classes from its weights.
#[test]
fn every_model_is_found_and_fitted() {
    for name in models::names() {
        let mut model = models::find(name).expect("a model");
        assert_eq!(model.name(), name);
        let profile = model.profile();
        let (classifier, images) = (profile.classifier, profile.preprocessing.size);
        if model.num_classes().is_none() {
            continue;
        }
        model.set_num_classes(Some(7));
        let images = [1, 3, images, images].into();
        let graph =
            bare::forward(model.as_ref(), images, ForwardRequest::INFERENCE).expect("records");
        let tensors: BTreeMap<String, Shape> = graph
            .parameters()
            .map(|(name, spec)| (name.to_string(), spec.shape))
            .collect();
        assert!(
            tensors
                .keys()
                .any(|own| own.starts_with(&format!("{classifier}."))),
            "{name}"
        );
        let mut fitted = models::find(name).expect("a model");
        fitted.fit_to(&|own| tensors.get(own).copied());
        assert_eq!(fitted.num_classes(), Some(7), "{name}");
    }
    let error = models::find("resnet19")
        .expect_err("no such model")
        .to_string();
    assert!(
        error.contains("resnet18") && error.contains("resnet50"),
        "{error}"
    );
}
