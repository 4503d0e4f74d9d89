//! The IFE system, held against an independent implementation in f64 (see `tests/golden/make_golden.py`).

use axenic::array::{Array, Element};
use axenic::exec::{Cpu, Executor, Reference};
use axenic::graph::LeafKind;
use axenic::nn::BatchNormMode;
use axenic::systems::ife::config::{Preset, Variant};
use axenic::systems::ife::graphs::{ForwardRequest, forward};
use axenic::train::{Runner, Weights};
use std::collections::BTreeMap;
use std::path::Path;

/// `count` numbers in [centre − radius, centre + radius): SplitMix64 from the FNV-1a hash of the name, rounded to f32.
fn hashed(name: &str, count: usize, centre: f64, radius: f64) -> Vec<f32> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = |i: u64| {
        let mut z = seed.wrapping_add((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let unit = |i| (mixed(i) >> 40) as f64 / f64::from(1 << 23) - 1.0;
    (0..count as u64)
        .map(|i| (centre + radius * unit(i)) as f32)
        .collect()
}

/// The weights that the golden vectors were made with.
fn hashed_parameter(name: &str, shape: &[usize]) -> Vec<f32> {
    let (centre, radius) = match shape {
        _ if name.ends_with("running_var") => (1.0, 0.5),
        [_] if name.ends_with(".weight") => (1.0, 0.2),
        [_] => (0.0, 0.2),
        _ => (
            0.0,
            (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt(),
        ),
    };
    hashed(name, shape.iter().product(), centre, radius)
}

struct Golden {
    tensors: BTreeMap<String, Array>,
    prefix: String,
}

impl Golden {
    fn open(variant: &str, prefix: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/golden/ife_{variant}.safetensors"));
        Self {
            tensors: Weights::load(&path).expect("golden vectors").tensors,
            prefix: prefix.to_string(),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors
            .keys()
            .filter_map(|key| key.strip_prefix(self.prefix.as_str()))
    }

    fn get(&self, name: &str) -> Vec<f64> {
        self.tensors[&format!("{}{name}", self.prefix)]
            .to_f64()
            .into_owned()
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// What the golden file holds of a value: everything, or a summary.
fn summary(name: &str, values: &[f64]) -> Vec<f64> {
    if name.starts_with("state.") {
        let n = values.len();
        return vec![
            norm(values),
            values.iter().sum(),
            values[0],
            values[n / 2],
            values[n - 1],
        ];
    }
    let Some(parameter) = name.strip_prefix("grad.") else {
        return values.to_vec();
    };
    let probe = hashed(&format!("probe.{parameter}"), values.len(), 0.0, 1.0);
    vec![
        norm(values),
        values
            .iter()
            .zip(probe)
            .map(|(x, p)| x * f64::from(p))
            .sum(),
    ]
}

/// Runs one configuration and gives the largest error of any value: for gradients relative to the norm of the
/// parameter's gradient (at least 1e-6 of the norm of all), else relative to the value's norm.
fn worst_error(
    mut runner: Runner,
    variant: Variant,
    share: usize,
    mode: BatchNormMode,
) -> (f64, String) {
    let word = if variant == Variant::Paper {
        "paper"
    } else {
        "released"
    };
    let mode_word = if mode == BatchNormMode::Batch {
        "train"
    } else {
        "inference"
    };
    let golden = Golden::open(word, &format!("share{share}.{mode_word}."));
    let given = &golden.tensors;
    let shape: Vec<usize> = given["shape"]
        .to_f64()
        .iter()
        .map(|&n| n as usize)
        .collect();
    let shape: [usize; 4] = shape.try_into().expect("four axes");
    let mut config = Preset::Paper.config();
    (config.model.variant, config.model.share) = (variant, share);
    let request = ForwardRequest {
        mode,
        with_loss: true,
        with_gradients: true,
    };
    let graph = runner
        .prepare("forward", 0, || forward(&config, shape.into(), request))
        .expect("it records");
    let mut weights = Weights::default();
    for (_, leaf, spec) in graph
        .leaves()
        .filter(|(_, leaf, _)| leaf.kind.init().is_some())
    {
        let values = hashed_parameter(&leaf.name, &spec.shape);
        weights.tensors.insert(
            leaf.name.clone(),
            Array::new(spec.shape, values).expect("it fits"),
        );
    }
    runner.set_weights(&graph, &weights).expect("they fit");
    let x = Array::new(shape, hashed("x", shape.iter().product(), 0.0, 1.0)).expect("it fits");
    let inputs = [
        ("x", &x),
        ("heavy", &given["heavy"]),
        ("light", &given["light"]),
    ];
    let results = runner.run("forward", 0, &inputs).expect("it runs");
    let mut found: BTreeMap<String, Array> = results.into_inner().into_iter().collect();
    if mode == BatchNormMode::Batch {
        for (_, leaf, _) in graph
            .leaves()
            .filter(|(_, leaf, _)| matches!(leaf.kind, LeafKind::State(_)))
        {
            found.insert(
                format!("state.{}", leaf.name),
                runner.executor().read(&leaf.name).expect("it is there"),
            );
        }
    }
    let gradients = golden.names().filter(|name| name.starts_with("grad."));
    let all_gradients = norm(
        &gradients
            .map(|name| golden.get(name)[0])
            .collect::<Vec<_>>(),
    );
    let mut worst = (0.0, String::new());
    let mut compared = 0;
    for name in golden.names() {
        let array = found
            .remove(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(array.spec().element, Element::Real);
        let (got, expected) = (summary(name, &array.to_f64()), golden.get(name));
        let difference: Vec<f64> = got.iter().zip(&expected).map(|(a, b)| a - b).collect();
        let scale = if name.starts_with("grad.") {
            expected[0].max(1e-6 * all_gradients)
        } else {
            norm(&expected)
        };
        let error = if norm(&difference) == 0.0 {
            0.0
        } else {
            norm(&difference) / scale
        };
        if error > worst.0 || error.is_nan() {
            worst = (error, name.to_string());
        }
        compared += 1;
    }
    assert!(compared >= 100, "only {compared} values were compared");
    assert!(
        found.keys().all(|name| !name.starts_with("grad.")),
        "gradients that the other has not: {:?}",
        found.keys()
    );
    worst
}

fn runner(executor: impl Executor + 'static) -> Runner {
    Runner::new(Box::new(executor))
}

#[test]
fn the_reference_agrees_with_the_independent_implementation() {
    for (variant, share, mode) in [
        (Variant::Paper, 3, BatchNormMode::Batch),
        (Variant::Released, 3, BatchNormMode::Batch),
        (Variant::Released, 2, BatchNormMode::Running),
    ] {
        let executor = Reference::new(0).expect("an executor");
        let (error, name) = worst_error(runner(executor), variant, share, mode);
        assert!(
            error < 1e-6,
            "{variant:?} share {share} {mode:?}: {name} is off by {error:e}"
        );
    }
}

#[test]
fn the_cpu_agrees_with_the_independent_implementation() {
    for variant in [Variant::Paper, Variant::Released] {
        for share in [2, 3] {
            for mode in [BatchNormMode::Batch, BatchNormMode::Running] {
                let executor = Cpu::new(0).expect("an executor");
                let (error, name) = worst_error(runner(executor), variant, share, mode);
                assert!(
                    error < 2e-3,
                    "{variant:?} share {share} {mode:?}: {name} is off by {error:e}"
                );
            }
        }
    }
}
