//! Bare models from the outside.

use super::{done, failed, json, s};
use axenic::Array;
use axenic::array::Spec;
use axenic::rng::Stream;
use axenic::train::Weights;
use axenic::train::bare::{self, ForwardRequest};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Files for `forward`: weights of a ResNet-18 with five classes, two images and a cotangent.
struct Given {
    folder: tempfile::TempDir,
}

impl Given {
    fn new() -> Self {
        let mut model = axenic::models::find("resnet18").expect("a model");
        model.set_num_classes(Some(5));
        let images = [2, 3, 32, 32].into();
        let graph = bare::forward(model.as_ref(), images, ForwardRequest::INFERENCE);
        let weights = Weights::initial(&graph.expect("it records"), 1).expect("weights");
        let given = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        given.save("weights", weights.tensors);
        given.save("x", [("x", noise([2, 3, 32, 32])), ("dy", noise([2, 5]))]);
        given
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.safetensors"))
    }

    fn save<N: Into<String>>(&self, name: &str, tensors: impl IntoIterator<Item = (N, Array)>) {
        let tensors = tensors
            .into_iter()
            .map(|(name, array)| (name.into(), array));
        let weights = Weights {
            tensors: tensors.collect(),
            ..Weights::default()
        };
        super::runs::save(&weights, &self.path(name));
    }

    /// The arguments of `forward resnet18` with these files.
    fn arguments(&self, input: &str, more: &[&str]) -> Vec<String> {
        let file = |name: &str| s(&self.path(name)).to_string();
        let mut all = ["forward", "resnet18", "--device", "cpu"]
            .map(String::from)
            .to_vec();
        for (option, name) in [
            ("--weights", "weights"),
            ("--input", input),
            ("--output", "y"),
        ] {
            all.extend([option.to_string(), file(name)]);
        }
        all.extend(more.iter().map(|one| one.to_string()));
        all
    }

    fn forward(&self, more: &[&str]) -> BTreeMap<String, Array> {
        done(&strs(&self.arguments("x", more)));
        Weights::load(&self.path("y")).expect("results").tensors
    }

    fn refused(&self, input: &str, more: &[&str], word: &str) {
        failed(&strs(&self.arguments(input, more)), 1, word);
    }
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn noise<const N: usize>(shape: [usize; N]) -> Array {
    let mut stream = Stream::new(3, "noise", 0, 0);
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| stream.normal() as f32).collect();
    Array::new(shape, values).expect("it fits")
}

#[test]
fn a_model_runs_on_given_numbers() {
    let given = Given::new();
    let found = given.forward(&[]);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["y"]);
    assert_eq!(
        found["y"].spec(),
        Spec::real([2, 5]),
        "the classes follow from the weights"
    );

    let tapped = given.forward(&["--taps", "layer1.0,layer4", "--gradients"]);
    assert_eq!(tapped["y"], found["y"]);
    assert_eq!(tapped["layer1.0"].shape(), [2, 64, 8, 8].into());
    assert_eq!(tapped["layer4"].shape(), [2, 512, 1, 1].into());
    assert_eq!(tapped["grad.x"].shape(), [2, 3, 32, 32].into());
    let gradients = tapped.keys().filter(|name| name.starts_with("grad."));
    assert_eq!(gradients.count(), 1 + 62);
    assert_eq!(tapped["grad.fc.bias"].shape(), [5].into());

    let trained = given.forward(&["--train"]);
    assert_ne!(trained["y"], found["y"], "statistics of the batch");
    assert_eq!(trained.len(), 1 + 40);
    let mean = trained["state.bn1.running_mean"].to_f64();
    assert!(mean.iter().any(|mean| *mean != 0.0), "{mean:?}");
}

/// The first convolution is fitted to the images' channels, and that is said.
#[test]
fn a_model_runs_on_images_of_one_channel() {
    let given = Given::new();
    given.save("one", [("x", noise([2, 1, 32, 32]))]);
    let output = super::axenic(&strs(&given.arguments("one", &[])));
    let said = super::text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("conv1.weight: adapted, 3 → 1 channels"),
        "{said}"
    );
}

#[test]
fn what_a_model_cannot_run_on_is_said() {
    let given = Given::new();
    given.refused("x", &["--taps", "layer1.7"], "layer1.0, layer1.1");
    given.refused("x", &["--taps", "nothing"], "fc");
    given.refused("x", &["--set", "width=3"], "resnet18 has no settings");
    given.save("alone", [("x", noise([2, 3, 32, 32]))]);
    given.refused("alone", &["--gradients"], "`dy`");
    given.save("flat", [("x", noise([2, 32]))]);
    given.refused("flat", &[], "(N, C, H, W)");
    given.save("odd", [("x", noise([2, 3, 32, 32])), ("dy", noise([2, 4]))]);
    given.refused("odd", &["--gradients"], "dy");
    given.save(
        "more",
        [("x", noise([2, 3, 32, 32])), ("dy.7", noise([2, 5]))],
    );
    given.refused("more", &["--gradients"], "y.7");
    let error = failed(&["forward", "resnet19"], 2, "resnet18, resnet34, resnet50");
    assert!(error.contains("ife"), "{error}");
}

/// A model is planned, listed, timed, audited and traced as a system is.
#[test]
fn commands_take_models() {
    let device = ["--device", "cpu", "--json"];
    let json_of = |arguments: &[&str]| json(&[arguments, &device].concat());
    let plan = json_of(&["plan", "resnet50"]);
    assert_eq!(plan["parameters"], 25_557_032);
    let peak = |arguments: &[&str]| json_of(arguments)["peak_bytes"].as_u64().expect("a number");
    let step = [
        "plan", "resnet18", "--size", "64", "--batch", "2", "--train",
    ];
    assert!(peak(&step) > 2 * peak(&step[..6]));
    let bench = json_of(&[
        "bench", "resnet18", "--size", "32", "--batch", "2", "--steps", "1",
    ]);
    assert!(
        bench["seconds_per_step"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );
    let small = ["resnet18", "--size", "32", "--batch", "2"];
    let audit = [&["audit"], &small[..], &["--sample", "2"]].concat();
    assert_eq!(json_of(&audit)["passed"], true);
    let given = Given::new();
    let weights = given.path("weights");
    let trace = [
        &["trace"],
        &small[..],
        &["--runs", "1", "--weights", s(&weights)],
    ]
    .concat();
    let trace = json_of(&trace);
    let entries = trace["entries"].as_array().expect("a list");
    let last = entries.last().expect("an entry");
    assert_eq!(
        last["outputs"][0]["shape"],
        serde_json::json!([2, 5]),
        "the weights' classes"
    );
    failed(
        &[&["trace"], &small[..], &["--weights", "none.safetensors"]].concat(),
        1,
        "none.safetensors",
    );
    for command in ["plan", "bench", "inspect"] {
        failed(&[command, "resnet19"], 2, "resnet18, resnet34, resnet50");
    }
}

/// Parameters and multiply-adds are those that torchvision states, and every part's are the sums of its parts'.
#[test]
fn layers_are_listed_with_their_costs() {
    let found = json(&["inspect", "resnet18", "--json", "--device", "cpu"]);
    assert_eq!(found["totals"]["parameters"], 11_689_512);
    assert_eq!(found["totals"]["trainable"], 11_689_512);
    assert_eq!(found["totals"]["multiply_adds"], 1_814_073_344u64);
    assert_eq!(found["totals"]["input_bytes"], 4 * 3 * 224 * 224);
    let plan = json(&["plan", "resnet18", "--train", "--json", "--device", "cpu"]);
    assert_eq!(found["totals"]["training_peak_bytes"], plan["peak_bytes"]);
    let layers = found["layers"].as_array().expect("a list");
    let layer = |path: &str| {
        let found = layers.iter().find(|layer| layer["path"] == path);
        found.unwrap_or_else(|| panic!("{path} is listed"))
    };
    assert_eq!(layer("")["flops"], found["totals"]["flops"]);
    assert_eq!(layer("")["output"], serde_json::json!([1, 1000]));
    assert_eq!(
        layer("maxpool")["operations"],
        serde_json::json!(["max_pool2d"])
    );
    assert_eq!(
        layer("layer2.0.downsample")["output"],
        serde_json::json!([1, 128, 28, 28])
    );
    assert_eq!(layer("layer2.0.downsample")["depth"], 3);
    assert_eq!(layer("layer1.0.bn1")["parameters"], 128);
    let number = |path: &str, what: &str| layer(path)[what].as_u64().expect("a number");
    for what in ["parameters", "flops"] {
        let parts = number("layer1.0", what) + number("layer1.1", what);
        assert_eq!(number("layer1", what), parts, "{what}");
    }
    let text = done(&["inspect", "resnet50", "--size", "64", "--device", "cpu"]);
    let conv = text.lines().find(|line| line.starts_with("      conv3  "));
    assert!(
        conv.is_some_and(|line| line.contains("[1, 256, 16, 16]")),
        "{text}"
    );
}
