//! What a run folder says is what was done, and what reads it checks that.

use super::{copied, done, failed, json, place, s};
use axenic::array::Array;
use axenic::systems::ife::graphs::training_step;
use axenic::systems::ife::result::EpochRow;
use axenic::systems::ife::run::RunFolder;
use axenic::train::Weights;
use std::path::{Path, PathBuf};

#[test]
fn weights_are_read_with_their_own_configuration_only() {
    let place = place();
    let gel = place.gels.join("data/1.jpg");
    let copy = copied("reconfigured");
    let config = std::fs::read_to_string(copy.join("config.toml")).expect("it is there");
    for (own, other, key) in [
        (
            "variant = \"paper\"",
            "variant = \"released\"",
            "model.variant",
        ),
        ("size = 32", "size = 64", "preprocessing.size"),
        ("share = 3", "share = 2", "model.share"),
    ] {
        let changed = config.replacen(own, other, 1);
        assert_ne!(changed, config);
        std::fs::write(copy.join("config.toml"), changed).expect("written");
        failed(&["predict", s(&copy), s(&gel)], 1, key);
    }
}

#[test]
fn mixed_precision_needs_a_gpu_and_stays_that_of_the_run() {
    let place = place();
    let nowhere = place.root.join("never mixed");
    let gels = s(&place.gels);
    let train = |run, more: &[&'static str]| {
        let own = ["train", "ife", "--data", gels, "--out", run, "--precision"];
        [&own[..], more].concat()
    };
    let refused = "mixed precision is a gpu's; use --device gpu, or --precision full";
    for device in ["cpu", "reference"] {
        failed(
            &[
                "bench",
                "resnet18",
                "--precision",
                "mixed",
                "--device",
                device,
            ],
            1,
            refused,
        );
        failed(
            &train(s(&nowhere), &["mixed", "--device", device]),
            1,
            refused,
        );
    }
    assert!(!nowhere.exists(), "nothing is written before");
    failed(&train(s(&nowhere), &["half"]), 2, "full, mixed");
    let other = "train.precision was \"full\" and is now \"mixed\"";
    failed(&train(s(&place.run), &["mixed", "--resume"]), 1, other);
    done(&train(s(&place.run), &["full", "--resume"]));
}

#[test]
fn wrong_seeds_and_configurations_are_one_sentence() {
    let place = place();
    let nowhere = place.root.join("never made");
    let too_large = "18446744073709551615";
    let train = [
        "train",
        "ife",
        "--data",
        s(&place.gels),
        "--out",
        s(&nowhere),
    ];
    let with = |more: &[&'static str]| [&train[..], more].concat();
    let seed = ["--seed", too_large];
    failed(&[&train[..], &seed].concat(), 2, "9223372036854775807");
    failed(
        &["demo", "--out", s(&nowhere), "--seed", too_large],
        2,
        "9223372036854775807",
    );
    failed(&with(&["--set", "seed=-1"]), 1, "seed");
    failed(&with(&["--preset", "papers"]), 2, "released");
    let file = place.root.join("wrong.toml");
    for (content, words) in [
        (
            "[train]\nepochs = \"x\"\n",
            "wrong.toml: line 2: train.epochs",
        ),
        ("[train]\n\nepochs 3\n", "wrong.toml: line 3"),
    ] {
        std::fs::write(&file, content).expect("written");
        let error = failed(&[&train[..], &["--config", s(&file)]].concat(), 1, words);
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert!(!nowhere.exists(), "nothing is written before it is known");
}

#[test]
fn chance_and_threads_are_the_users() {
    let place = place();
    let evaluate = |seed: &str| {
        json(&[
            "evaluate",
            s(&place.run),
            "--data",
            s(&place.gels),
            "--split",
            "all",
            "--seed",
            seed,
            "--json",
        ])
    };
    assert_eq!(evaluate("1"), evaluate("1"));
    assert_ne!(evaluate("1")["macro_f1"], evaluate("2")["macro_f1"]);
    let render = |name: &str, threads: &str| {
        let out = place.root.join(name);
        let count = ["--count", "3", "--seed", "9", "--threads", threads];
        done(&[&["synth", "ife", "--out", s(&out)], &count[..]].concat());
        std::fs::read(out.join("data/3.jpg")).expect("a gel")
    };
    assert_eq!(render("one", "1"), render("two", "2"));
}

#[test]
fn names_of_files_cannot_steer_the_terminal() {
    let error = failed(
        &["predict", s(&place().run), "\u{1b}[31mgel.jpg"],
        1,
        "gel.jpg",
    );
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn forward_lists_everything_that_does_not_fit() {
    let place = place();
    let best = place.run.join("checkpoint/best.safetensors");
    let mut weights = Weights::load(&best).expect("weights");
    let x = place.root.join("x.safetensors");
    let size = 3 * 32 * 32;
    let input = Weights {
        tensors: [(
            "x".to_string(),
            Array::new([1, 3, 32, 32], vec![0.5f32; size]).expect("it fits"),
        )]
        .into(),
        ..Weights::default()
    };
    save(&input, &x);
    let lacking = place.root.join("lacking.safetensors");
    for name in ["encoder.conv1.weight", "cls1.bias", "cls2.bias"] {
        weights.tensors.remove(name);
    }
    save(&weights, &lacking);
    let out = place.root.join("y.safetensors");
    let forward = [
        "forward",
        "ife",
        "--weights",
        s(&lacking),
        "--input",
        s(&x),
        "--output",
        s(&out),
    ];
    let error = failed(&forward, 1, "encoder.conv1.weight is missing");
    assert!(
        error.contains("cls1.bias is missing") && error.contains("cls2.bias is missing"),
        "{error}"
    );
    assert!(!error.contains("shape"), "{error}");
}

pub(super) fn save(weights: &Weights, path: &Path) {
    let bytes = weights.to_bytes().expect("it is a file");
    std::fs::write(path, bytes).expect("it is written");
}

/// The columns of `metrics.csv`, row by row.
fn metrics(run: &Path) -> Vec<EpochRow> {
    let text = std::fs::read(run.join("metrics.csv")).expect("metrics");
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let rows = reader.deserialize().collect::<Result<_, _>>();
    rows.expect("rows of metrics")
}

#[test]
fn rates_and_the_best_epoch_are_those_promised() {
    let place = place();
    let rows = metrics(&place.run);
    let (epochs, per_epoch) = (rows.len(), rows[0].step);
    let (warmup, total) = (per_epoch as f64, (epochs * per_epoch) as f64);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!((row.epoch, row.step), (i + 1, (i + 1) * per_epoch));
        let last = row.step as f64 - 1.0;
        let expected = if last < warmup {
            0.06 * last / warmup
        } else {
            0.03 * (1.0 + (std::f64::consts::PI * (last - warmup) / (total - warmup)).cos())
        };
        assert!((row.learning_rate - expected).abs() < 1e-12, "{row:?}");
    }
    let key = |row: &EpochRow| (row.validation_macro_f1, -row.validation_loss);
    let best = rows
        .iter()
        .reduce(|best, row| if key(row) > key(best) { row } else { best })
        .expect("an epoch");
    let weights = Weights::load(&place.run.join("checkpoint/best.safetensors")).expect("weights");
    assert_eq!(
        weights.entry::<usize>("epoch").expect("it is stated"),
        best.epoch
    );
    // What it was chosen on is the validation part, read with these weights.
    let found = json(&[
        "evaluate",
        s(&place.run),
        "--data",
        s(&place.gels),
        "--split",
        "validation",
        "--json",
    ]);
    assert_eq!(found["accuracy"]["value"], best.validation_accuracy);
    assert_eq!(found["macro_f1"]["value"], best.validation_macro_f1);
    assert_eq!(
        found["false_negative_rate"]["value"].as_f64(),
        best.validation_fnr
    );
}

/// Trains for one epoch with more settings, and gives what it says.
fn one_epoch(name: &str, settings: &[&str]) -> (PathBuf, String) {
    let place = place();
    let run = place.root.join(name);
    let mut arguments = vec!["train", "ife", "--data", s(&place.gels), "--out", s(&run)];
    arguments.extend(["--preset", "demo", "--device", "cpu", "--threads", "1"]);
    for setting in [&["size=32", "width=4", "epochs=1"], settings].concat() {
        arguments.extend(["--set", setting]);
    }
    let printed = done(&arguments);
    assert!(printed.contains("report.html"), "{printed}");
    (run, printed)
}

/// The rate of the first step of a warm-up is 0: one step alone changes no parameter.
#[test]
fn the_first_step_has_the_rate_of_step_zero() {
    let (run, _) = one_epoch("first step", &["batch=72", "warmup_epochs=1"]);
    let rows = metrics(&run);
    assert_eq!(
        (rows.len(), rows[0].step, rows[0].learning_rate),
        (1, 1, 0.0)
    );
    let config = RunFolder::open(&run).and_then(|folder| folder.config());
    let graph = training_step(&config.expect("a run"), 1).expect("it records");
    let first = Weights::initial(&graph, 42).expect("weights");
    let trained = Weights::load(&run.join("checkpoint/best.safetensors")).expect("weights");
    for (name, _) in graph.parameters() {
        let [now, then] = [&trained, &first].map(|weights| weights.tensors[name].to_f32());
        assert_eq!(now, then, "{name}");
    }
}

#[test]
fn training_images_are_augmented_as_configured() {
    let weights = |name: &str, settings: &[&str]| {
        let (run, printed) = one_epoch(name, settings);
        let weights = Weights::load(&run.join("checkpoint/best.safetensors")).expect("weights");
        assert!(printed.contains(&weights.digest()), "{printed}");
        weights.digest()
    };
    let plain = [
        "vertical_shift=0",
        "horizontal_shift=0",
        "brightness=0",
        "contrast=0",
    ];
    assert_ne!(weights("augmented", &[]), weights("plain", &plain));
}

/// Only the run knows how it split its images: another set's test part is not guessed.
#[test]
fn the_parts_of_a_run_are_those_it_was_trained_with() {
    let place = place();
    let other = place.root.join("other gels");
    let gels = ["--count", "20", "--balance", "even", "--seed", "99"];
    done(&[&["synth", "ife", "--out", s(&other)], &gels[..]].concat());
    let (run, other) = (s(&place.run), s(&other));
    let sentence = "none of the images in";
    let e = failed(
        &["evaluate", run, "--data", other, "--skip-bad"],
        1,
        sentence,
    );
    assert!(e.contains("--split all"), "{e}");
    done(&["evaluate", run, "--data", other, "--split", "all"]);
}

/// Every operation on the cpu, and a small training step of a run, are within their bounds.
#[test]
fn audits_pass_and_say_so() {
    let place = place();
    let step = ["audit", s(&place.run), "--device", "cpu", "--json"];
    let found: serde_json::Value = serde_json::from_str(&done(&step)).expect("JSON");
    assert_eq!(found["passed"], true);
    assert_eq!(found["share"], 1.0);
    let sampled = [
        "audit", "ife", "--size", "33", "--set", "width=4", "--sample", "3", "--device", "cpu",
    ];
    let text = done(&sampled);
    assert!(
        text.contains("all within their bounds") && text.contains("worst: "),
        "{text}"
    );
    failed(
        &["audit", "nothing"],
        1,
        "neither a system, nor a model, nor a run folder",
    );
}

/// `ops` describes what `op` runs.
#[test]
fn one_operation_runs_on_given_numbers() {
    let place = place();
    let list: serde_json::Value = serde_json::from_str(&done(&["ops", "--json"])).expect("JSON");
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), axenic::ops::ROOMS.len());
    let sum = list.iter().find(|op| op["name"] == "sum").expect("sum");
    assert_eq!(sum["attributes"][0]["name"], "keep");
    assert_eq!(sum["pytorch"], "torch.sum");
    assert_eq!(sum["attributes"][0]["pytorch"], "keepdim");
    let (x, y) = (place.root.join("op x"), place.root.join("op y"));
    let mut given = Weights::default();
    let numbers = Array::new([2, 3], vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("it fits");
    given.tensors.insert("0".into(), numbers);
    given.tensors.insert(
        "dy".into(),
        Array::new([2], vec![1.0f32, -1.0]).expect("it fits"),
    );
    save(&given, &x);
    let op = [
        "op",
        "sum",
        "--attr",
        "axes=1",
        "--input",
        s(&x),
        "--output",
        s(&y),
        "--gradients",
    ];
    done(&op);
    let got = Weights::load(&y).expect("results").tensors;
    assert_eq!(*got["y"].to_f64(), [6.0, 15.0]);
    assert_eq!(*got["grad.0"].to_f64(), [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]);
    failed(
        &[&op[..2], &["--attr", "axis=1"], &op[4..]].concat(),
        1,
        "sum has no attribute \"axis\"",
    );
}

/// What is refused leaves the record of a run as it was.
#[test]
fn a_refused_resume_leaves_the_record_alone() {
    let place = place();
    let (copy, other) = (copied("refused"), place.root.join("third gels"));
    let gels = ["--count", "30", "--balance", "even", "--seed", "7"];
    done(&[&["synth", "ife", "--out", s(&other)], &gels[..]].concat());
    let record = std::fs::read(copy.join("record.json")).expect("a record");
    std::fs::remove_file(copy.join("report.html")).expect("a report");
    let resume = [
        "train",
        "ife",
        "--out",
        s(&copy),
        "--resume",
        "--skip-bad",
        "--data",
    ];
    failed(
        &[&resume[..], &[s(&other)]].concat(),
        1,
        "the data is not what this run was trained on",
    );
    let new = ["train", "ife", "--out", s(&copy), "--data", s(&place.gels)];
    std::fs::remove_file(copy.join("config.toml")).expect("a configuration");
    failed(&new, 1, "holds a run already");
    assert_eq!(
        std::fs::read(copy.join("record.json")).expect("a record"),
        record
    );
}
