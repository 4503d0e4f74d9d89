//! Fine-tuning as a whole: from images, from features, stopped and resumed.

use super::given::{SIZE, Tiny, noise, pixels, tiny};
use super::recompute::copies;
use axenic::exec::{Cpu, Reference};
use axenic::graph::Recompute;
use axenic::models::{Model, Preprocessing};
use axenic::train::{
    AdamW, Backbone, Batch, CachedFeatures, Card, Checkpoints, Configuration, Files, FineTune,
    Groups, Input, Kept, LossScaling, Optimizer, Progress, Runner, Samples, Silent, Tuned,
    WarmupCosine, Weights, cached_features, untrained,
};
use axenic::{Array, Result, ops};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const COUNT: usize = 10;
const BATCH: usize = 4;

fn runner() -> Runner {
    Runner::new(Box::new(Cpu::new(2).expect("an executor")))
}

fn labels(items: &[usize]) -> Array {
    let labels: Vec<u32> = items.iter().map(|item| (item % 3) as u32).collect();
    Array::new([items.len()], labels).expect("labels")
}

struct Images;

impl Samples for Images {
    fn count(&self) -> usize {
        COUNT
    }

    fn content(&self) -> String {
        "noise".into()
    }

    fn batch(&mut self, items: &[usize]) -> Result<Batch> {
        let files = noise(COUNT).files;
        let x: Vec<f32> = items
            .iter()
            .flat_map(|&item| pixels(&files[item]))
            .collect();
        Ok(Batch {
            x: Array::new([items.len(), 3, SIZE, SIZE], x)?,
            labels: labels(items),
        })
    }
}

struct Cached(CachedFeatures);

impl Samples for Cached {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn content(&self) -> String {
        self.0.digest()
    }

    fn batch(&mut self, items: &[usize]) -> Result<Batch> {
        Ok(Batch {
            x: self.0.rows(items)?,
            labels: labels(items),
        })
    }
}

fn task(model: &Tiny, groups: Groups) -> FineTune<'_> {
    FineTune {
        model,
        groups,
        recompute: Recompute::No,
        optimizer: Optimizer::AdamW(AdamW {
            update: ops::AdamW::default(),
            clip_norm: 1.0,
            loss_scaling: LossScaling::Off,
        }),
        schedule: WarmupCosine {
            peak: 0.02,
            warmup_steps: 2,
            total_steps: 8,
        },
        batch: BATCH,
        seed: 9,
    }
}

fn fit(task: &FineTune<'_>, pretrained: &Weights) -> Result<Tuned> {
    task.fit(
        &mut runner(),
        Input::Images,
        &mut Images,
        pretrained,
        None,
        &mut Silent,
    )
}

/// Three classes more: the head is new, the rest is as it was given.
#[test]
fn a_head_on_cached_features_learns_as_behind_the_frozen_network() {
    let old = Tiny {
        classes: Some(7),
        ..tiny()
    };
    let pretrained = untrained(&old, 5).expect("weights");
    let model = tiny();
    let task = task(&model, Groups::default().freeze("*").rate("head", 1.0));
    let through = fit(&task, &pretrained).expect("it learns");

    let place = tempfile::tempdir().expect("a folder");
    let (files, mut runner) = (Files::default(), runner());
    let backbone = Backbone {
        model: &model,
        weights: &pretrained,
        size: SIZE,
        tap: None,
        batch: BATCH,
    };
    let images = Arc::new(noise(COUNT));
    let features = cached_features(
        &files,
        place.path(),
        backbone,
        &mut runner,
        images,
        &mut Silent,
    );
    let mut samples = Cached(features.expect("features"));
    let cached = task
        .fit(
            &mut runner,
            Input::Features,
            &mut samples,
            &pretrained,
            None,
            &mut Silent,
        )
        .expect("it learns");
    assert_eq!(through.losses, cached.losses);
    assert_eq!(through.weights.digest(), cached.weights.digest());
    assert_eq!(through.losses.len(), 2);
    for (name, array) in &through.weights.tensors {
        let is_new = name.starts_with("head.");
        assert_eq!(
            pretrained.tensors.get(name) != Some(array),
            is_new,
            "{name}"
        );
    }
    assert_eq!(
        through.weights.tensors["head.weight"].shape(),
        [3, 4].into()
    );
}

/// Says what it is told, and that it holds something else than [`Images`].
struct Others(Images);

impl Samples for Others {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn content(&self) -> String {
        "other noise".into()
    }

    fn batch(&mut self, items: &[usize]) -> Result<Batch> {
        self.0.batch(items)
    }
}

#[derive(Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn begin(&mut self, _what: &str, _unit: &'static str, _total: u64) {}
    fn advance(&mut self, _units: u64) {}
    fn end(&mut self) {}
    fn note(&mut self, text: &str) {
        self.0.push(text.to_string());
    }
}

/// The description of weights for seven classes, with names and thresholds.
fn described(weights: &mut Weights, model: &str, classes: usize) {
    let card = Card {
        model: model.into(),
        configuration: Configuration {
            num_classes: Some(classes),
            image_size: [SIZE; 2],
            channels: 3,
        },
        preprocessing: Some(Preprocessing {
            size: SIZE,
            mean: [0.1, 0.2, 0.3],
            std: [0.5; 3],
        }),
        labels: Some((0..classes).map(|class| format!("class {class}")).collect()),
        thresholds: Some(vec![0.5; classes]),
        version: "0.0.1".into(),
    };
    card.write(weights).expect("a description");
}

/// What tuned weights say of themselves is true of them, and not of those that they began with.
#[test]
fn tuned_weights_have_a_description_of_their_own() {
    let model = tiny();
    let task = task(&model, Groups::default().freeze("*").rate("head", 1.0));
    let old = Tiny {
        classes: Some(7),
        ..tiny()
    };
    let tuned = |pretrained: &Weights| {
        let mut notes = Notes::default();
        let tuned = task.fit(
            &mut runner(),
            Input::Images,
            &mut Images,
            pretrained,
            None,
            &mut notes,
        );
        tuned.map(|tuned| (tuned.weights, notes.0))
    };
    let mut pretrained = untrained(&old, 5).expect("weights");
    described(&mut pretrained, model.name(), 7);
    let (weights, notes) = tuned(&pretrained).expect("it learns");
    let card = Card::read(&weights).expect("readable").expect("a card");
    assert_eq!(card.configuration.num_classes, Some(3));
    assert_eq!((card.labels, card.thresholds), (None, None));
    assert_eq!(card.configuration.image_size, [SIZE; 2]);
    let preprocessing = card.preprocessing.expect("three channels");
    assert_eq!(preprocessing.mean, [0.1, 0.2, 0.3]);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[1].contains("head.weight") && notes[1].contains("starts anew"),
        "{notes:?}"
    );

    // As many classes: their names stay, but at other probabilities.
    let mut pretrained = untrained(&model, 5).expect("weights");
    described(&mut pretrained, model.name(), 3);
    let (weights, notes) = tuned(&pretrained).expect("it learns");
    let card = Card::read(&weights).expect("readable").expect("a card");
    assert_eq!(card.labels.map(|labels| labels.len()), Some(3));
    assert_eq!(card.thresholds, None);
    assert!(notes.is_empty(), "{notes:?}");

    described(&mut pretrained, "another", 3);
    let refused = tuned(&pretrained).expect_err("of another network");
    assert!(refused.to_string().contains("\"another\""), "{refused}");
}

#[test]
fn blocks_computed_again_change_no_bit() {
    let (model, pretrained) = (tiny(), untrained(&tiny(), 5).expect("weights"));
    let stored = task(&model, Groups::default().layer_decay(0.5));
    let again = FineTune {
        recompute: Recompute::Blocks,
        ..stored.clone()
    };
    let graph = again.record(Input::Images, [4, 3, SIZE, SIZE].into());
    assert!(copies(&graph.expect("it records")) > 3);
    let (stored, again) = (fit(&stored, &pretrained), fit(&again, &pretrained));
    let (stored, again) = (stored.expect("it learns"), again.expect("it learns"));
    assert_eq!(stored.weights.digest(), again.weights.digest());
    assert_eq!(stored.losses, again.losses);
    let moved = |name: &str| stored.weights.tensors[name] != pretrained.tensors[name];
    assert!(moved("stem.weight") && moved("block.norm.running_var"));
}

struct Until(u64);

impl Progress for Until {
    fn begin(&mut self, _what: &str, _unit: &'static str, _total: u64) {}
    fn advance(&mut self, units: u64) {
        self.0 = self.0.saturating_sub(units);
    }
    fn end(&mut self) {}
    fn note(&mut self, _text: &str) {}
    fn should_stop(&self) -> bool {
        self.0 == 0
    }
}

fn kept(
    task: &FineTune<'_>,
    folder: &Path,
    pretrained: &Weights,
    progress: &mut dyn Progress,
) -> Result<Tuned> {
    let on = (&mut runner(), &mut Images as &mut dyn Samples);
    kept_on(on, task, folder, pretrained, progress)
}

fn kept_on(
    (runner, samples): (&mut Runner, &mut dyn Samples),
    task: &FineTune<'_>,
    folder: &Path,
    pretrained: &Weights,
    progress: &mut dyn Progress,
) -> Result<Tuned> {
    let checkpoints = Checkpoints::new(Files::default(), folder.to_path_buf());
    let kept = Kept {
        checkpoints: &checkpoints,
        every: 3,
    };
    task.fit(
        runner,
        Input::Images,
        samples,
        pretrained,
        Some(kept),
        progress,
    )
}

#[test]
fn a_stopped_training_goes_on_to_the_same_bits() {
    let (model, pretrained) = (tiny(), untrained(&tiny(), 5).expect("weights"));
    let task = task(&model, Groups::default().freeze("stem").rate("block", 0.3));
    let whole = fit(&task, &pretrained).expect("it learns");
    for images in 1..=2 * COUNT as u64 {
        let place = tempfile::tempdir().expect("a folder");
        let stopped = kept(&task, place.path(), &pretrained, &mut Until(images));
        assert!(stopped.expect_err("it stops").is_stopped());
        let resumed = kept(&task, place.path(), &pretrained, &mut Silent).expect("it learns");
        assert_eq!(
            resumed.weights.digest(),
            whole.weights.digest(),
            "behind {images}"
        );
        assert_eq!(resumed.losses, whole.losses, "behind {images}");
        // Done: nothing is left to do, and the last checkpoint carries what is frozen too.
        let again = kept(&task, place.path(), &pretrained, &mut Until(0)).expect("it is done");
        assert_eq!(again.weights.digest(), whole.weights.digest());
        let last = fs::read(place.path().join("step-00000008.safetensors")).expect("a checkpoint");
        let last = Weights::parse_own(&last).expect("sound");
        assert_eq!(
            last.tensors["stem.weight"],
            pretrained.tensors["stem.weight"]
        );
        assert!(!last.tensors.contains_key("optimizer.exp_avg.stem.weight"));
        let card = Card::read(&last).expect("readable").expect("a card");
        assert_eq!(card.configuration.num_classes, Some(3));
        let other = FineTune {
            seed: 10,
            ..task.clone()
        };
        let refused = kept(&other, place.path(), &pretrained, &mut Silent);
        let refused = refused.expect_err("it is another task").to_string();
        assert!(refused.contains("of another task"), "{refused}");
        let refused = kept_on(
            (&mut runner(), &mut Others(Images)),
            &task,
            place.path(),
            &pretrained,
            &mut Silent,
        );
        let refused = refused.expect_err("other samples").to_string();
        assert!(refused.contains("of another task"), "{refused}");
        let mut reference = Runner::new(Box::new(Reference::new(1).expect("an executor")));
        let refused = kept_on(
            (&mut reference, &mut Images),
            &task,
            place.path(),
            &pretrained,
            &mut Silent,
        );
        let refused = refused.expect_err("another device").to_string();
        assert!(refused.contains("of another device"), "{refused}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (model, pretrained) = (tiny(), untrained(&tiny(), 5).expect("weights"));
    let refused = |groups: Groups, weights: &Weights, input: Input| {
        let task = task(&model, groups);
        let result = task.fit(
            &mut runner(),
            input,
            &mut Images,
            weights,
            None,
            &mut Silent,
        );
        result.expect_err("it is refused").to_string()
    };
    let frozen = || Groups::default().freeze("*").rate("head", 1.0);
    let learns = refused(
        Groups::default().freeze("stem"),
        &pretrained,
        Input::Features,
    );
    assert!(learns.contains("block.conv.weight is to learn"), "{learns}");
    let typo = refused(frozen().freeze("blok"), &pretrained, Input::Features);
    assert!(
        typo.contains("\"blok\" covers no parameter") && typo.contains("block"),
        "{typo}"
    );

    let mut short = pretrained.clone();
    short.tensors.remove("block.conv.weight");
    let missing = refused(frozen(), &short, Input::Images);
    assert!(
        missing.contains("block.conv.weight is missing"),
        "{missing}"
    );
    short = pretrained.clone();
    short.tensors.remove("head.weight");
    let missing = refused(Groups::default().freeze("head"), &short, Input::Images);
    assert!(missing.contains("head.weight is missing"), "{missing}");
    short = pretrained.clone();
    short
        .tensors
        .insert("extra".to_string(), Array::scalar(1.0));
    let unknown = refused(frozen(), &short, Input::Images);
    assert!(unknown.contains("extra is unknown"), "{unknown}");

    // A runner keeps its plans: one for another task is not taken for this one's.
    let mut runner = runner();
    let first = task(&model, Groups::default());
    let mut run = |task: &FineTune<'_>| {
        task.fit(
            &mut runner,
            Input::Images,
            &mut Images,
            &pretrained,
            None,
            &mut Silent,
        )
    };
    run(&first).expect("it learns");
    let other = run(&task(&model, frozen())).expect_err("it is another");
    assert!(other.to_string().contains("holds another task"), "{other}");
}
