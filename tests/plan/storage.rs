//! What is stored in half precision, and what that saves.

use super::record;
use axenic::array::Spec;
use axenic::graph::{Graph, Init, Limits, Precision, Storage, Target, ValueId};
use axenic::ops::{self, Transpose};
use axenic::plan::Plan;
use axenic::shape::KeepAxes;
use std::collections::HashSet;
use std::sync::Arc;

fn gpu(precision: Precision) -> Target {
    Target::Gpu(Limits {
        halves: true,
        precision,
        ..Limits::default()
    })
}

fn plan(graph: &Arc<Graph>, precision: Precision) -> Plan {
    Plan::new(graph.clone(), gpu(precision)).expect("it can be planned")
}

/// The storages of the outputs, by name.
fn storages(graph: &Arc<Graph>) -> Vec<(String, Storage)> {
    let plan = plan(graph, Precision::Mixed);
    let outputs = graph.outputs().iter();
    outputs
        .map(|(name, value)| (name.clone(), plan.storage(*value)))
        .collect()
}

#[test]
fn products_lead_what_follows_them_and_small_results_stay() {
    let graph = record(|r| {
        let x = r.input("x", Spec::real([4, 6]))?;
        let w = r.scope().parameter("w", [6, 5], Init::Constant(0.1))?;
        let labels = r.input("labels", Spec::index([4]))?;
        let product = ops::matmul(x, w, Transpose::No, Transpose::No)?;
        let positive = ops::relu(ops::add(product, product)?)?;
        let shaped = ops::reshape(positive, [5, 4])?;
        r.output("half: product", product)?;
        r.output("half: relu", positive)?;
        r.output("half: its other shape", shaped)?;
        r.output("full: elements of what was given", ops::relu(x)?)?;
        r.output("full: mean", ops::mean(positive, &[0], KeepAxes::No)?)?;
        r.output("full: loss", ops::cross_entropy(positive, labels)?)?;
        r.output("full: softmax", ops::softmax(shaped, 0, 1.0)?)?;
        let (mean, variance) = ops::batch_statistics(positive)?;
        r.output("full: statistics", mean)?;
        let ones = ops::fill(r, [5], 1.0)?;
        let batch = ops::Statistics::Batch;
        let y = ops::batch_norm(positive, mean, variance, ones, ones, 1e-5, batch)?;
        r.output("half: normalised", y)
    });
    for (name, storage) in storages(&graph) {
        let expected = match name.starts_with("half") {
            true => Storage::Half,
            false => Storage::Full,
        };
        assert_eq!(storage, expected, "{name}");
    }
    let full = plan(&graph, Precision::Full);
    let halves = graph
        .outputs()
        .iter()
        .map(|(_, value)| full.storage(*value));
    assert!(halves.eq(graph.outputs().iter().map(|_| Storage::Full)));
    assert!(full.steps().iter().all(|step| step.casts.is_empty()));
}

/// A value that is assigned lasts, and a lasting one is f32.
#[test]
fn assigned_values_are_full() {
    let graph = record(|r| {
        let x = r.input("x", Spec::real([4, 4]))?;
        let state = r.scope().state("s", [16], Init::Constant(0.0))?;
        let product = ops::matmul(x, x, Transpose::No, Transpose::No)?;
        r.output("full: assigned", product)?;
        r.output("full: read", state)?;
        r.assign("s", ops::reshape(product, [16])?)
    });
    let all = storages(&graph);
    assert!(all.iter().all(|(_, storage)| *storage == Storage::Full));
}

/// Weights are rounded once, whoever reads them; so is everything else that lies in the other storage.
#[test]
fn a_value_is_cast_once() {
    let graph = record(|r| {
        let x = r.input("x", Spec::real([8, 8]))?;
        let w = r.scope().parameter("w", [8, 8], Init::Constant(0.1))?;
        let mut y = x;
        for _ in 0..3 {
            y = ops::matmul(y, w, Transpose::No, Transpose::No)?;
        }
        let wide = ops::softmax(y, 1, 1.0)?;
        let also = ops::log_softmax(y, 1)?;
        r.output("y", ops::matmul(wide, also, Transpose::No, Transpose::Yes)?)
    });
    let plan = plan(&graph, Precision::Mixed);
    let casts = plan
        .steps()
        .iter()
        .flat_map(|step| step.casts.iter().copied());
    let casts: Vec<ValueId> = casts.collect();
    let different: HashSet<ValueId> = casts.iter().copied().collect();
    assert_eq!(casts.len(), different.len(), "one copy each");
    let names: Vec<&str> = casts
        .iter()
        .map(|value| graph.nodes()[value.node].name())
        .collect();
    let expected = ["input", "parameter", "matmul", "softmax", "log_softmax"];
    assert_eq!(names, expected);
    for step in plan.steps() {
        let own: Vec<&str> = step
            .launches
            .iter()
            .map(|launch| launch.shader.name)
            .collect();
        let casts = own.iter().filter(|name| name.starts_with("cast_")).count();
        assert_eq!(casts, step.casts.len());
        assert!(
            own[..casts].iter().all(|name| name.starts_with("cast_")),
            "first"
        );
    }
}

/// Two values at a time, of 7 elements each: 4 words in halves, as two of them share a word, and 7 in f32.
#[test]
fn halves_take_half_the_memory() {
    let graph = record(|r| {
        let a = r.input("a", Spec::real([7, 1]))?;
        let b = r.input("b", Spec::real([1, 1]))?;
        let mut y = ops::matmul(a, b, Transpose::No, Transpose::No)?;
        for _ in 0..4 {
            y = ops::tanh(y)?;
        }
        r.output("y", y)
    });
    let (full, mixed) = (
        plan(&graph, Precision::Full),
        plan(&graph, Precision::Mixed),
    );
    assert_eq!(full.slot_bytes(), 2 * 28);
    // The copy of a gives its slot to the first tanh; that of b needs one of its own.
    assert_eq!(mixed.slot_bytes(), 2 * 16 + 4);
    assert_eq!(mixed.leaf_bytes(), full.leaf_bytes());
    let saved = full.cost().bytes_written - mixed.cost().bytes_written;
    assert_eq!(
        saved,
        5 * 14 - (14 + 2),
        "half of five values, but for two copies"
    );
}

/// What does not fit in f32 may fit in halves; the copy in f32 of what a loss reads must fit, too.
#[test]
fn sizes_are_those_of_the_storage() {
    let large = |loss: bool| {
        record(|r| {
            let x = r.input("x", Spec::real([1 << 13, 1]))?;
            let y = ops::matmul(x, x, Transpose::No, Transpose::Yes)?;
            match loss {
                true => r.output("y", ops::softmax(y, 1, 1.0)?),
                false => r.output("y", ops::sum(y, &[0, 1], KeepAxes::No)?),
            }
        })
    };
    let refused = |graph: &Arc<Graph>, precision| {
        let plan = Plan::new(graph.clone(), gpu(precision));
        plan.err().map(|e| e.to_string())
    };
    let told = refused(&large(false), Precision::Full).expect("256 MiB");
    assert!(told.contains("matmul takes 256 MiB"), "{told}");
    assert_eq!(refused(&large(false), Precision::Mixed), None);
    let told = refused(&large(true), Precision::Mixed).expect("a copy of 256 MiB");
    assert!(told.contains("takes 256 MiB"), "{told}");
}

/// Every node of random graphs, computed again from what the device held as its inputs: nothing is overwritten while it is
/// read, nothing is read in the wrong storage.
#[cfg(feature = "gpu")]
#[test]
fn random_graphs_are_within_their_bounds() {
    use super::random::{check_graphs, inputs_of};
    use axenic::conformance::{Sample, audit};
    let Some(mut gpu) = crate::common::gpu_with_halves(Precision::Half) else {
        return;
    };
    let mut casts = 0;
    check_graphs(192, |graph| {
        let [lasting, inputs] = inputs_of(&graph);
        let lasting: Vec<_> = lasting.iter().map(|(name, array)| (*name, array)).collect();
        let inputs: Vec<_> = inputs.iter().map(|(name, array)| (*name, array)).collect();
        let findings = audit(&graph, &mut gpu, &lasting, &inputs, Sample::All).expect("it runs");
        casts += findings
            .iter()
            .filter(|finding| finding.op == "cast")
            .count();
        let bad = findings.iter().find(|finding| finding.ratio > 1.0);
        assert!(bad.is_none(), "{bad:?}\n{graph}");
    });
    assert!(casts > 100, "the storages hardly ever meet: {casts}");
}
