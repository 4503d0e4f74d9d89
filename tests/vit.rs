//! Vision transformers held against torchvision and timm (`tests/golden/vit.py`), and against what must be true of any.
#![cfg(feature = "cli")]

use axenic::array::{Array, Spec};
use axenic::exec::{Cpu, Executor, Reference};
use axenic::graph::{Graph, Init, Recorder};
use axenic::models::vit::{self, Library, VisionTransformer};
use axenic::models::{self, Model};
use axenic::nn::{Mode, linear_weight, truncated_normal, xavier_uniform};
use axenic::plan::Plan;
use axenic::rng::stream_key;
use axenic::shape::Shape;
use axenic::train::Weights;
use axenic::{Result, autodiff};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

#[cfg(feature = "gpu")]
mod common;
#[path = "common/numbers.rs"]
mod numbers;

use numbers::hashed;

static GOLDEN: LazyLock<BTreeMap<String, Array>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vit.safetensors");
    Weights::load(&path).expect("golden vectors").tensors
});

/// The parameters that the golden vectors were made with.
fn start(name: &str, shape: Shape) -> Array {
    let (centre, radius) = match shape.len() {
        _ if name.ends_with(".gamma") => (0.5, 0.2),
        1 if name.ends_with(".weight") => (1.0, 0.2),
        1 => (0.0, 0.2),
        3 => (0.0, 0.5),
        _ => (
            0.0,
            (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt(),
        ),
    };
    numbers(name, shape, centre, radius)
}

fn numbers(name: &str, shape: impl Into<Shape>, centre: f64, radius: f64) -> Array {
    let shape = shape.into();
    Array::new(shape, hashed(name, shape.elements(), centre, radius)).expect("the length fits")
}

/// The network as the golden vectors have it: everything as published, but smaller.
fn small(mut network: VisionTransformer) -> VisionTransformer {
    (network.width, network.depth, network.num_heads) = (24, 3, 3);
    network.num_classes = network.num_classes.map(|_| 5);
    network
}

type Found = BTreeMap<String, Vec<f64>>;

/// Runs what `record` names as outputs on x, with the parameters of the golden vectors, changed by `edit`.
fn run(
    executor: &mut dyn Executor,
    x: &Array,
    record: impl for<'g> FnOnce(&'g Recorder) -> Result<()>,
    edit: impl Fn(&str, Array) -> Array,
) -> Found {
    let graph = Arc::new(Graph::record(record).expect("it records"));
    let plan = Plan::new(graph.clone(), executor.target()).expect("a plan");
    let plan = executor.prepare(Arc::new(plan)).expect("it prepares");
    for (name, spec) in graph.parameters() {
        let value = edit(name, start(name, spec.shape));
        executor.write(name, &value).expect("a parameter");
    }
    let results = executor.run(plan, &[("x", x)], None).expect("it runs");
    let names = graph.outputs().iter().map(|(name, _)| name.clone());
    let values = results.iter().map(|array| array.to_f64().into_owned());
    names.zip(values).collect()
}

/// Names as outputs: y, the stages, and what the taps found.
fn outputs<'g>(
    r: &'g Recorder,
    network: &VisionTransformer,
    mode: &Mode<'g>,
    x: Shape,
) -> Result<()> {
    let x = r.input("x", Spec::real(x))?;
    let features = network.features(&r.scope(), x, mode)?;
    r.output("y", network.classify(&r.scope(), features.embedding, mode)?)?;
    for (i, stage) in features.stages.into_iter().enumerate() {
        r.output(&format!("stages.{i}"), stage)?;
    }
    let taps = r.taps().into_iter();
    taps.for_each(|(path, value)| {
        r.output(&path, value)
            .expect("taps have names of their own")
    });
    Ok(())
}

fn reference() -> Reference {
    Reference::new(1).expect("an executor")
}

fn outputs_of(
    network: &VisionTransformer,
    x: &Array,
    edit: impl Fn(&str, Array) -> Array,
) -> Found {
    let record = |r: &Recorder| outputs(r, network, &Mode::inference(), x.shape());
    run(&mut reference(), x, record, edit)
}

fn unchanged(_name: &str, value: Array) -> Array {
    value
}

/// The largest difference, relative to the largest number.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-30f64, |m, b| m.max(b.abs()));
    let off = |(a, b): (&f64, &f64)| {
        let off = (a - b).abs() / largest;
        if off.is_nan() { f64::INFINITY } else { off }
    };
    a.iter().zip(b).map(off).fold(0.0, f64::max)
}

/// Records y, two taps, and the gradients of Σ y·dy for x and every parameter.
fn golden_graph(r: &Recorder, network: &VisionTransformer, x: Shape) -> Result<()> {
    let (scope, mode) = (r.scope(), Mode::inference());
    let x = r.input("x", Spec::real(x))?;
    let features = network.features(&scope, x, &mode)?;
    let y = network.classify(&scope, features.embedding, &mode)?;
    r.output("y", y)?;
    for (path, tap) in r.taps() {
        match path.as_str() {
            "norm.patch_tokens" | "encoder.ln.patch_tokens" => r.output("patch_tokens", tap)?,
            "blocks.1.attn.weights" => r.output("attention", tap)?,
            _ => {}
        }
    }
    let dy = r.constant(numbers("dy", y.shape(), 0.0, 1.0));
    let mut targets = r.parameters();
    targets.push(("x".to_string(), x));
    let (names, targets): (Vec<_>, Vec<_>) = targets.into_iter().unzip();
    let gradients = autodiff::vector_jacobian(&[(y, dy)], &targets)?;
    for (name, gradient) in names.iter().zip(gradients) {
        let gradient = gradient.expect("every parameter takes part");
        r.output(&format!("grad.{name}"), gradient)?;
    }
    Ok(())
}

/// What is off by more than `allowed`, of everything that the golden vectors hold of the four networks.
fn check_golden(executor: impl Fn() -> Box<dyn Executor>, allowed: f64) {
    let cases = [
        (vit::vit_b_16(), [2, 3, 32, 32]),
        (vit::deit_tiny_patch16_224(), [2, 3, 48, 32]),
        (vit::dinov2_vits14(), [2, 3, 28, 42]),
        (vit::dinov2_vitg14(), [2, 3, 28, 42]),
    ];
    for (network, shape) in cases {
        let x = numbers("x", shape, 0.0, 1.0);
        let network = small(network);
        let record = |r: &Recorder| golden_graph(r, &network, shape.into());
        let found = run(executor().as_mut(), &x, record, unchanged);
        let prefix = format!("{}.", network.name());
        let expected: BTreeMap<_, _> = GOLDEN
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?, value.to_f64())))
            .collect();
        let names = |found: &mut dyn Iterator<Item = &str>| found.collect::<Vec<_>>().join(" ");
        assert_eq!(
            names(&mut found.keys().map(String::as_str)),
            names(&mut expected.keys().copied()),
            "{prefix}"
        );
        for (name, expected) in expected {
            let found = &found[name];
            let off = match name.strip_prefix("grad.") {
                Some(own) => {
                    let norm = found.iter().map(|g| g * g).sum::<f64>().sqrt();
                    let probe = hashed(&format!("probe.{own}"), found.len(), 0.0, 1.0);
                    let product = found.iter().zip(probe).map(|(g, p)| g * f64::from(p)).sum();
                    difference(&[norm, product], &expected)
                }
                None => difference(found, &expected),
            };
            assert!(off < allowed, "{prefix}{name} is off by {off:e}");
        }
    }
}

#[test]
fn the_reference_agrees_with_the_libraries() {
    check_golden(|| Box::new(reference()), 1e-12);
}

#[test]
fn the_cpu_agrees_with_the_libraries() {
    check_golden(|| Box::new(Cpu::new(2).expect("an executor")), 1e-5);
}

#[cfg(feature = "gpu")]
#[test]
fn the_gpu_agrees_with_the_libraries() {
    let gpu = || common::gpu(axenic::exec::gpu::Checks::On);
    if gpu().is_some() {
        check_golden(|| Box::new(gpu().expect("it was there")), 1e-5);
    }
}

/// The numbers are those of torchvision and timm, without `mask_token`.
#[test]
fn parameter_counts_are_the_published_ones() {
    let counts = [
        ("vit_b_16", 86_567_656),
        ("vit_b_32", 88_224_232),
        ("vit_l_16", 304_326_632),
        ("vit_small_patch16_224", 22_050_664),
        ("vit_base_patch16_224", 86_567_656),
        ("deit_tiny_patch16_224", 5_717_416),
        ("deit_small_patch16_224", 22_050_664),
        ("deit_base_patch16_224", 86_567_656),
        ("dinov2_vits14", 22_056_192),
        ("dinov2_vitb14", 86_579_712),
        ("dinov2_vitl14", 304_367_616),
        ("dinov2_vitg14", 1_136_479_232),
    ];
    for (name, expected) in counts {
        let network = models::find(name).expect("a model");
        let size = network.profile().preprocessing.size;
        let graph = Graph::record(|r| {
            let x = r.input("x", Spec::real([1, 3, size, size]))?;
            models::record(network.as_ref(), &r.scope(), x, &Mode::inference())
        });
        let graph = graph.expect("it records");
        let count = |(_, spec): (&str, Spec)| spec.shape.elements();
        assert_eq!(
            graph.parameters().map(count).sum::<usize>(),
            expected,
            "{name}"
        );
        let travelling: Vec<_> = graph
            .travelling()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let dinov2 = name.starts_with("dinov2");
        assert_eq!(travelling, ["mask_token"][..usize::from(dinov2)], "{name}");
        let positions = network.profile().position_embedding.expect("a table");
        let rows = (size / positions.patch_size).pow(2) + positions.prefix_tokens;
        let (_, table) = graph
            .parameters()
            .find(|(name, _)| *name == positions.name)
            .expect("it");
        assert_eq!(table.shape[..2], [1, rows], "{name}");
    }
}

/// A transformer does not know where its tokens are but from the table of positions: where that and the patches change
/// places together, the class token stays, and the patches' tokens, weights and maps change places.
#[test]
fn patches_may_change_places_with_their_positions() {
    let network = small(vit::deit_tiny_patch16_224());
    let x = numbers("x", [1, 3, 32, 48], 0.0, 1.0);
    // Of six patches of 16 × 16, in three columns, the number 1 becomes 4, one row below.
    let halves = |x: &Array| -> Vec<f64> {
        let x = x.to_f64();
        let place = |i: usize| {
            let (row, column) = (i / 48 % 32, i % 48);
            let inside = (16..32).contains(&column);
            if inside {
                i - 48 * row + 48 * ((row + 16) % 32)
            } else {
                i
            }
        };
        (0..x.len()).map(|i| x[place(i)]).collect()
    };
    let swapped = Array::new(x.shape(), halves(&x)).expect("it fits");
    let order = [0, 1, 5, 3, 4, 2, 6]; // tokens: the class, then the patches
    let reorder = |rows: &[f64]| -> Vec<f64> {
        order
            .iter()
            .flat_map(|&t| rows[24 * t..24 * (t + 1)].to_vec())
            .collect()
    };
    let before = outputs_of(&network, &x, unchanged);
    let after = outputs_of(&network, &swapped, |name, value| match name {
        "pos_embed" => {
            let rows = reorder(&value.to_f64());
            Array::new(value.shape(), rows).expect("it fits")
        }
        _ => value,
    });
    assert!(difference(&after["y"], &before["y"]) < 1e-12);
    assert!(difference(&after["blocks.2"], &reorder(&before["blocks.2"])) < 1e-12);
    assert!(difference(&after["blocks.2"], &before["blocks.2"]) > 1e-2);
    let weights = &before["blocks.2.attn.weights"]; // [1, 3, 7, 7]
    let moved = |i: usize| weights[49 * (i / 49) + 7 * order[i / 7 % 7] + order[i % 7]];
    let moved: Vec<f64> = (0..weights.len()).map(moved).collect();
    assert!(difference(&after["blocks.2.attn.weights"], &moved) < 1e-12);
    let sums = weights.chunks(7).map(|row| row.iter().sum::<f64>());
    assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-12));
}

/// Token 1 + 3·row + column of a depth is the pixel (row, column) of its stage; the embedding is the first normalised token.
#[test]
fn stages_are_tokens_laid_out_and_the_embedding_is_the_first() {
    let mut network = small(vit::dinov2_vits14());
    network.depth = 8;
    let x = numbers("x", [2, 3, 28, 42], 0.0, 1.0);
    let found = outputs_of(&network, &x, unchanged);
    for (stage, block) in [1, 3, 5, 7].into_iter().enumerate() {
        let (map, tokens) = (
            &found[&format!("stages.{stage}")],
            &found[&format!("blocks.{block}")],
        );
        assert_eq!(map.len(), 2 * 24 * 6);
        for (i, &pixel) in map.iter().enumerate() {
            let (sample, channel, place) = (i / 144, i / 6 % 24, i % 6);
            assert_eq!(pixel, tokens[(7 * sample + 1 + place) * 24 + channel]);
        }
    }
    let norm = &found["norm"];
    for sample in 0..2 {
        let (y, tokens) = (
            &found["y"][24 * sample..][..24],
            &norm[7 * 24 * sample..][..7 * 24],
        );
        assert_eq!(y, &tokens[..24]);
        assert_eq!(y, &found["norm.class_token"][24 * sample..][..24]);
        assert_eq!(
            &found["norm.patch_tokens"][144 * sample..][..144],
            &tokens[24..]
        );
    }
}

#[test]
fn an_image_that_is_not_made_of_patches_is_refused_with_those_that_are() {
    let refused = |shape: [usize; 4]| {
        let network = vit::dinov2_vits14();
        let graph = Graph::record(|r| {
            let x = r.input("x", Spec::real(shape))?;
            models::record(&network, &r.scope(), x, &Mode::inference())
        });
        graph.expect_err("it does not fit").to_string()
    };
    let text = refused([1, 3, 225, 28]);
    assert!(
        text.contains("225 × 28") && text.contains("here 224 or 238 × 28"),
        "{text}"
    );
    assert!(refused([1, 3, 13, 30]).contains("here 14 × 28 or 42"));
    assert!(refused([1, 3, 0, 14]).contains("here 14 × 14"));
}

#[test]
fn what_differs_between_files_is_taken_from_them() {
    let mut network = vit::vit_b_16();
    network.fit_to(&|name| (name == "heads.head.weight").then(|| [7, 768].into()));
    assert_eq!(network.num_classes(), Some(7));
    network.fit_to(&|_| None);
    assert_eq!(network.num_classes(), None);
    // timm's names for the same gate.
    for (fitting, absent) in [("fc1", "w12"), ("w12", "fc1")] {
        let mut giant = vit::dinov2_vitg14();
        let has = format!("blocks.0.mlp.{fitting}.weight");
        giant.fit_to(&|name| (name == has).then(|| [8192, 1536].into()));
        let graph = Graph::record(|r| {
            let x = r.input("x", Spec::real([1, 3, 14, 14]))?;
            models::record(&giant, &r.scope(), x, &Mode::inference())
        });
        let graph = graph.expect("it records");
        let found = graph.parameters().find(|(name, _)| *name == has);
        assert_eq!(found.map(|(_, spec)| spec.shape), Some([8192, 1536].into()));
        assert!(!graph.parameters().any(|(name, _)| name.contains(absent)));
    }
}

/// Branches that are always skipped leave the tokens alone; those of the first block never are; frozen ones never are.
#[test]
fn samples_skip_the_last_branches_most() {
    let mut network = small(vit::deit_tiny_patch16_224());
    network.drop_path = 1.0;
    let x = numbers("x", [8, 3, 16, 16], 0.0, 1.0);
    let with = |frozen: &[&str]| {
        let frozen: Vec<String> = frozen.iter().map(ToString::to_string).collect();
        let record = |r: &Recorder| {
            let key = r.constant(stream_key(1, "dropout", 0));
            let mode = Mode::training(Some(key)).with_frozen(&frozen);
            outputs(r, &network, &mode, x.shape())
        };
        run(&mut reference(), &x, record, unchanged)
    };
    let (plain, dropped, frozen) = (
        outputs_of(&network, &x, unchanged),
        with(&[]),
        with(&["blocks"]),
    );
    assert_eq!(dropped["blocks.0"], plain["blocks.0"]);
    assert_eq!(dropped["blocks.2"], dropped["blocks.1"]);
    assert_ne!(plain["blocks.2"], plain["blocks.1"]);
    assert_eq!(frozen["y"], plain["y"]);
    // Half of both branches in the middle: some samples skip the attention and some do not, whole.
    let tokens = |found: &Found, sample: usize| found["blocks.1"][48 * sample..][..48].to_vec();
    let skipped = |i| tokens(&dropped, i) == dropped["blocks.0"][48 * i..][..48];
    let count = (0..8).filter(|&i| skipped(i)).count();
    assert!(count > 0 && count < 8, "{count} of 8");
}

#[test]
fn parameters_start_as_the_libraries_let_them() {
    let starts = |network: VisionTransformer| -> BTreeMap<String, Init> {
        let graph = Graph::record(|r| {
            let x = r.input("x", Spec::real([1, 3, 32, 32]))?;
            models::record(&network, &r.scope(), x, &Mode::inference())
        });
        let graph = graph.expect("it records");
        let start = |leaf: &axenic::graph::Leaf| Some((leaf.name.clone(), *leaf.kind.init()?));
        graph
            .leaves()
            .filter_map(|(_, leaf, _)| start(leaf))
            .collect()
    };
    let (zero, small) = (Init::Constant(0.0), Init::Normal { std: 1e-6 });
    let torchvision = starts(vit::vit_b_16());
    let block = "encoder.layers.encoder_layer_3";
    for (name, expected) in [
        ("class_token", zero),
        (
            "conv_proj.weight",
            truncated_normal((1.0f64 / 768.0).sqrt()),
        ),
        ("conv_proj.bias", zero),
        ("encoder.pos_embedding", Init::Normal { std: 0.02 }),
        (
            &format!("{block}.self_attention.in_proj_weight"),
            xavier_uniform(768, 3 * 768),
        ),
        (
            &format!("{block}.self_attention.out_proj.weight"),
            linear_weight(768),
        ),
        (&format!("{block}.mlp.0.weight"), xavier_uniform(768, 3072)),
        (&format!("{block}.mlp.3.bias"), small),
        ("heads.head.weight", zero),
    ] {
        assert_eq!(torchvision[name], expected, "{name}");
    }
    let timm = starts(vit::deit_tiny_patch16_224());
    for (name, expected) in [
        ("cls_token", small),
        ("patch_embed.proj.weight", linear_weight(768)),
        ("patch_embed.proj.bias", linear_weight(768)),
        ("pos_embed", truncated_normal(0.02)),
        ("blocks.3.attn.qkv.weight", truncated_normal(0.02)),
        ("blocks.3.mlp.fc1.weight", truncated_normal(0.02)),
        ("blocks.3.mlp.fc2.bias", zero),
        ("head.weight", truncated_normal(0.02)),
        ("head.bias", zero),
    ] {
        assert_eq!(timm[name], expected, "{name}");
    }
}
