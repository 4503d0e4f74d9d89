//! The networks held against torchvision and timm in f64 (`tests/golden/models.py`): results, what their parts give,
//! gradients and running statistics, at inference and in training, on every executor.

use crate::find;
use crate::golden::{Found, complaints, hashed, set_hashed_weights, states};
use crate::vit::small;
use axenic::array::Array;
use axenic::exec::{Cpu, Executor, Reference};
use axenic::graph::{AnyOp, Attribute, Graph, Node};
use axenic::models::convnext::{ConvNeXt, convnext_tiny};
use axenic::models::densenet::{DenseNet, densenet121};
use axenic::models::fpn::FeaturePyramid;
use axenic::models::{Model, vit};
use axenic::nn::Phase;
use axenic::shape::Shape;
use axenic::train::bare::{self, Dropout, ForwardRequest, cotangent};
use axenic::train::{Runner, Weights};
use std::collections::BTreeMap;
use std::path::Path;

/// What precision an executor is held to.
#[derive(Clone, Copy)]
enum Allowed {
    /// 1e-8, the vectors' own.
    Double,
    /// Of results 1e-4 at inference and 2e-3 in training; of gradients five times the error of PyTorch in f32, behind a relu at
    /// least 2e-3.
    Single,
}

/// A model as the golden vectors know it.
struct Case {
    /// The file's name.
    name: &'static str,
    model: fn() -> Box<dyn Model>,
    /// The parts that are watched.
    taps: &'static [&'static str],
    /// The phases that there are vectors for; where there are no batch norms, the second would be the first again.
    phases: &'static [Phase],
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

const VIT_TAPS: &[&str] = &[
    "blocks.1",
    "blocks.1.attn.weights",
    "norm",
    "norm.class_token",
    "norm.patch_tokens",
    "patch_embed.proj",
];

const INFERENCE: &[Phase] = &[Phase::Inference];
const BOTH: &[Phase] = &[Phase::Inference, Phase::Training];

const CASES: &[Case] = &[
    Case {
        name: "resnet18",
        model: || of_five_classes(find("resnet18")),
        taps: RESNET_TAPS,
        phases: BOTH,
        steady: BOTH,
        on_gpu: true,
    },
    Case {
        name: "resnet34",
        model: || of_five_classes(find("resnet34")),
        taps: RESNET_TAPS,
        phases: BOTH,
        steady: BOTH,
        on_gpu: false,
    },
    Case {
        name: "resnet50",
        model: || of_five_classes(find("resnet50")),
        taps: RESNET_TAPS,
        phases: BOTH,
        steady: INFERENCE,
        on_gpu: false,
    },
    Case {
        name: "densenet121",
        model: || Box::new(small_densenet()),
        taps: &[
            "features.denseblock1.denselayer2",
            "features.denseblock3",
            "features.pool0",
            "features.transition2",
        ],
        phases: BOTH,
        steady: BOTH,
        on_gpu: true,
    },
    Case {
        name: "convnext_tiny",
        model: || Box::new(small_convnext()),
        taps: &[
            "classifier.0",
            "features.0",
            "features.3.0",
            "features.4",
            "features.5.2",
        ],
        phases: INFERENCE,
        steady: INFERENCE,
        on_gpu: true,
    },
    Case {
        name: "convnext_tiny.timm",
        model: || {
            let mut model = small_convnext();
            model.fit_to(&|name| (name == "stem.0.weight").then_some([16, 3, 4, 4].into()));
            of_five_classes(Box::new(model))
        },
        taps: &[
            "head.norm",
            "stages.1.blocks.0",
            "stages.1.downsample",
            "stages.2.blocks.2",
            "stem",
        ],
        phases: INFERENCE,
        steady: INFERENCE,
        on_gpu: true,
    },
    Case {
        name: "inception_resnet_v2",
        model: || of_five_classes(find("inception_resnet_v2")),
        taps: &[
            "block8",
            "conv2d_7b",
            "mixed_5b",
            "mixed_6a",
            "repeat.0",
            "repeat_1.19.branch1",
            "repeat_2",
        ],
        phases: BOTH,
        steady: INFERENCE,
        on_gpu: false,
    },
    Case {
        name: "resnet18_fpn",
        model: || find("resnet18_fpn"),
        taps: &["body.layer4", "fpn.inner_blocks.0", "fpn.layer_blocks.3"],
        phases: BOTH,
        steady: BOTH,
        on_gpu: false,
    },
    Case {
        name: "densenet121_fpn",
        model: || Box::new(FeaturePyramid::new(Box::new(small_densenet()))),
        taps: &["fpn.inner_blocks.0", "fpn.layer_blocks.3"],
        phases: INFERENCE,
        steady: INFERENCE,
        on_gpu: false,
    },
    Case {
        name: "deit_tiny_patch16_224_fpn",
        model: || {
            let body = small(vit::deit_tiny_patch16_224());
            Box::new(FeaturePyramid::new(Box::new(body)))
        },
        taps: &["body.blocks.1", "fpn.inner_blocks.0"],
        phases: INFERENCE,
        steady: INFERENCE,
        on_gpu: true,
    },
    Case {
        name: "vit_b_16",
        model: || Box::new(small(vit::vit_b_16())),
        taps: &[
            "conv_proj",
            "encoder.layers.encoder_layer_1",
            "encoder.layers.encoder_layer_1.self_attention.weights",
            "encoder.ln.class_token",
            "encoder.ln.patch_tokens",
        ],
        phases: INFERENCE,
        steady: INFERENCE,
        on_gpu: true,
    },
    Case {
        name: "deit_tiny_patch16_224",
        model: || Box::new(small(vit::deit_tiny_patch16_224())),
        taps: VIT_TAPS,
        phases: INFERENCE,
        steady: INFERENCE,
        on_gpu: true,
    },
    Case {
        name: "dinov2_vits14",
        model: || Box::new(small(vit::dinov2_vits14())),
        taps: VIT_TAPS,
        phases: INFERENCE,
        steady: INFERENCE,
        on_gpu: true,
    },
    Case {
        name: "dinov2_vitg14",
        model: || Box::new(small(vit::dinov2_vitg14())),
        taps: VIT_TAPS,
        phases: INFERENCE,
        steady: INFERENCE,
        on_gpu: true,
    },
];

fn of_five_classes(mut model: Box<dyn Model>) -> Box<dyn Model> {
    model.set_num_classes(Some(5));
    model
}

/// As published, but smaller.
fn small_convnext() -> ConvNeXt {
    let mut network = convnext_tiny();
    (network.blocks, network.width) = ([2, 1, 3, 1], 16);
    network.num_classes = Some(5);
    network
}

/// As published, but smaller.
fn small_densenet() -> DenseNet {
    let mut network = densenet121();
    (network.layers, network.growth_rate) = ([2, 3, 4, 2], 8);
    network.num_classes = Some(5);
    network
}

/// A case in one phase.
struct Step<'a> {
    case: &'a Case,
    golden: &'a BTreeMap<String, Array>,
    phase: Phase,
}

impl Step<'_> {
    /// The golden values, by what comes behind the mode's name.
    fn expected(&self) -> BTreeMap<&str, &Array> {
        let mode = match self.phase {
            Phase::Inference => "inference.",
            Phase::Training => "train.",
        };
        let named = |(key, array)| Some((str::strip_prefix(key, mode)?, array));
        let golden = self.golden.iter().map(|(key, array)| (key.as_str(), array));
        golden.filter_map(named).collect()
    }

    fn images(&self) -> Shape {
        let shape = self.golden["shape"].to_f64();
        let shape: Vec<usize> = shape.iter().map(|&length| length as usize).collect();
        Shape::new(&shape).expect("a shape")
    }

    fn record(&self, taps: &[String], cotangents: &[String]) -> Graph {
        let request = ForwardRequest {
            phase: self.phase,
            dropout: Dropout::Off,
            taps,
            cotangents,
        };
        let model = (self.case.model)();
        bare::forward(model.as_ref(), self.images(), request).expect("it records")
    }

    /// The images, and a cotangent for each result.
    fn inputs(&self) -> Vec<(String, Array)> {
        let graph = self.record(&[], &[]);
        let results = graph.outputs().iter();
        let cotangents = results.map(|(name, value)| (cotangent(name), graph.spec(*value).shape));
        let all = std::iter::once(("x".to_string(), self.images())).chain(cotangents);
        all.map(|(name, shape)| {
            let values = hashed(&name, shape.elements(), 0.0, 1.0);
            (name, Array::new(shape, values).expect("it fits"))
        })
        .collect()
    }

    /// Everything that the golden vectors hold something of.
    fn run(&self, runner: &mut Runner) -> Found {
        let taps: Vec<String> = self.case.taps.iter().map(ToString::to_string).collect();
        let inputs = self.inputs();
        let results: Vec<String> = inputs
            .iter()
            .filter_map(|(name, _)| Some(name.strip_prefix('d')?.to_string()))
            .collect();
        let graph = runner
            .prepare("forward", 0, || Ok(self.record(&taps, &results)))
            .expect("it is planned");
        set_hashed_weights(runner, &graph);
        let inputs: Vec<(&str, &Array)> = inputs
            .iter()
            .map(|(name, array)| (name.as_str(), array))
            .collect();
        let mut found = Found::new();
        let values = runner.run("forward", 0, &inputs).expect("it runs");
        for (name, array) in values.into_inner() {
            let is_tap = taps.contains(&name);
            let name = if is_tap { format!("tap.{name}") } else { name };
            found.insert(name, array.to_f64().into_owned());
        }
        if self.phase == Phase::Training {
            found.extend(states(&graph, runner));
        }
        found
    }

    /// How far a gradient may be off in f32. One relu whose argument rounds to the other side of 0 opens or shuts a path.
    fn jump(&self) -> f64 {
        let graph = self.record(&[], &[]);
        let mut operations = graph.nodes().iter().filter_map(Node::op);
        // A rectifier is an operation of its own, or what a norm does last.
        let relu = Attribute::from("relu");
        let rectifies = |op: &dyn AnyOp| {
            op.name() == "relu" || op.attributes().get("activation") == Some(&relu)
        };
        match operations.any(rectifies) {
            true => 2e-3,
            false => 1e-4,
        }
    }

    /// Compares every tensor, and says which are off.
    fn complaints(&self, mut runner: Runner, allowed: Allowed) -> Vec<String> {
        let found = self.run(&mut runner);
        let mut expected = self.expected();
        let single = expected.remove("single").expect("errors in f32").to_f64();
        let families = found.keys().map(|name| name.split('.').next());
        let families: BTreeMap<_, ()> = families.map(|family| (family, ())).collect();
        assert!(families.keys().flatten().eq(expected.keys()));
        let gradients = found.keys().filter(|name| name.starts_with("grad."));
        let single: BTreeMap<&str, f64> = gradients
            .map(String::as_str)
            .zip(single.iter().copied())
            .collect();
        let jump = self.jump();
        let allowed_for = |name: &str| match (allowed, single.get(name)) {
            (Allowed::Double, _) => 1e-8,
            (Allowed::Single, None) => match self.phase {
                Phase::Inference => 1e-4,
                // The last layers' statistics are of a handful of values, and enlarge every rounding.
                Phase::Training => 2e-3,
            },
            (Allowed::Single, Some(error)) => jump.max(5.0 * error),
        };
        if matches!(allowed, Allowed::Single) && !self.case.steady.contains(&self.phase) {
            expected.remove("grad").expect("gradients");
        }
        let place = format!("{} in {:?}", self.case.name, self.phase);
        let found = complaints(&found, &expected, allowed_for).into_iter();
        found.map(|one| format!("{place}: {one}")).collect()
    }
}

/// The cases on an executor, if there is one.
fn check_all(
    cases: impl Iterator<Item = &'static Case>,
    executor: impl Fn() -> Option<Box<dyn Executor>>,
    allowed: Allowed,
) {
    let mut complaints = Vec::new();
    for case in cases {
        let file = format!("tests/golden/models/{}.safetensors", case.name);
        let golden = Weights::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        let golden = golden.expect("golden vectors").tensors;
        for &phase in case.phases {
            let Some(executor) = executor() else { return };
            let step = Step {
                case,
                golden: &golden,
                phase,
            };
            complaints.extend(step.complaints(Runner::new(executor), allowed));
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn reference() -> Option<Box<dyn Executor>> {
    Some(Box::new(Reference::new(0).expect("an executor")))
}

/// In two tests, which run side by side.
fn is_residual_network(case: &&Case) -> bool {
    case.name.starts_with("resnet")
}

#[test]
fn the_reference_agrees_with_pytorch_on_residual_networks() {
    let cases = CASES.iter().filter(is_residual_network);
    check_all(cases, reference, Allowed::Double);
}

#[test]
fn the_reference_agrees_with_pytorch_on_other_networks() {
    let cases = CASES.iter().filter(|case| !is_residual_network(case));
    check_all(cases, reference, Allowed::Double);
}

#[test]
fn the_cpu_agrees_with_pytorch() {
    let cpu = || Some(Box::new(Cpu::new(0).expect("an executor")) as Box<dyn Executor>);
    check_all(CASES.iter(), cpu, Allowed::Single);
}

#[cfg(feature = "gpu")]
#[test]
fn the_gpu_agrees_with_pytorch() {
    use axenic::exec::gpu::Checks;
    let gpu = || crate::common::gpu(Checks::On).map(|gpu| Box::new(gpu) as Box<dyn Executor>);
    let cases = CASES.iter().filter(|case| case.on_gpu);
    check_all(cases, gpu, Allowed::Single);
}
