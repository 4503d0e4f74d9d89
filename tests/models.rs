//! The networks held against those of torchvision and timm: their sizes, and their values and gradients in f64
//! (`tests/golden/models.py` says how the vectors were made), on every executor.
#![cfg(feature = "cli")]

use axenic::array::{Array, Spec};
use axenic::autodiff;
use axenic::exec::{Cpu, Executor, Reference};
use axenic::graph::{AnyOp, Graph, Init, LeafKind, Node};
use axenic::models::{self, Model};
use axenic::nn::{Mode, Phase};
use axenic::ops;
use axenic::plan::Plan;
use axenic::rng::stream_key;
use axenic::shape::Shape;
use axenic::train::{Groups, Weights};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "gpu")]
mod common;
mod hashed;

use hashed::{hashed, hashed_parameter};

fn find(name: &str) -> Box<dyn Model> {
    models::find(name).expect("a model")
}

/// The whole network on images of this shape.
fn record(model: &dyn Model, shape: [usize; 4]) -> axenic::Result<Graph> {
    Graph::record(|r| {
        let x = r.input("x", Spec::real(shape))?;
        models::record(model, &r.scope(), x, &Mode::inference())
    })
}

fn parameters(graph: &Graph) -> usize {
    let sizes = graph.parameters().map(|(_, spec)| spec.shape.elements());
    sizes.sum()
}

/// As torchvision and timm count them.
#[test]
fn networks_have_as_many_parameters_as_published() {
    let counts = [
        ("convnext_tiny", 28_589_128),
        ("densenet121", 7_978_856),
        ("inception_resnet_v2", 55_843_464),
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet50_fpn", 26_852_416),
    ];
    for (name, count) in counts {
        let model = find(name);
        assert_eq!(model.name(), name);
        let graph = record(model.as_ref(), [1, 3, 224, 224]).expect("it records");
        assert_eq!(parameters(&graph), count, "{name}");
    }
}

/// The rows of the table in front of every file.
#[test]
fn maps_have_the_sizes_of_the_tables() {
    let maps = |name: &str, size: usize| -> Vec<(usize, usize)> {
        let mut sizes = Vec::new();
        Graph::record(|r| {
            let x = r.input("x", Spec::real([1, 3, size, size]))?;
            let features = find(name).features(&r.scope(), x, &Mode::inference())?;
            let shapes = features.stages.iter().map(|map| map.shape());
            sizes.extend(shapes.map(|shape| (shape[1], shape[2])));
            Ok(())
        })
        .expect("it records");
        sizes
    };
    let at = |channels: [usize; 4], sizes: [usize; 4]| -> Vec<_> {
        channels.into_iter().zip(sizes).collect()
    };
    let halves = [56, 28, 14, 7];
    assert_eq!(maps("resnet50", 224), at([256, 512, 1024, 2048], halves));
    assert_eq!(maps("densenet121", 224), at([256, 512, 1024, 1024], halves));
    assert_eq!(maps("convnext_tiny", 224), at([96, 192, 384, 768], halves));
    assert_eq!(maps("densenet121_fpn", 224), at([256; 4], halves));
    let inception = at([192, 320, 1088, 1536], [71, 35, 17, 8]);
    assert_eq!(maps("inception_resnet_v2", 299), inception);
}

#[test]
fn unknown_names_and_images_too_small_are_refused() {
    let complaint = models::find("resnet19_fpn").expect_err("no such model");
    assert!(complaint.to_string().contains("densenet121"), "{complaint}");
    let model = find("inception_resnet_v2");
    assert!(record(model.as_ref(), [1, 3, 75, 75]).is_ok());
    record(model.as_ref(), [1, 3, 74, 75]).expect_err("too small");
}

/// The maps of a transformer have one size, and so has its pyramid; no parameter is left without a gradient.
#[test]
fn a_pyramid_stands_on_a_transformer() {
    let graph = Graph::record(|r| {
        let x = r.input("x", Spec::real([1, 3, 32, 48]))?;
        let model = find("deit_tiny_patch16_224_fpn");
        let outputs = model.outputs(&r.scope(), x, &Mode::inference())?;
        let mut pairs = Vec::new();
        for (_, y) in &outputs {
            pairs.push((*y, ops::fill(r, y.shape(), 1.0)?));
        }
        let (names, parameters): (Vec<_>, Vec<_>) = r.parameters().into_iter().unzip();
        let gradients = autodiff::vector_jacobian(&pairs, &parameters)?;
        for (name, gradient) in names.iter().zip(gradients) {
            assert!(gradient.is_some(), "no gradient reaches {name}");
        }
        let mut named = outputs.into_iter();
        named.try_for_each(|(name, y)| r.output(&name, y))
    });
    let graph = graph.expect("it records");
    for (name, size) in [("y.0", [2, 3]), ("y.3", [2, 3]), ("y.pool", [1, 2])] {
        let y = graph.spec(graph.output(name).expect("it is there"));
        assert_eq!(y, Spec::real([1, 256, size[0], size[1]]), "{name}");
    }
}

/// Every part is found by its path.
#[test]
fn taps_have_the_paths_of_the_ecosystem() {
    let expected = [
        ("convnext_tiny", "features.5.8"),
        ("densenet121", "features.denseblock3.denselayer24"),
        ("densenet121", "features.transition2"),
        ("inception_resnet_v2", "repeat_1.19.branch1"),
        ("inception_resnet_v2", "conv2d_7b"),
        ("resnet18_fpn", "fpn.layer_blocks.3"),
        ("resnet18_fpn", "body.layer4.1"),
    ];
    for (name, path) in expected {
        Graph::record(|r| {
            let x = r.input("x", Spec::real([1, 3, 96, 96]))?;
            find(name).outputs(&r.scope(), x, &Mode::inference())?;
            let taps = r.taps();
            assert!(taps.iter().any(|(own, _)| own == path), "{name}: {path}");
            Ok(())
        })
        .expect("it records");
    }
}

/// The spread that the networks' own rules ask for: of a first convolution, a later one, and a classifier.
#[test]
fn parameters_start_as_the_reference_libraries_have_them() {
    let normal = |std| Init::Normal { std };
    let uniform = |bound| Init::Uniform { bound };
    let cut = Init::TruncatedNormal {
        std: 0.02,
        bound: 2.0,
    };
    let zero = Init::Constant(0.0);
    let expected = [
        (
            "densenet121",
            "features.conv0.weight",
            normal((2.0f64 / 147.0).sqrt()),
        ),
        (
            "densenet121",
            "features.transition1.conv.weight",
            normal((2.0f64 / 256.0).sqrt()),
        ),
        ("densenet121", "classifier.weight", uniform(1.0 / 32.0)),
        ("densenet121", "classifier.bias", zero),
        ("convnext_tiny", "features.1.0.block.0.weight", cut),
        ("convnext_tiny", "features.1.0.block.0.bias", zero),
        ("convnext_tiny", "features.1.0.block.3.weight", cut),
        (
            "convnext_tiny",
            "features.1.0.layer_scale",
            Init::Constant(1e-6),
        ),
        ("convnext_tiny", "classifier.2.bias", zero),
        (
            "inception_resnet_v2",
            "conv2d_2a.conv.weight",
            uniform(1.0 / 288f64.sqrt()),
        ),
        (
            "inception_resnet_v2",
            "repeat.0.conv2d.bias",
            uniform(1.0 / 128f64.sqrt()),
        ),
        (
            "resnet18",
            "layer2.0.conv1.weight",
            normal((2.0f64 / 1152.0).sqrt()),
        ),
        (
            "resnet18_fpn",
            "fpn.inner_blocks.0.0.weight",
            uniform((3.0f64 / 64.0).sqrt()),
        ),
        ("resnet18_fpn", "fpn.layer_blocks.3.0.bias", zero),
    ];
    for (name, parameter, init) in expected {
        let graph = record(find(name).as_ref(), [1, 3, 96, 96]).expect("it records");
        let leaf = graph.leaves().find(|(_, leaf, _)| leaf.name == parameter);
        let (_, leaf, _) = leaf.expect("the parameter is there");
        assert_eq!(leaf.kind.init(), Some(&init), "{name}: {parameter}");
    }
}

/// Branches drop for a sample as a whole, more often the deeper they lie, and only where there is a key and nothing is
/// frozen.
#[test]
fn stochastic_depth_rises_evenly() {
    let dropping = |frozen: &str| {
        let groups = Groups::default().freeze(frozen);
        let graph = Graph::record(|r| {
            let x = r.input("x", Spec::real([2, 3, 32, 32]))?;
            let key = r.constant(stream_key(1, "dropout", 0));
            let mode = Mode::training(Some(key)).with_frozen(groups.parts());
            models::record(find("convnext_tiny").as_ref(), &r.scope(), x, &mode)
        });
        let mut found = Vec::new();
        for node in graph.expect("it records").nodes() {
            if let Some(op) = node.op().filter(|op| op.name() == "dropout") {
                let attributes = op.attributes();
                assert_eq!(
                    attributes
                        .choice("noise", 0, &[("", 0), ("row", 1)])
                        .expect("a word"),
                    1
                );
                found.push(attributes.float("p", 0.0).expect("a number"));
            }
        }
        found
    };
    let expected: Vec<f64> = (1..18).map(|block| 0.1 * f64::from(block) / 17.0).collect();
    assert_eq!(dropping("nothing"), expected);
    assert_eq!(dropping("features.5").len(), 17 - 9);
}

/// One network on one batch, as the golden vectors have it.
struct Case {
    name: String,
    golden: BTreeMap<String, Array>,
}

/// The networks that there are vectors for.
fn cases() -> Vec<String> {
    let folder = folder().read_dir().expect("the golden vectors");
    let files = folder.map(|file| file.expect("readable").path());
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_string());
    let mut names: Vec<String> = files.filter_map(stem).collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    names
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models")
}

impl Case {
    fn load(name: &str) -> Self {
        let path = folder().join(format!("{name}.safetensors"));
        Self {
            name: name.to_string(),
            golden: Weights::load(&path).expect("golden vectors").tensors,
        }
    }

    fn counts(&self, what: &str) -> Vec<usize> {
        let numbers = self.golden[what].to_f64();
        numbers.iter().map(|&n| n as usize).collect()
    }

    fn shape(&self) -> Shape {
        Shape::new(&self.counts("shape")).expect("a shape")
    }

    /// The network with the number of classes, and with the other library's names where the file says so.
    fn model(&self) -> Box<dyn Model> {
        let (name, library) = self.name.split_once('.').unwrap_or((&self.name, ""));
        let mut model = find(name);
        if library == "timm" {
            model.fit_to(&|name| (name == "stem.0.weight").then_some([96, 3, 4, 4].into()));
        }
        model.set_num_classes(self.counts("classes").first().copied().filter(|&k| k > 0));
        model
    }

    /// The outputs and, under `grad.`, the gradients of x and every parameter.
    fn graph(&self, phase: Phase) -> Graph {
        let graph = Graph::record(|r| {
            let mode = Mode {
                phase,
                ..Mode::inference()
            };
            let x = r.input("x", Spec::real(self.shape()))?;
            let outputs = self.model().outputs(&r.scope(), x, &mode)?;
            let mut pairs = Vec::new();
            for (name, y) in outputs {
                let numbers = hashed(&format!("cotangent.{name}"), y.shape().elements(), 0.0, 1.0);
                pairs.push((y, r.constant(Array::new(y.shape(), numbers)?)));
                r.output(&name, y)?;
            }
            let mut targets = vec![("x".to_string(), x)];
            targets.extend(r.parameters());
            let tensors: Vec<_> = targets.iter().map(|(_, tensor)| *tensor).collect();
            let gradients = autodiff::vector_jacobian(&pairs, &tensors)?;
            for ((name, _), gradient) in targets.iter().zip(gradients) {
                let gradient = gradient.unwrap_or_else(|| panic!("no gradient reaches {name}"));
                r.output(&format!("grad.{name}"), gradient)?;
            }
            Ok(())
        });
        graph.expect("it records")
    }

    /// The modes that there are vectors for.
    fn modes(&self) -> impl Iterator<Item = (&'static str, Phase)> {
        let modes = [("train", Phase::Training), ("inference", Phase::Inference)];
        let known = |mode: &str| self.golden.contains_key(&format!("{mode}.output"));
        let known: Vec<_> = modes.into_iter().filter(|(mode, _)| known(mode)).collect();
        assert!(!known.is_empty(), "there are no vectors for {}", self.name);
        known.into_iter()
    }

    /// Runs the network, compares everything, and gives what is off by more than is allowed.
    fn complaints(&self, executor: &mut dyn Executor, allowed: Allowed) -> Vec<String> {
        let mut complaints = Vec::new();
        for (mode, phase) in self.modes() {
            let graph = Arc::new(self.graph(phase));
            for (family, rows) in self.run(executor, &graph, phase) {
                let golden = self.golden[&format!("{mode}.{family}")].to_f64();
                let place = format!("{} {mode} {family}", self.name);
                assert_eq!(golden.len(), 2 * rows.len(), "{place}");
                let all = norm(golden.iter().copied().step_by(2));
                let allowed = allowed.of(family, &graph);
                for ((name, row), golden) in rows.iter().zip(golden.chunks(2)) {
                    let difference = norm(row.iter().zip(golden).map(|(a, b)| a - b));
                    let error = difference / golden[0].max(1e-6 * all);
                    // NaN is off as well.
                    if error.is_nan() || error > allowed {
                        complaints.push(format!("{place} {name} is off by {error:e}"));
                    }
                }
            }
        }
        complaints
    }

    /// The rows of the golden vectors, by family and name.
    fn run(
        &self,
        executor: &mut dyn Executor,
        graph: &Arc<Graph>,
        phase: Phase,
    ) -> BTreeMap<&'static str, BTreeMap<String, [f64; 2]>> {
        let plan = Plan::new(graph.clone(), executor.target()).expect("a plan");
        let plan = executor.prepare(Arc::new(plan)).expect("it prepares");
        for (_, leaf, spec) in graph.leaves() {
            if leaf.kind.init().is_some() {
                let numbers = hashed_parameter(&leaf.name, spec.shape.as_ref());
                let value = Array::new(spec.shape, numbers).expect("it fits");
                executor.write(&leaf.name, &value).expect("it is known");
            }
        }
        let x = hashed("x", self.shape().elements(), 0.0, 1.0);
        let x = Array::new(self.shape(), x).expect("it fits");
        let values = executor.run(plan, &[("x", &x)], None).expect("it runs");
        let mut found = BTreeMap::from([("output", BTreeMap::new())]);
        for ((name, _), value) in graph.outputs().iter().zip(values) {
            let (family, name) = match name.strip_prefix("grad.") {
                Some(name) => ("grad", name),
                None => ("output", name.as_str()),
            };
            let rows = found.entry(family).or_insert_with(BTreeMap::new);
            rows.insert(name.to_string(), row(name, &value));
        }
        for (_, leaf, _) in graph.leaves() {
            if phase == Phase::Training && matches!(leaf.kind, LeafKind::State(_)) {
                let value = executor.read(&leaf.name).expect("it is there");
                let states = found.entry("state").or_insert_with(BTreeMap::new);
                states.insert(leaf.name.clone(), row(&leaf.name, &value));
            }
        }
        found
    }
}

/// How far results may be off, relative to their norm.
#[derive(Clone, Copy)]
struct Allowed {
    /// Outputs, states, and the gradients of networks without a relu.
    smooth: f64,
    /// The gradients of networks with relus. One whose input rounds to the other side of 0 opens or shuts a path: moving
    /// the pixels by a millionth of their size changes gradients that PyTorch computes in f64 by some percent.
    gated: f64,
}

impl Allowed {
    fn of(self, family: &str, graph: &Graph) -> f64 {
        let is_relu = |op: &dyn AnyOp| op.name() == "relu";
        let mut operations = graph.nodes().iter().filter_map(Node::op);
        match family == "grad" && operations.any(is_relu) {
            true => self.gated,
            false => self.smooth,
        }
    }
}

const IN_F64: Allowed = Allowed {
    smooth: 1e-9,
    gated: 1e-9,
};
const IN_F32: Allowed = Allowed {
    smooth: 1e-4,
    gated: 0.1,
};

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

/// What the golden vectors hold of a tensor.
fn row(name: &str, value: &Array) -> [f64; 2] {
    let values = value.to_f64();
    let probe = hashed(&format!("probe.{name}"), values.len(), 0.0, 1.0);
    let product = values.iter().zip(probe).map(|(x, p)| x * f64::from(p));
    [norm(values.iter().copied()), product.sum()]
}

fn check(names: &[impl AsRef<str>], executor: &dyn Fn() -> Box<dyn Executor>, allowed: Allowed) {
    let mut complaints = Vec::new();
    for name in names {
        let case = Case::load(name.as_ref());
        complaints.extend(case.complaints(executor().as_mut(), allowed));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn networks_are_those_of_the_ecosystem_on_the_reference() {
    let executor = || Box::new(Reference::new(0).expect("an executor")) as Box<dyn Executor>;
    check(&cases(), &executor, IN_F64);
}

#[test]
fn networks_are_those_of_the_ecosystem_on_the_cpu() {
    let executor = || Box::new(Cpu::new(0).expect("an executor")) as Box<dyn Executor>;
    check(&cases(), &executor, IN_F32);
}

#[cfg(feature = "gpu")]
#[test]
fn small_networks_are_those_of_the_ecosystem_on_the_gpu() {
    use axenic::exec::gpu::Checks;
    if common::gpu(Checks::On).is_some() {
        let executor = || {
            let gpu = common::gpu(Checks::On).expect("as before");
            Box::new(gpu) as Box<dyn Executor>
        };
        check(&["convnext_tiny", "resnet18_fpn"], &executor, IN_F32);
    }
}
