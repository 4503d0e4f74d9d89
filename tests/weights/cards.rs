//! What a file says of its network is true of its tensors, and stays true of what is made from them.

use super::fitting::{Tiny, WHOLE, WIDTH, file, numbers, tiny};
use super::{MOST, NOW, turn};
use axenic::models::Preprocessing;
use axenic::systems::ife::config::Preset;
use axenic::train::fit::{Attempt, Classes, Fitted, Request, Target, attempt, fit};
use axenic::train::{Card, Configuration, WeightFile, Weights, fit as fitting};
use std::sync::atomic::Ordering;

/// A safetensors file by hand: the metadata, and tensors with their types, shapes and bytes.
fn by_hand(metadata: &[(&str, &str)], tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let texts: serde_json::Map<_, _> = metadata
        .iter()
        .map(|(name, text)| ((*name).to_string(), (*text).into()))
        .collect();
    if !texts.is_empty() {
        header.insert("__metadata__".into(), texts.into());
    }
    let mut data: Vec<u8> = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        let row = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
        header.insert((*name).to_string(), row);
        data.extend(bytes);
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

/// Zeros, four bytes each.
fn zeros(shape: &[usize]) -> Vec<u8> {
    vec![0; 4 * shape.iter().product::<usize>()]
}

/// Weights of [`Tiny`] with a card as given.
fn described(shapes: &[(&str, &[usize])], change: impl FnOnce(&mut Card)) -> WeightFile {
    let mut weights = Weights::default();
    for (name, shape) in shapes {
        weights.tensors.insert((*name).into(), numbers(shape));
    }
    let mut card = Card {
        model: "tiny".into(),
        configuration: Configuration {
            num_classes: Some(5),
            image_size: [6, 6],
            channels: 3,
        },
        preprocessing: Some(Preprocessing {
            size: 6,
            mean: [0.1, 0.2, 0.3],
            std: [0.4, 0.5, 0.6],
        }),
        labels: None,
        thresholds: None,
        version: "0.0.1".into(),
    };
    change(&mut card);
    card.write(&mut weights).expect("a card");
    WeightFile::parse(&weights.to_bytes().expect("a file")).expect("our file")
}

fn card_of(file: &WeightFile, request: &Request) -> Card {
    let fitted = fit(file, &mut tiny(), request).expect("it fits");
    let card = Card::read(&fitted.weights).expect("readable");
    let card = card.expect("a card");
    assert_eq!(fitted.preprocessing, card.preprocessing);
    card
}

/// Files of other programs carry texts too, and tensors that are none of the network's.
#[test]
fn foreign_texts_ask_for_no_digest() {
    let _turn = turn();
    let mut tensors: Vec<_> = WHOLE
        .iter()
        .map(|(name, shape)| (*name, "F32", *shape, zeros(shape)))
        .collect();
    tensors.push(("mask", "BOOL", &[1], vec![1]));
    let bytes = by_hand(&[("format", "pt")], &tensors);
    let file = WeightFile::parse(&bytes).expect("a file");
    let fitted = fit(&file, &mut tiny(), &Request::default()).expect("it fits");
    let mask = fitted.account.lines.iter().find(|line| line.name == "mask");
    assert_eq!(mask.expect("accounted for").fate.word(), "skipped");
    let (weights, account) = fitting::as_they_are(&file, None).expect("tensors");
    assert_eq!(weights.tensors.len(), WHOLE.len());
    assert_eq!(account.lines.len(), WHOLE.len() + 1);
}

#[test]
fn what_the_card_says_stays() {
    let _turn = turn();
    let file = described(WHOLE, |_| {});
    let own = card_of(&file, &Request::default());
    let preprocessing = own.preprocessing.expect("three channels");
    assert_eq!(preprocessing.mean, [0.1, 0.2, 0.3]);
    assert_eq!(preprocessing.std, [0.4, 0.5, 0.6]);
    let larger = Request {
        image_size: Some([8, 4]),
        ..Request::default()
    };
    let larger = card_of(&file, &larger).preprocessing.expect("known");
    assert_eq!((larger.size, larger.mean), (8, [0.1, 0.2, 0.3]));

    // Of other channels nothing is known, and three means are not said to prepare seven.
    let seven = Request {
        channels: Some(7),
        ..Request::default()
    };
    let card = card_of(&file, &seven);
    assert_eq!((card.configuration.channels, card.preprocessing), (7, None));
    let mut weights = Weights::default();
    let mut wrong = card_of(&file, &Request::default());
    wrong.configuration.channels = 7;
    let text = wrong.write(&mut weights).expect_err("three").to_string();
    assert!(text.contains("7 channels"), "{text}");

    // A classifier that starts anew has neither the names nor the thresholds of the one before.
    let named = described(WHOLE, |card| {
        card.labels = Some(vec!["a".into(); 5]);
        card.thresholds = Some(vec![0.5; 5]);
    });
    assert!(card_of(&named, &Request::default()).thresholds.is_some());
    let without: Vec<_> = WHOLE
        .iter()
        .filter(|(name, _)| *name != "head.weight")
        .copied()
        .collect();
    let headless = described(&without, |card| {
        card.labels = Some(vec!["a".into(); 5]);
        card.thresholds = Some(vec![0.5; 5]);
    });
    let anew = Request {
        classes: Classes::Count(5),
        ..Request::default()
    };
    let anew = card_of(&headless, &anew);
    assert_eq!((anew.labels, anew.thresholds), (None, None));
}

#[test]
fn cards_that_say_what_cannot_be_are_refused() {
    let _turn = turn();
    let card = card_of(&described(WHOLE, |_| {}), &Request::default());
    let refused = |change: fn(&mut Card)| {
        let mut card = card.clone();
        change(&mut card);
        let written = card.write(&mut Weights::default());
        written.expect_err("refused").to_string()
    };
    let improbable = refused(|card| card.thresholds = Some(vec![0.5, 0.5, 1.5, 0.5, 0.5]));
    assert!(improbable.contains("1.5"), "{improbable}");
    let none = refused(|card| card.thresholds = Some(vec![f64::NAN; 5]));
    assert!(none.contains("NaN"), "{none}");
    let flat = refused(|card| {
        let preprocessing = card.preprocessing.as_mut().expect("known");
        preprocessing.std[1] = 0.0;
    });
    assert!(flat.contains("standard deviations"), "{flat}");
}

#[test]
fn cards_that_contradict_their_tensors_are_refused() {
    let _turn = turn();
    type Change = fn(&mut Card);
    let cases: [(Change, &str); 5] = [
        (
            |card| card.configuration.num_classes = Some(4),
            "4 classes, its tensors have 5",
        ),
        (
            |card| card.configuration.num_classes = None,
            "no classes, its tensors have 5",
        ),
        (
            |card| {
                card.configuration.channels = 1;
                card.preprocessing = None;
            },
            "1 channels, its tensors have 3",
        ),
        (
            |card| card.configuration.image_size = [8, 6],
            "images of 8×6",
        ),
        (
            |card| card.configuration.image_size = [usize::MAX, usize::MAX],
            "its tensors have 9 for patches",
        ),
    ];
    for (change, word) in cases {
        let file = described(WHOLE, change);
        let text = fit(&file, &mut tiny(), &Request::default()).expect_err(word);
        assert!(text.to_string().contains(word), "{text}");
    }
}

/// A table of 4·9 positions is also one of 6·6: the card tells.
#[test]
fn the_card_tells_what_a_table_of_positions_is_for() {
    let _turn = turn();
    let shapes = [WHOLE[0], ("positions", &[1, 37, WIDTH]), WHOLE[2], WHOLE[3]];
    let wide = described(&shapes, |card| card.configuration.image_size = [8, 18]);
    let fitted = fit(&wide, &mut tiny(), &Request::default()).expect("it fits");
    assert_eq!(fitted.image, [3, 8, 18]);
    assert_eq!(
        fitted.weights.tensors["positions"],
        numbers(&[1, 37, WIDTH])
    );
    let square = Request {
        image_size: Some([12, 12]),
        ..Request::default()
    };
    let lines = fit(&wide, &mut tiny(), &square).expect("it fits").account;
    let line = lines.lines.iter().find(|line| line.name == "positions");
    let how = line.expect("a line").fate.how().to_string();
    assert_eq!(how, "4×9 → 6×6 positions, antialiased");
    let bare = file(&shapes);
    let fitted = fit(&bare, &mut tiny(), &Request::default()).expect("it fits");
    assert_eq!(fitted.image, [3, 12, 12]);
}

/// What does not fit is told tensor by tensor, also to a program; a sentence need not list them all.
#[test]
fn the_account_is_there_where_a_file_does_not_fit() {
    let _turn = turn();
    let Attempt::Amiss(account) =
        attempt(&file(&WHOLE[1..]), &mut tiny(), &Request::default()).expect("an account")
    else {
        panic!("it does not fit");
    };
    assert_eq!(account.lines.len(), WHOLE.len());
    let more = [WHOLE, &[("b", &[1]), ("c", &[1]), ("d", &[1])]].concat();
    let amiss = attempt(&file(&more), &mut tiny(), &Request::default());
    let Attempt::Amiss(account) = amiss.expect("an account") else {
        panic!("it does not fit");
    };
    let text = account.complaint(2).expect("a sentence");
    assert!(
        text.contains("b is unknown, c is unknown and 1 more") && !text.contains("d is"),
        "{text}"
    );
    let fits = attempt(&file(WHOLE), &mut tiny(), &Request::default()).expect("it fits");
    assert!(matches!(fits, Attempt::Fits(_)));
}

/// Lengths that cost a file nothing, or that only its own description states, cost no memory.
#[test]
fn stated_sizes_start_nothing_large() {
    let _turn = turn();
    let request = Request {
        allow_missing: true,
        allow_unknown: true,
        ..Request::default()
    };
    let unread = by_hand(
        &[],
        &[
            ("patches.weight", "I8", &[WIDTH, 42_000_000, 2, 0], vec![]),
            ("positions", "I8", &[1, 5000 * 5000 + 1, 0], vec![]),
            ("head.weight", "F32", &[3, WIDTH], zeros(&[3, WIDTH])),
        ],
    );
    let mut said = Weights::default();
    let (name, shape) = WHOLE[0];
    said.tensors.insert(name.into(), numbers(shape));
    let mut card = card_of(&described(WHOLE, |_| {}), &Request::default());
    card.configuration.image_size = [20_000, 20_000];
    card.configuration.num_classes = Some(1 << 28);
    card.write(&mut said).expect("a card");
    for bytes in [unread, said.to_bytes().expect("a file")] {
        let target = &mut Tiny { classes: Some(3) };
        let fitted = cheaply(&bytes, target, &request).expect("it fits");
        assert_eq!(fitted.image, [3, 6, 6]);
    }
    // A stem of few numbers can be that of a network of many.
    let stem: &[usize] = &[800, 3, 7, 7];
    let stem = by_hand(&[], &[("encoder.conv1.weight", "F32", stem, zeros(stem))]);
    let mut wide = Preset::Paper.config().model;
    let refused = cheaply(&stem, &mut wide, &request).expect_err("refused");
    assert!(refused.to_string().contains("no honest"), "{refused}");
}

/// Fits a file, and counts what that takes.
fn cheaply<T: Target>(bytes: &[u8], target: &mut T, request: &Request) -> axenic::Result<Fitted> {
    let before = NOW.load(Ordering::SeqCst);
    MOST.store(before, Ordering::SeqCst);
    let fitted = WeightFile::parse(bytes).and_then(|file| fit(&file, target, request));
    let most = MOST.load(Ordering::SeqCst) - before;
    assert!(most < 8 << 20, "{most} bytes for a file of {}", bytes.len());
    fitted
}
