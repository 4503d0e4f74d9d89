//! A plausible run for the tests of pages and tables.

use crate::rng::Stream;
use crate::systems::ife::result::{
    CLASS_NAMES, EpochRow, Estimate, Evaluation, Example, OperatingPoint, Prediction, RunReport,
};
use crate::systems::ife::synth;

/// Side of the sample images.
const SIZE: usize = 224;

/// A run of `epochs` epochs with an example for each of `classes`, some of them read wrongly.
pub(super) fn report(epochs: usize, classes: &[usize]) -> RunReport {
    RunReport {
        history: (1..=epochs).map(epoch).collect(),
        best_epoch: (epochs * 3 / 4).max(1),
        evaluations: vec![evaluation("validation", 240), evaluation("test", 306)],
        examples: classes.iter().enumerate().map(|(n, &class)| example(class, n)).collect(),
        config: "seed = 42\n\n[model]\nvariant = \"paper\" # or \"released\"\nshare = 3\nsize = 224\nwidth = 64\n\n[loss]\nlambda_inner = 0.3\nlambda_inter = 0.3\ntemperature = 5.0\n".into(),
        facts: [
            ("device", "cpu, 2 threads"),
            ("axenic", "0.1.0"),
            ("speed of the training steps", "41.3 images/s"),
            ("weights SHA-256", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into(),
        data: "1530 labelled images: 1102 Negative, 9 κ, 12 λ, 164 IgG-κ, 111 IgG-λ, 47 IgA-κ, 48 IgA-λ, 26 IgM-κ, 11 IgM-λ".into(),
        left_out: Vec::new(),
    }
}

fn epoch(epoch: usize) -> EpochRow {
    let mut stream = Stream::new(1, "sample epoch", epoch as u64, 0);
    let mut noise = |scale: f64| scale * (stream.uniform() - 0.5);
    let e = epoch as f64;
    let fall = (-e / 12.0).exp();
    EpochRow {
        epoch,
        step: epoch * 20,
        learning_rate: if epoch <= 5 {
            0.006 * e
        } else {
            0.015 * (1.0 + (e * 0.05).cos())
        },
        loss_heavy: 1.2 * fall + 0.05 + noise(0.06),
        loss_light: 0.95 * fall + 0.04 + noise(0.06),
        loss_inner: 0.02 + 0.01 * fall + noise(0.002),
        loss_inter: 0.006 * fall + noise(0.0006).abs(),
        loss_total: 2.2 * fall + 0.1,
        gradient_norm: 2.5 * fall + 0.8 + noise(0.7),
        validation_loss: 2.0 * fall + 0.21 + 0.002 * e + noise(0.12),
        validation_accuracy: (0.955 - 0.35 * fall + noise(0.03)).min(1.0),
        validation_macro_f1: (0.86 - 0.7 * fall + noise(0.05)).max(0.0),
        validation_fnr: Some((0.07 + 0.6 * fall + noise(0.03)).max(0.0)),
        skipped_steps: 0,
    }
}

/// An evaluation of so many images, named `split`.
pub(super) fn evaluation(split: &str, images: usize) -> Evaluation {
    let estimate = |value: f64, width: f64| Estimate {
        value: Some(value),
        low: Some(value - width),
        high: Some((value + 0.7 * width).min(1.0)),
    };
    let mut confusion = vec![vec![0; 9]; 9];
    for (class, count) in [images - 86, 2, 3, 33, 22, 9, 9, 6, 2]
        .into_iter()
        .enumerate()
    {
        confusion[class][class] = count;
    }
    for (truth, predicted, count) in [
        (0, 3, 2),
        (3, 0, 2),
        (5, 0, 1),
        (8, 7, 1),
        (4, 3, 1),
        (6, 2, 1),
    ] {
        confusion[truth][truth] -= count;
        confusion[truth][predicted] += count;
    }
    Evaluation {
        split: split.into(),
        images,
        accuracy: estimate(0.9739, 0.021),
        macro_f1: estimate(0.8668, 0.082),
        false_negative_rate: estimate(0.0349, 0.03),
        rarest_recall: estimate(0.5, 0.45),
        three_rarest_recall: Estimate {
            value: Some(0.761),
            low: None,
            high: None,
        },
        heavy_accuracy: estimate(0.98, 0.017),
        light_accuracy: estimate(0.985, 0.014),
        confusion,
        heavy_confusion: vec![
            vec![224, 2, 0, 0],
            vec![2, 52, 1, 0],
            vec![2, 0, 15, 1],
            vec![0, 0, 0, 7],
        ],
        light_confusion: vec![vec![218, 1, 1], vec![2, 48, 1], vec![1, 0, 34]],
        auroc: Some(0.9912),
        operating_points: [
            (0.9, 0.8123, 0.907, 0.995),
            (0.95, 0.41, 0.953, 0.986),
            (0.99, 0.00231, 1.0, 0.773),
        ]
        .map(
            |(wanted_sensitivity, threshold, sensitivity, specificity)| OperatingPoint {
                wanted_sensitivity,
                threshold,
                sensitivity,
                specificity,
            },
        )
        .into(),
        calibration_error: Some(0.0183),
    }
}

/// A prediction of `class` for the image named `image`.
pub(super) fn prediction(class: usize, image: &str) -> Prediction {
    let mut probabilities = vec![0.004; 9];
    probabilities[class] = 0.8213;
    probabilities[(class + 2) % 9] = 0.1507;
    Prediction {
        image: image.into(),
        class,
        name: CLASS_NAMES[class].into(),
        confidence: probabilities[class],
        probabilities,
        heavy: vec![0.1, 0.85, 0.03, 0.02],
        light: vec![0.05, 0.9, 0.05],
        warning: None,
    }
}

/// A gel of `class`; every fourth is read wrongly, every fifth carries a warning.
pub(super) fn example(class: usize, number: usize) -> Example {
    let mut stream = Stream::new(3, "sample gel", class as u64, number as u64);
    let gel = synth::render(class, &mut stream).expect("a gel");
    let filter = image::imageops::FilterType::Triangle;
    let gel = image::imageops::resize(&gel.image, SIZE as u32, SIZE as u32, filter);
    let predicted = if number % 4 == 3 {
        (class + 1) % 9
    } else {
        class
    };
    let mut prediction = prediction(predicted, &format!("../data/{}.jpg", 100 + number));
    if number % 5 == 4 {
        prediction.warning =
            Some("The image does not look like the training data: its colours are unusual.".into());
    }
    let bump = |rows: usize, centre: f32| {
        (0..rows)
            .map(|row| {
                0.31 + 0.52 * (-((row as f32 + 0.5) / rows as f32 - centre).powi(2) * 60.0).exp()
            })
            .collect::<Vec<f32>>()
    };
    let centre = 0.3 + 0.05 * number as f32;
    Example {
        prediction,
        truth: (number != 1).then_some(class),
        pixels: gel.into_raw(),
        size: SIZE,
        attention: vec![
            [bump(56, centre), bump(56, centre)],
            [bump(28, centre), bump(28, centre)],
            [bump(14, centre), bump(14, centre)],
            [bump(7, centre), bump(7, centre + 0.2)],
        ],
    }
}
