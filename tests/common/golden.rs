//! What the suites that hold the engine against golden vectors of whole networks share (`tests/golden/ife.py`): weights
//! from a formula, and tables of norms and products in the place of large tensors.

use axenic::array::Array;
use axenic::graph::{Graph, LeafKind};
use axenic::train::{Runner, Weights};
use std::collections::BTreeMap;

/// `count` numbers in [centre − radius, centre + radius): SplitMix64 from the FNV-1a hash of the name, rounded to f32.
pub(crate) fn hashed(name: &str, count: usize, centre: f64, radius: f64) -> Vec<f32> {
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

pub(crate) type Found = BTreeMap<String, Vec<f64>>;

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// What the golden file holds of a tensor of a family of many.
fn summary(family: &str, name: &str, values: &[f64]) -> Vec<f64> {
    let n = values.len();
    if family == "state" {
        let sum = values.iter().sum();
        return vec![norm(values), sum, values[0], values[n / 2], values[n - 1]];
    }
    let probe = hashed(&format!("probe.{name}"), n, 0.0, 1.0);
    let product = values.iter().zip(probe).map(|(x, p)| x * f64::from(p));
    vec![norm(values), product.sum()]
}

/// The relative error of a value, with the least norm to be relative to.
fn error(found: &[f64], expected: &[f64], scale: f64) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference: Vec<f64> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    match norm(&difference) {
        0.0 => 0.0,
        norm => norm / scale,
    }
}

/// Compares everything that the golden vectors hold of a run, and gives what is off by more than is `allowed` for its name. Errors are
/// relative to the norm of the value; in a family of many tensors to at least 1e-6 of the norm of all.
pub(crate) fn complaints(
    found: &Found,
    expected: &BTreeMap<&str, &Array>,
    allowed: impl Fn(&str) -> f64,
) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut check = |name: &str, error: f64| {
        // NaN is off as well.
        if error.is_nan() || error > allowed(name) {
            complaints.push(format!("{name} is off by {error:e}"));
        }
    };
    for (name, values) in expected {
        let values = values.to_f64();
        if let Some(found) = found.get(*name) {
            check(name, error(found, &values, norm(&values)));
            continue;
        }
        let family: Vec<(&str, &Vec<f64>)> = found
            .iter()
            .filter_map(|(own, found)| Some((own.strip_prefix(name)?.strip_prefix('.')?, found)))
            .collect();
        let rows = expected[name].shape()[0];
        assert_eq!(family.len(), rows, "tensors of the family {name}");
        let rows: Vec<&[f64]> = values.chunks(values.len() / rows).collect();
        let all = norm(&rows.iter().map(|row| row[0]).collect::<Vec<_>>());
        for ((own, found), row) in family.into_iter().zip(rows) {
            let scale = if *name == "state" {
                norm(row)
            } else {
                row[0].max(1e-6 * all)
            };
            let found = summary(name, own, found);
            check(&format!("{name}.{own}"), error(&found, row, scale));
        }
    }
    complaints
}

/// Sets the weights of the golden vectors; the optimiser's are zero.
pub(crate) fn set_hashed_weights(runner: &mut Runner, graph: &Graph) -> Weights {
    let mut weights = Weights::initial(graph, 0).expect("weights");
    for (name, array) in &mut weights.tensors {
        if !name.starts_with("optimizer.") {
            let values = hashed_parameter(name, array.shape().as_ref());
            *array = Array::new(array.shape(), values).expect("it fits");
        }
    }
    runner
        .set_weights(graph, weights.clone())
        .expect("they fit");
    weights
}

pub(crate) fn states(graph: &Graph, runner: &mut Runner) -> Found {
    let mut states = Found::new();
    for (_, leaf, _) in graph.leaves() {
        let is_statistic = leaf.name.contains(".running_") && !leaf.name.starts_with("optimizer.");
        if matches!(leaf.kind, LeafKind::State(_)) && is_statistic {
            let value = runner.executor().read(&leaf.name).expect("it is there");
            states.insert(format!("state.{}", leaf.name), value.to_f64().into_owned());
        }
    }
    states
}
