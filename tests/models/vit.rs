//! What must be true of any vision transformer.

use crate::golden::{Found, hashed, set_hashed_weights};
use crate::record;
use axenic::Result;
use axenic::array::{Array, Spec};
use axenic::exec::Reference;
use axenic::graph::{Graph, Recorder};
use axenic::models::Model;
use axenic::models::vit::{self, VisionTransformer};
use axenic::nn::Mode;
use axenic::rng::stream_key;
use axenic::shape::Shape;
use axenic::train::{Groups, Runner};

/// The network as the golden vectors have it: everything as published, but smaller.
pub(crate) fn small(mut network: VisionTransformer) -> VisionTransformer {
    (network.width, network.depth, network.num_heads) = (24, 4, 3);
    network.num_classes = network.num_classes.map(|_| 5);
    network
}

fn images(shape: [usize; 4]) -> Array {
    let shape = Shape::from(shape);
    Array::new(shape, hashed("x", shape.elements(), 0.0, 1.0)).expect("the length fits")
}

/// Runs what `record` names as outputs on x, with the parameters of the golden vectors, changed by `edit`.
fn run(
    x: &Array,
    record: impl for<'g> FnOnce(&'g Recorder) -> Result<()>,
    edit: impl Fn(&str, Array) -> Array,
) -> Found {
    let reference = Reference::new(1).expect("an executor");
    let mut runner = Runner::new(Box::new(reference));
    let graph = runner.prepare("forward", 0, || Graph::record(record));
    let graph = graph.expect("it records");
    let mut weights = set_hashed_weights(&mut runner, &graph);
    for (name, value) in &mut weights.tensors {
        *value = edit(name, value.clone());
    }
    runner.set_weights(&graph, weights).expect("they fit");
    let values = runner.run("forward", 0, &[("x", x)]).expect("it runs");
    let values = values.into_inner().into_iter();
    values
        .map(|(name, value)| (name, value.to_f64().into_owned()))
        .collect()
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
    let mut taps = r.taps().into_iter();
    taps.try_for_each(|(path, value)| r.output(&path, value))
}

fn outputs_of(
    network: &VisionTransformer,
    x: &Array,
    edit: impl Fn(&str, Array) -> Array,
) -> Found {
    run(
        x,
        |r| outputs(r, network, &Mode::inference(), x.shape()),
        edit,
    )
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

/// A transformer does not know where its tokens are but from the table of positions: where that and the patches change
/// places together, the class token stays, and the patches' tokens, weights and maps change places.
#[test]
fn patches_may_change_places_with_their_positions() {
    let network = small(vit::deit_tiny_patch16_224());
    let x = images([1, 3, 32, 48]);
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
    assert!(difference(&after["blocks.3"], &reorder(&before["blocks.3"])) < 1e-12);
    assert!(difference(&after["blocks.3"], &before["blocks.3"]) > 1e-2);
    let weights = &before["blocks.3.attn.weights"]; // [1, 3, 7, 7]
    let moved = |i: usize| weights[49 * (i / 49) + 7 * order[i / 7 % 7] + order[i % 7]];
    let moved: Vec<f64> = (0..weights.len()).map(moved).collect();
    assert!(difference(&after["blocks.3.attn.weights"], &moved) < 1e-12);
    let sums = weights.chunks(7).map(|row| row.iter().sum::<f64>());
    assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-12));
}

/// Token 1 + 3·row + column of a depth is the pixel (row, column) of its stage; the embedding is the first normalised token.
#[test]
fn stages_are_tokens_laid_out_and_the_embedding_is_the_first() {
    let mut network = small(vit::dinov2_vits14());
    network.depth = 8;
    let x = images([2, 3, 28, 42]);
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
        let error = record(&network, shape).expect_err("it does not fit");
        error.to_string()
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
        let graph = record(&giant, [1, 3, 14, 14]).expect("it records");
        let found = graph.parameters().find(|(name, _)| *name == has);
        assert_eq!(found.map(|(_, spec)| spec.shape), Some([8192, 1536].into()));
        assert!(!graph.parameters().any(|(name, _)| name.contains(absent)));
    }
}

/// Branches that are always skipped leave the tokens alone; those of the first block never are; frozen ones never are.
#[test]
fn samples_skip_the_last_branches_most() {
    let mut network = small(vit::deit_tiny_patch16_224());
    (network.depth, network.drop_path) = (3, 1.0);
    let x = images([8, 3, 16, 16]);
    let with = |frozen: &str| {
        let groups = Groups::default().freeze(frozen);
        let record = |r: &Recorder| {
            let key = r.constant(stream_key(1, "dropout", 0));
            let mode = Mode::training(Some(key)).with_frozen(groups.parts());
            outputs(r, &network, &mode, x.shape())
        };
        run(&x, record, unchanged)
    };
    let (plain, dropped, frozen) = (
        outputs_of(&network, &x, unchanged),
        with("nothing"),
        with("blocks"),
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
