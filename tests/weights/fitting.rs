//! Fitting weights to a network: every tensor is accounted for, what differs in a known way is adapted as timm and DINOv2
//! adapt it, and everything else is an error unless allowed.

use super::turn;
use axenic::array::{Array, Spec};
use axenic::graph::{Graph, Init};
use axenic::models::{self, PositionEmbedding, Preprocessing, Profile};
use axenic::ops;
use axenic::shape::{KeepAxes, Shape};
use axenic::train::fit::{Classes, Request, Resampling, Target, fit};
use axenic::train::fit::{channels, positions};
use axenic::train::{Card, WeightFile, Weights};
use std::path::Path;

fn adapted() -> Weights {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Weights::load(&root.join("tests/golden/weights/adapted.safetensors")).expect("golden numbers")
}

fn close(ours: &Array, theirs: &Array, what: &str) {
    assert_eq!(ours.shape(), theirs.shape(), "{what}");
    for (a, b) in ours.to_f64().iter().zip(theirs.to_f64().iter()) {
        assert!(
            (a - b).abs() < 2e-6 * (1.0 + b.abs()),
            "{what}: {a} and {b}"
        );
    }
}

/// Tables of 2 to 9 rows, made larger, smaller, and of other proportions; two keep the length of an axis.
#[test]
fn positions_are_resized_as_timm_and_dinov2_do() {
    let _turn = turn();
    let golden = adapted().tensors;
    let mut checked = 0;
    for (name, table) in golden.iter().filter(|(name, _)| name.ends_with(".table")) {
        let base = name.strip_suffix(".table").expect("a table");
        let numbers: Vec<usize> = base.split('.').filter_map(|n| n.parse().ok()).collect();
        for (way, resampling) in [
            ("timm", Resampling::Antialiased),
            ("dinov2", Resampling::Offset),
        ] {
            let (from, to) = ([numbers[0]; 2], [numbers[1], numbers[2]]);
            let ours = positions::resize(table, 1, from, to, resampling);
            close(
                &ours.expect("resizes"),
                &golden[&format!("{base}.{way}")],
                &format!("{base}.{way}"),
            );
            checked += 1;
        }
    }
    assert_eq!(checked, 16);
}

#[test]
fn first_convolutions_are_adapted_as_timm_does() {
    let _turn = turn();
    let golden = adapted().tensors;
    for count in [1, 2, 4, 5, 7] {
        let ours = channels::adapt(&golden["channels.weight"], count).expect("adapts");
        assert_eq!(
            ours,
            golden[&format!("channels.{count}")],
            "{count} channels"
        );
    }
    let e = channels::adapt(&golden["channels.4"], 1).expect_err("only three can");
    assert!(e.to_string().contains("only one for 3"), "{e}");
}

/// Patches of 2×2 pixels, a class token's place, positions, a classifier; a counter and a travelling tensor beside.
pub(super) struct Tiny {
    pub(super) classes: Option<usize>,
}

pub(super) const WIDTH: usize = 2;

impl Target for Tiny {
    fn name(&self) -> &str {
        "tiny"
    }

    fn profile(&self) -> Option<Profile> {
        Some(Profile {
            classifier: "head".into(),
            first_convolution: "patches".into(),
            position_embedding: Some(PositionEmbedding {
                name: "positions".into(),
                prefix_tokens: 1,
                patch_size: 2,
            }),
            preprocessing: self.preprocessing(),
        })
    }

    fn fit_to(&mut self, shape_of: &dyn Fn(&str) -> Option<Shape>) {
        self.classes = shape_of("head.weight").and_then(|shape| shape.first().copied());
    }

    fn num_classes(&self) -> Option<usize> {
        self.classes
    }

    fn set_num_classes(&mut self, num_classes: Option<usize>) {
        self.classes = num_classes;
    }

    fn preprocessing(&self) -> Preprocessing {
        Preprocessing::half(6)
    }

    fn record(&self, [channels, height, width]: [usize; 3]) -> axenic::Result<Graph> {
        Graph::record(|r| {
            let scope = r.scope();
            let init = Init::Normal { std: 1.0 };
            let weight = [WIDTH, channels, 2, 2];
            let weight = scope.name("patches").parameter("weight", weight, init)?;
            let tokens = 1 + height / 2 * (width / 2);
            let table = scope.parameter("positions", [1, tokens, WIDTH], init)?;
            scope.travelling("mask_token", [1, WIDTH])?;
            let mut y = ops::add(
                ops::mean(weight, &[0, 1, 2, 3], KeepAxes::No)?,
                ops::mean(table, &[0, 1, 2], KeepAxes::No)?,
            )?;
            if let Some(classes) = self.classes {
                let weight = scope
                    .name("head")
                    .parameter("weight", [classes, WIDTH], init)?;
                y = ops::add(y, ops::mean(weight, &[0, 1], KeepAxes::No)?)?;
            }
            r.output("y", y)
        })
    }
}

pub(super) fn tiny() -> Tiny {
    Tiny { classes: None }
}

pub(super) fn numbers(shape: &[usize]) -> Array {
    let shape = Shape::new(shape).expect("a shape");
    let values: Vec<f32> = (0..shape.elements())
        .map(|i| i as f32 / 4.0 - 1.0)
        .collect();
    Array::new(shape, values).expect("fits")
}

/// A file of tensors with these names and shapes.
pub(super) fn file(tensors: &[(&str, &[usize])]) -> WeightFile {
    let mut weights = Weights::default();
    for (name, shape) in tensors {
        weights.tensors.insert((*name).into(), numbers(shape));
    }
    WeightFile::parse(&weights.to_bytes().expect("a file")).expect("our file")
}

pub(super) const WHOLE: &[(&str, &[usize])] = &[
    ("patches.weight", &[WIDTH, 3, 2, 2]),
    ("positions", &[1, 10, WIDTH]),
    ("head.weight", &[5, WIDTH]),
    ("mask_token", &[1, WIDTH]),
];

/// Name and fate of every line that was not simply loaded.
fn fates(file: &WeightFile, request: &Request) -> Vec<(String, String)> {
    let fitted = fit(file, &mut tiny(), request).expect("it fits");
    let lines = fitted.account.lines.into_iter();
    let told = lines.filter(|line| line.fate.word() != "loaded");
    told.map(|line| {
        (
            line.name.clone(),
            format!("{} {}", line.fate.word(), line.fate.how()),
        )
    })
    .collect()
}

fn refused(file: &WeightFile, request: &Request) -> String {
    let text = fit(file, &mut tiny(), request)
        .expect_err("refused")
        .to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn what_fits_is_taken_as_it_is() {
    let _turn = turn();
    let file = file(WHOLE);
    let fitted = fit(&file, &mut tiny(), &Request::default()).expect("it fits");
    assert_eq!(fitted.image, [3, 6, 6]);
    for (name, shape) in WHOLE {
        assert_eq!(fitted.weights.tensors[*name], numbers(shape), "{name}");
    }
    assert_eq!(
        fates(&file, &Request::default()),
        [("mask_token".into(), "kept takes no part".into())]
    );
    let card = Card::read(&fitted.weights)
        .expect("readable")
        .expect("a card");
    assert_eq!(
        (card.model.as_str(), card.configuration.num_classes),
        ("tiny", Some(5))
    );
    let bytes = fitted.weights.to_bytes().expect("a file");
    let again = WeightFile::parse(&bytes).expect("our file");
    let twice = fit(&again, &mut tiny(), &Request::default()).expect("it fits still");
    assert_eq!(
        twice.weights.to_bytes().expect("a file"),
        bytes,
        "equal input, equal bytes"
    );
    let e = fit(
        &again,
        models::find("resnet18").expect("a model").as_mut(),
        &Request::default(),
    );
    let text = e.expect_err("another network").to_string();
    assert!(
        text.contains("\"tiny\"") && text.contains("\"resnet18\""),
        "{text}"
    );
}

#[test]
fn every_difference_is_adapted_or_said() {
    let _turn = turn();
    let file = file(WHOLE);
    let request = Request {
        image_size: Some([4, 8]),
        channels: Some(1),
        classes: Classes::Count(7),
        seed: 3,
        ..Request::default()
    };
    let told = fates(&file, &request);
    let said = |name: &str| {
        told.iter()
            .find(|(own, _)| own == name)
            .map(|(_, fate)| fate.as_str())
    };
    assert_eq!(said("patches.weight"), Some("adapted 3 → 1 channels"));
    assert_eq!(
        said("positions"),
        Some("adapted 3×3 → 2×4 positions, antialiased")
    );
    assert_eq!(
        said("head.weight"),
        Some("new a new classifier instead of the one for 5")
    );
    let fitted = fit(&file, &mut tiny(), &request)
        .expect("it fits")
        .weights
        .tensors;
    assert_eq!(fitted["head.weight"].spec(), Spec::real([7, WIDTH]));
    let table = positions::resize(
        &numbers(&[1, 10, WIDTH]),
        1,
        [3, 3],
        [2, 4],
        Resampling::Antialiased,
    );
    assert_eq!(fitted["positions"], table.expect("resizes"));
    // As many patches, laid out otherwise, are other positions.
    let wide = Request {
        image_size: Some([2, 18]),
        ..Request::default()
    };
    assert_eq!(
        fates(&file, &wide)[0].1,
        "adapted 3×3 → 1×9 positions, antialiased"
    );
    let seed = |seed| {
        let request = Request {
            seed,
            ..request.clone()
        };
        fit(&file, &mut tiny(), &request)
            .expect("it fits")
            .weights
            .tensors["head.weight"]
            .clone()
    };
    assert_eq!(seed(3), seed(3));
    assert_ne!(seed(3), seed(4));
    let none = Request {
        classes: Classes::None,
        ..Request::default()
    };
    let without = fates(&file, &none);
    assert!(
        without.contains(&(
            "head.weight".into(),
            "skipped the classifier is left away".into()
        )),
        "{without:?}"
    );
}

#[test]
fn what_is_amiss_is_listed_and_allowed_only_by_name() {
    let _turn = turn();
    let default = Request::default();
    let missing = Request {
        allow_missing: true,
        ..Request::default()
    };
    let unknown = Request {
        allow_unknown: true,
        ..Request::default()
    };
    let lacking = file(&WHOLE[1..]);
    let text = refused(&lacking, &default);
    assert!(
        text.contains("patches.weight is missing") && text.contains("--allow-missing"),
        "{text}"
    );
    assert!(refused(&lacking, &unknown).contains("patches.weight is missing"));
    let told = fates(&lacking, &missing);
    assert_eq!(
        told[0],
        ("patches.weight".into(), "new missing in the file".into())
    );
    let more = file(&[WHOLE, &[("extra.bias", &[2])]].concat());
    let text = refused(&more, &default);
    assert!(
        text.contains("extra.bias is unknown") && text.contains("--allow-unknown"),
        "{text}"
    );
    assert!(refused(&more, &missing).contains("extra.bias is unknown"));
    assert!(
        fates(&more, &unknown)
            .contains(&("extra.bias".into(), "skipped unknown to the network".into()))
    );
    for (name, shape, word) in [
        (
            "patches.weight",
            &[WIDTH, 3, 3, 3][..],
            "instead of [2, 3, 2, 2]",
        ),
        ("positions", &[1, 10, 3], "instead of [1, 10, 2]"),
        ("positions", &[1, 9, WIDTH], "instead of [1, 10, 2]"),
        ("head.weight", &[5, 3], "instead of [5, 2]"),
        ("mask_token", &[1, 3], "instead of [1, 2]"),
    ] {
        let changed: Vec<_> = WHOLE
            .iter()
            .map(|&(own, old)| {
                if own == name {
                    (own, shape)
                } else {
                    (own, old)
                }
            })
            .collect();
        let both = Request {
            allow_missing: true,
            allow_unknown: true,
            ..Request::default()
        };
        let text = refused(&file(&changed), &both);
        assert!(text.contains(name) && text.contains(word), "{name}: {text}");
    }
    let text = refused(&file(&[("other", &[2])]), &default);
    assert!(
        text.contains("no tensor of the file") && text.contains("\"other\""),
        "{text}"
    );
}

#[test]
fn prefixes_and_entries_of_the_network_are_found() {
    let _turn = turn();
    for prefix in [
        "module.",
        "backbone.",
        "module.backbone.",
        "_orig_mod.module.",
        "my.own.trunk.",
    ] {
        let named: Vec<(String, &[usize])> = WHOLE
            .iter()
            .map(|(name, shape)| (format!("{prefix}{name}"), *shape))
            .chain([("dino_head.weight".to_string(), &[3][..])])
            .collect();
        let named: Vec<(&str, &[usize])> = named
            .iter()
            .map(|(name, shape)| (name.as_str(), *shape))
            .collect();
        let fitted = fit(&file(&named), &mut tiny(), &Request::default()).expect(prefix);
        assert_eq!(fitted.account.source.prefix, prefix);
        let head = fitted
            .account
            .lines
            .iter()
            .find(|line| line.name == "dino_head.weight");
        let head = head.expect("accounted for");
        assert_eq!(head.fate.how(), format!("not under {prefix:?}"));
    }
}

#[test]
fn numbers_that_are_none_are_refused() {
    let _turn = turn();
    let mut weights = Weights::default();
    for (name, shape) in WHOLE {
        weights.tensors.insert((*name).into(), numbers(shape));
    }
    let table = Array::new([1, 10, WIDTH], vec![f64::MAX; 20]).expect("fits");
    weights.tensors.insert("positions".into(), table);
    let file = WeightFile::parse(&weights.to_bytes().expect("a file")).expect("our file");
    assert!(refused(&file, &Request::default()).contains("positions holds no finite number"));
}

#[test]
fn labels_are_as_many_as_classes() {
    let _turn = turn();
    let mut weights = fit(&file(WHOLE), &mut tiny(), &Request::default())
        .expect("it fits")
        .weights;
    let mut card = Card::read(&weights).expect("readable").expect("a card");
    card.labels = Some(vec!["a".into(); 4]);
    assert!(
        card.write(&mut weights)
            .expect_err("five")
            .to_string()
            .contains("4 labels for 5 classes")
    );
    card.labels = Some(vec!["a".into(); 5]);
    card.thresholds = Some(vec![0.5; 5]);
    card.write(&mut weights).expect("as many");
    let read = |weights: &Weights| {
        let file = WeightFile::parse(&weights.to_bytes().expect("a file")).expect("our file");
        move |request| {
            Card::read(&fit(&file, &mut tiny(), &request).expect("fits").weights)
                .expect("readable")
                .expect("a card")
        }
    };
    let kept = read(&weights)(Request::default());
    assert_eq!(
        (kept.labels, kept.thresholds),
        (card.labels, card.thresholds)
    );
    let other = read(&weights)(Request {
        classes: Classes::Count(4),
        ..Request::default()
    });
    assert_eq!((other.labels, other.thresholds), (None, None));
}
