//! The program from the outside: commands, files, exit codes, and sentences instead of panics.
#![cfg(feature = "cli")]

#[path = "cli/convert.rs"]
mod convert;
#[path = "cli/models.rs"]
mod models;
#[path = "cli/runs.rs"]
mod runs;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

fn axenic(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_axenic"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must succeed, and gives its standard output.
fn done(arguments: &[&str]) -> String {
    let output = axenic(arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Runs a command that must fail with a code, and gives its standard error: no panic, and it says `word`.
fn failed(arguments: &[&str], code: i32, word: &str) -> String {
    let output = axenic(arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
    assert!(
        error.contains(word),
        "{arguments:?} does not say {word:?}: {error}"
    );
    error
}

/// Runs a command that must print JSON, and gives it.
fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&done(arguments)).expect("JSON")
}

struct Place {
    gels: PathBuf,
    run: PathBuf,
    root: PathBuf,
}

/// Gels and a run trained on them, made once for all tests.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        // Among the build's own files: nothing that lives as long as the program is ever dropped.
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli");
        if root.exists() {
            std::fs::remove_dir_all(&root).expect("what was left is removed");
        }
        std::fs::create_dir_all(&root).expect("a folder");
        let (gels, run) = (root.join("gels"), root.join("run"));
        done(&[
            "synth",
            "ife",
            "--out",
            s(&gels),
            "--count",
            "72",
            "--balance",
            "even",
            "--seed",
            "4",
        ]);
        let settings = [
            "--set", "size=32", "--set", "width=4", "--set", "epochs=4", "--set", "batch=16",
            "--json",
        ];
        let start = [
            "train",
            "ife",
            "--data",
            s(&gels),
            "--out",
            s(&run),
            "--preset",
            "demo",
            "--device",
            "cpu",
        ];
        let printed = json(&[&start[..], &settings[..]].concat());
        assert_eq!(printed["report"], s(&run.join("report.html")));
        assert_eq!(printed["evaluations"][1]["split"], "test");
        Place { gels, run, root }
    })
}

fn s(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn a_run_folder_holds_what_it_promises() {
    let place = place();
    for file in [
        "config.toml",
        "metrics.csv",
        "report.html",
        "data.csv",
        "record.json",
        "checkpoint/best.safetensors",
    ] {
        assert!(place.run.join(file).is_file(), "{file}");
    }
    let metrics = std::fs::read_to_string(place.run.join("metrics.csv")).expect("metrics");
    assert_eq!(
        metrics.lines().count(),
        5,
        "a head and four epochs: {metrics}"
    );
    let report = std::fs::read_to_string(place.run.join("report.html")).expect("a report");
    assert!(report.contains("<svg") && report.contains("data:image/png;base64,"));
    for version in ["wgpu", "rustc 1."] {
        assert!(report.contains(version), "{version}");
    }
    let again = axenic(&[
        "train",
        "ife",
        "--data",
        s(&place.gels),
        "--out",
        s(&place.run),
        "--resume",
    ]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("finished"));
    failed(
        &[
            "train",
            "ife",
            "--data",
            s(&place.gels),
            "--out",
            s(&place.run),
        ],
        1,
        "--resume",
    );
}

#[test]
fn images_are_read_and_bad_ones_reported_one_by_one() {
    let place = place();
    let gel = place.gels.join("data/1.jpg");
    let broken = place.root.join("broken.jpg");
    std::fs::write(&broken, b"not an image").expect("written");
    let json: serde_json::Value = serde_json::from_str(&done(&[
        "predict",
        s(&place.run),
        s(&gel),
        "--json",
        "--device",
        "cpu",
    ]))
    .expect("JSON");
    let probabilities = json[0]["probabilities"].as_array().expect("nine numbers");
    assert_eq!(probabilities.len(), 9);
    let sum: f64 = probabilities
        .iter()
        .filter_map(serde_json::Value::as_f64)
        .sum();
    assert!((sum - 1.0).abs() < 1e-9);
    let output = axenic(&["predict", s(&place.run), s(&broken), s(&gel), "--csv"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("broken.jpg"));
    assert_eq!(
        text(&output.stdout).lines().count(),
        2,
        "a head and the good image"
    );
}

#[test]
fn the_reference_and_the_cpu_read_alike() {
    let place = place();
    let gel = place.gels.join("data/2.jpg");
    let read = |device: &str| -> Vec<f64> {
        let printed = done(&[
            "predict",
            s(&place.run),
            s(&gel),
            "--json",
            "--device",
            device,
        ]);
        let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        json[0]["probabilities"]
            .as_array()
            .expect("numbers")
            .iter()
            .filter_map(serde_json::Value::as_f64)
            .collect()
    };
    let (a, b) = (read("reference"), read("cpu"));
    assert!(
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4),
        "{a:?} {b:?}"
    );
}

#[test]
fn a_run_is_scored_and_explained() {
    let place = place();
    let printed = done(&[
        "evaluate",
        s(&place.run),
        "--data",
        s(&place.gels),
        "--split",
        "all",
        "--json",
    ]);
    let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(json["images"], 72);
    let out = place.root.join("explained");
    let gel = place.gels.join("data/1.jpg");
    done(&[
        "explain",
        s(&place.run),
        s(&gel),
        "--out",
        s(&out),
        "--method",
        "attention",
    ]);
    assert!(out.join("explain.html").is_file());
    for map in [
        "stage3-heavy",
        "stage3-light",
        "stage4-heavy",
        "stage4-light",
    ] {
        assert!(out.join(format!("1-1-{map}.png")).is_file(), "{map}");
    }
}

#[test]
fn a_computation_is_traced_as_text_json_trace_and_page() {
    let place = place();
    let (page, trace) = (
        place.root.join("ledger.html"),
        place.root.join("trace.json"),
    );
    let gel = place.gels.join("data/1.jpg");
    let run = s(&place.run);
    let text = done(&[
        "trace",
        run,
        "--image",
        s(&gel),
        "--device",
        "cpu",
        "--runs",
        "1",
        "--html",
        s(&page),
        "--chrome",
        s(&trace),
    ]);
    assert!(
        text.contains("inference on") && text.contains("[1, 3, 32, 32]"),
        "{text}"
    );
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("id=\"data\"") && !page.contains("http"));
    let trace = std::fs::read_to_string(trace).expect("a trace");
    let trace: serde_json::Value = serde_json::from_str(&trace).expect("JSON");
    assert!(
        trace["traceEvents"]
            .as_array()
            .is_some_and(|events| events.len() > 100)
    );
    let step = [
        "trace", "ife", "--train", "--batch", "1", "--size", "32", "--set", "width=4", "--runs",
        "1", "--json", "--device", "cpu",
    ];
    let json: serde_json::Value = serde_json::from_str(&done(&step)).expect("JSON");
    let entries = json["entries"].as_array().expect("a list");
    let sum = |key: &str| {
        entries
            .iter()
            .filter_map(|entry| entry[key].as_u64())
            .sum::<u64>()
    };
    for key in ["flops", "bytes_read", "bytes_written", "nanoseconds"] {
        assert_eq!(json["totals"][key], sum(key), "{key}");
    }
    failed(
        &["trace", "ife", "--train", "--image", s(&gel)],
        2,
        "--image",
    );
    failed(&["trace", s(&place.root.join("nowhere"))], 1, "nowhere");
    failed(&["trace", run, "--image", run], 1, run);
    let nowhere = place.root.join("none/ledger.html");
    failed(
        &["trace", run, "--runs", "1", "--html", s(&nowhere)],
        1,
        "none/ledger.html",
    );
}

#[test]
fn totals_are_known_before_anything_runs() {
    let printed = done(&[
        "plan", "ife", "--batch", "2", "--size", "64", "--train", "--json", "--device", "cpu",
    ]);
    let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let parts = ["slot_bytes", "leaf_bytes", "kept_bytes"].map(|part| json[part].as_u64());
    let sum = parts.into_iter().try_fold(0, |sum, part| Some(sum + part?));
    assert_eq!(json["peak_bytes"].as_u64(), sum);
    assert_eq!(json.get("order"), None);
    let steps: serde_json::Value = serde_json::from_str(&done(&[
        "plan", "ife", "--size", "64", "--steps", "--json", "--device", "cpu",
    ]))
    .expect("JSON");
    let order = steps["order"].as_array().expect("every step");
    assert_eq!(steps["steps"], order.len());
    let flops: u64 = order.iter().filter_map(|step| step["flops"].as_u64()).sum();
    assert_eq!(steps["flops"], flops);
    assert!(order.iter().any(|step| step["outputs"][0]["slot"].is_u64()));
    let traced = done(&[
        "trace",
        "ife",
        "--set",
        "width=4",
        "--size",
        "32",
        "--runs",
        "1",
        "--winograd",
        "4x4",
        "--json",
    ]);
    assert!(traced.contains("winograd=4x4"));
    assert!(done(&["init", "ife"]).contains("learning_rate = 0.03"));
    assert!(done(&["devices"]).contains("reference"));
    let bench = [
        "bench", "ife", "--batch", "1", "--size", "32", "--set", "width=4", "--steps", "2",
        "--seed", "3", "--json",
    ];
    let json: serde_json::Value = serde_json::from_str(&done(&bench)).expect("JSON");
    for key in [
        "seconds_per_step",
        "images_per_second",
        "gflops",
        "peak_bytes",
    ] {
        assert!(json[key].as_f64().is_some_and(|x| x > 0.0), "{key}");
    }
    let on_cpu = done(&[&bench[..], &["--device", "cpu"]].concat());
    let json: serde_json::Value = serde_json::from_str(&on_cpu).expect("JSON");
    for key in ["dispatches", "host_microseconds_per_dispatch"] {
        assert!(
            json.get(key).is_some_and(serde_json::Value::is_null),
            "{key}"
        );
    }
}

#[test]
fn what_a_user_gets_wrong_is_one_sentence() {
    let place = place();
    let (nowhere, run) = (place.root.join("nowhere"), s(&place.run));
    let nowhere = s(&nowhere);
    let out = place.root.join("out");
    let out = s(&out);
    failed(&["train"], 2, "--data");
    failed(&["train", "gel", "--data", nowhere, "--out", out], 2, "gel");
    failed(
        &["train", "ife", "--data", nowhere, "--out", out],
        1,
        "nowhere",
    );
    failed(
        &[
            "train", "ife", "--data", nowhere, "--out", out, "--set", "epoch=3",
        ],
        1,
        "\"epoch\"",
    );
    failed(
        &[
            "train", "ife", "--data", nowhere, "--out", out, "--set", "share=9",
        ],
        1,
        "share",
    );
    failed(
        &["evaluate", nowhere, "--data", s(&place.gels)],
        1,
        "config.toml",
    );
    failed(&["evaluate", run, "--data", nowhere], 1, "nowhere");
    failed(
        &["synth", "ife", "--out", s(&place.gels), "--count", "3"],
        1,
        "not empty",
    );
    failed(&["synth", "ife", "--out", out, "--count", "0"], 1, "0");
    failed(
        &[
            "forward",
            "ife",
            "--weights",
            nowhere,
            "--input",
            nowhere,
            "--output",
            out,
        ],
        1,
        "nowhere",
    );
    failed(&["plan", "ife", "--batch", "0"], 2, "batch");
    failed(&["plan", "ife", "--size", "7"], 1, "size");
    failed(&["demo", "--out", run], 1, "run already");
    let best = place.run.join("checkpoint/best.safetensors");
    failed(
        &[
            "forward",
            "ife",
            "--weights",
            s(&best),
            "--input",
            s(&best),
            "--output",
            out,
        ],
        1,
        "\"x\"",
    );
}

/// A copy of the trained run.
fn copied(name: &str) -> PathBuf {
    let place = place();
    let copy = place.root.join(name);
    for folder in ["", "checkpoint"] {
        std::fs::create_dir_all(copy.join(folder)).expect("a folder");
        for entry in std::fs::read_dir(place.run.join(folder)).expect("the run") {
            let path = entry.expect("readable").path();
            if path.is_file() {
                let name = path.file_name().expect("a name");
                std::fs::copy(&path, copy.join(folder).join(name)).expect("copied");
            }
        }
    }
    copy
}

#[test]
fn damaged_weights_are_refused() {
    let place = place();
    let copy = copied("damaged");
    let whole = std::fs::read(place.run.join("checkpoint/best.safetensors")).expect("weights");
    let gel = place.gels.join("data/1.jpg");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    for damaged in [&flipped[..], &whole[..whole.len() / 2], &whole[..5], b""] {
        std::fs::write(copy.join("checkpoint/best.safetensors"), damaged).expect("written");
        failed(&["predict", s(&copy), s(&gel)], 1, "best.safetensors");
    }
}

#[test]
fn a_run_is_held_against_its_record() {
    let place = place();
    let copy = copied("verified");
    let printed = done(&["verify", s(&copy)]);
    assert!(printed.contains("shaders") && printed.contains("cannot be checked"));
    let found: serde_json::Value =
        serde_json::from_str(&done(&["verify", s(&copy), "--json"])).expect("JSON");
    let states = found.as_array().expect("a list").iter();
    assert!(states.clone().count() > 15 && !states.clone().any(|f| f["state"] == "changed"));
    let mut names: Vec<String> = [
        "config.toml",
        "data.csv",
        "metrics.csv",
        "report.html",
        "record.json",
    ]
    .map(String::from)
    .to_vec();
    for entry in std::fs::read_dir(copy.join("checkpoint")).expect("a folder") {
        let name = entry
            .expect("readable")
            .file_name()
            .into_string()
            .expect("text");
        names.extend(
            name.ends_with(".safetensors")
                .then(|| format!("checkpoint/{name}")),
        );
    }
    assert!(names.len() >= 8, "{names:?}");
    for file in &names {
        let whole = std::fs::read(copy.join(file)).expect("read");
        for at in [whole.len() / 3, whole.len() / 2, whole.len() - 2] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(copy.join(file), &changed).expect("written");
            failed(&["verify", s(&copy)], 1, "checks failed");
        }
        std::fs::remove_file(copy.join(file)).expect("removed");
        failed(&["verify", s(&copy)], 1, "verified");
        std::fs::write(copy.join(file), whole).expect("written");
    }
    let (gels, none) = (place.root.join("verified gels"), place.root.join("none"));
    let gone = done(&["verify", s(&copy), "--data", s(&none)]);
    assert!(gone.contains("is not there"));
    std::fs::create_dir_all(gels.join("label")).expect("a folder");
    failed(
        &["verify", s(&copy), "--data", s(&gels)],
        1,
        "checks failed",
    );
}
