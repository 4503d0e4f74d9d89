//! Weight files of other origin from the outside: what is told of them, and what they are told to say of themselves.

use super::{axenic, done, failed, json, s, text};
use axenic::Array;
use axenic::rng::Stream;
use axenic::train::bare::{self, ForwardRequest};
use axenic::train::{Card, Weights};
use safetensors::{Dtype, tensor::TensorView};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

struct Given {
    folder: tempfile::TempDir,
    /// A ResNet-18 with two classes.
    weights: Weights,
}

impl Given {
    fn new() -> Self {
        let mut model = axenic::models::find("resnet18").expect("a model");
        model.set_num_classes(Some(2));
        let images = [1, 3, 32, 32].into();
        let graph = bare::forward(model.as_ref(), images, ForwardRequest::INFERENCE);
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            weights: Weights::initial(&graph.expect("it records"), 1).expect("weights"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).expect("written");
        self.path(name)
    }

    /// The weights as another program writes them: behind a prefix, the classifier's bias in half precision, with one
    /// tensor more and texts of its own.
    fn foreign(&self) -> PathBuf {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, array) in &self.weights.tensors {
            let (dtype, bytes) = match name.as_str() {
                "fc.bias" => (Dtype::F16, vec![0; 4]),
                _ => {
                    let numbers = array.to_f32();
                    let bytes = numbers.iter().flat_map(|x| x.to_le_bytes());
                    (Dtype::F32, bytes.collect())
                }
            };
            tensors.push((
                format!("module.{name}"),
                dtype,
                array.shape().to_vec(),
                bytes,
            ));
        }
        tensors.push(("queue".into(), Dtype::BOOL, vec![1], vec![1]));
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name.as_str(), view.expect("a tensor"))
        });
        let texts = HashMap::from([("format".to_string(), "pt".to_string())]);
        let bytes = safetensors::serialize(views, Some(texts)).expect("a file");
        let path = self.path("foreign.safetensors");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// The weights without the first convolution.
    fn lacking(&self) -> PathBuf {
        let mut weights = self.weights.clone();
        weights
            .tensors
            .retain(|name, _| !name.starts_with("layer1."));
        let path = self.path("lacking.safetensors");
        super::runs::save(&weights, &path);
        path
    }
}

fn card(path: &Path) -> Card {
    let weights = Weights::load_own(path).expect("ours");
    Card::read(&weights).expect("readable").expect("a card")
}

/// What `forward` and `convert` make of a file that lies in no way openly is said.
#[test]
fn what_a_command_took_from_a_file_is_said() {
    let given = Given::new();
    let foreign = given.foreign();
    let mut stream = Stream::new(1, "x", 0, 0);
    let pixels: Vec<f32> = (0..3 * 32 * 32).map(|_| stream.normal() as f32).collect();
    let x = Array::new([1, 3, 32, 32], pixels).expect("an image");
    let x = Weights {
        tensors: [("x".to_string(), x)].into(),
        ..Weights::default()
    };
    super::runs::save(&x, &given.path("x.safetensors"));
    let output = axenic(&[
        "forward",
        "resnet18",
        "--device",
        "cpu",
        "--weights",
        s(&foreign),
        "--input",
        s(&given.path("x.safetensors")),
        "--output",
        s(&given.path("y.safetensors")),
        "--resampling",
        "offset",
    ]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for word in [
        "without `module.`",
        "102 of 102 names",
        "1 tensors of type F16 became F32",
        "skipped queue (not under \"module.\")",
        "--resampling changes nothing",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// What does not fit has its table too, and then a sentence that can be read.
#[test]
fn a_file_that_does_not_fit_is_told_tensor_by_tensor() {
    let given = Given::new();
    let (lacking, out) = (given.lacking(), given.path("out.safetensors"));
    let arguments = ["convert", s(&lacking), s(&out), "--model", "resnet18"];
    let output = axenic(&arguments);
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.len() < 700 && said.contains("and 15 more"), "{said}");
    assert!(said.contains("lacking.safetensors") && said.contains("--allow-missing"));
    assert_eq!(table.matches("missing").count(), 20 + 1, "{table}");
    assert!(!out.exists());
    let output = axenic(&[&arguments[..], &["--json"]].concat());
    let account: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let lines = account["lines"].as_array().expect("lines").iter();
    assert_eq!(lines.filter(|line| line["fate"] == "missing").count(), 20);
}

#[test]
fn files_are_given_names_and_thresholds_of_their_classes() {
    let given = Given::new();
    let weights = given.path("weights.safetensors");
    super::runs::save(&given.weights, &weights);
    let out = given.path("out.safetensors");
    let convert = |more: &[&str]| {
        let own = ["convert", s(&weights), s(&out), "--force"];
        [&own[..], more]
            .concat()
            .into_iter()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    fn borrowed(arguments: &[String]) -> Vec<&str> {
        arguments.iter().map(String::as_str).collect()
    }
    let labels = given.text("labels", "healthy\nill\n");
    let thresholds = given.text("thresholds", "0.75\n0.25\n");
    let model = ["--model", "resnet18"];
    let told = ["--labels", s(&labels), "--thresholds", s(&thresholds)];
    done(&borrowed(&convert(&[&model[..], &told].concat())));
    let own = card(&out);
    assert_eq!(own.labels, Some(vec!["healthy".into(), "ill".into()]));
    assert_eq!(own.thresholds, Some(vec![0.75, 0.25]));
    for (content, word) in [
        ("0.5\n", "1 thresholds for 2 classes"),
        ("0.5\nhalf\n", "line 2: \"half\" is no number"),
        ("0.5\n1.5\n", "1.5 is no probability"),
        ("0.5\n\n0.5\n", "line 2"),
    ] {
        let file = given.text("wrong", content);
        let arguments = [&model[..], &["--thresholds", s(&file)]].concat();
        failed(&borrowed(&convert(&arguments)), 1, word);
    }
    failed(
        &borrowed(&convert(&["--resampling", "offset"])),
        2,
        "--model",
    );
    failed(
        &borrowed(&convert(&["--thresholds", s(&thresholds)])),
        2,
        "--model",
    );
}

/// An image file is prepared as the weights want it, not as the published ones do.
#[test]
fn an_image_is_prepared_as_the_card_says() {
    let given = Given::new();
    let path = given.path("weights.safetensors");
    super::runs::save(&given.weights, &path);
    let out = given.path("own.safetensors");
    let arguments = ["convert", s(&path), s(&out), "--model", "resnet18"];
    done(&[&arguments[..], &["--image-size", "32"]].concat());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let image = root.join("tests/golden/images/progressive.jpg");
    // What the first convolution gives tells what it has read.
    let mean = || {
        let weights = ["--weights", s(&out), "--image", s(&image)];
        let own = ["trace", "resnet18", "--runs", "1", "--json"];
        let ledger = json(&[&own[..], &["--device", "cpu"], &weights].concat());
        let entries = ledger["entries"].as_array().expect("nodes").clone();
        let first = entries.iter().find(|entry| entry["operation"] == "conv2d");
        first.expect("a convolution")["outputs"][0]["mean"]
            .as_f64()
            .expect("a number")
    };
    let usual = mean();
    let mut weights = Weights::load_own(&out).expect("ours");
    let mut other = card(&out);
    let preprocessing = other.preprocessing.as_mut().expect("three channels");
    preprocessing.mean = [0.1, 0.2, 0.3];
    other.write(&mut weights).expect("a card");
    super::runs::save(&weights, &out);
    assert!((mean() - usual).abs() > 1e-3 * usual.abs(), "{usual}");
    let again = given.path("again.safetensors");
    done(&["convert", s(&out), s(&again), "--model", "resnet18"]);
    assert_eq!(card(&again), card(&out));
}
