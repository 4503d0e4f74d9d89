//! Blocks computed again: the same bits from less memory.

use super::{executors, inputs, peak, run};
use axenic::array::Spec;
use axenic::conformance::{Sample, audit};
use axenic::graph::{Graph, Init, Recompute, Recorder, Scope, Tensor};
use axenic::models::{self, Model};
use axenic::nn::{self, AttentionNames, Mode, MultiHeadAttention};
use axenic::ops::{self, Noise, ScoreMap};
use axenic::plan::Plan;
use axenic::shape::KeepAxes;
use axenic::train::{Groups, LossScaling, Sgd, Weights, record_sgd};
use axenic::{Result, autodiff};
use std::sync::Arc;

const SGD: Sgd = Sgd {
    momentum: 0.9,
    weight_decay: 1e-4,
    clip_norm: 1.0,
    loss_scaling: LossScaling::Off,
};

/// The mean square of a network's output, and a step of descent on it.
fn step<'g>(r: &'g Recorder, y: Tensor<'g>) -> Result<()> {
    let rate = r.constant(0.1);
    let axes: Vec<usize> = (0..y.shape().len()).collect();
    let loss = ops::mean(ops::mul(y, y)?, &axes, KeepAxes::No)?;
    r.output("loss", loss)?;
    r.output("norm", record_sgd(r, loss, rate, SGD, &Groups::default())?)
}

fn training(model: &dyn Model, batch: usize, size: usize, recompute: Recompute) -> Graph {
    Graph::record(|r| {
        let x = r.input("x", Spec::real([batch, 3, size, size]))?;
        let mode = Mode::training(None).with_recompute(recompute);
        let features = model.features(&r.scope(), x, &mode)?;
        step(r, model.classify(&r.scope(), features.embedding, &mode)?)
    })
    .expect("it records")
}

/// A pre-norm block of a vision transformer on x [N, T, D], with dropout and stochastic depth, and a block within it.
fn transformer_block<'g>(scope: &Scope<'g>, x: Tensor<'g>, mode: &Mode<'g>) -> Result<Tensor<'g>> {
    let _block = mode.enter_block(scope);
    let width = x.shape()[2];
    let norm = |scope: &Scope<'g>, x| {
        let weight = scope.parameter("weight", [width], Init::Constant(1.0))?;
        let bias = scope.parameter("bias", [width], Init::Constant(0.0))?;
        ops::layer_norm(x, weight, bias, 1e-6)
    };
    let settings = MultiHeadAttention {
        num_heads: 2,
        score_map: ScoreMap::Identity,
        names: AttentionNames::Timm,
    };
    let y = norm(&scope.name("norm1"), x)?;
    let y = nn::multi_head_attention(&scope.name("attn"), y, y, None, settings)?.y;
    let x = ops::add(
        x,
        mode.dropout(&scope.name("drop_path"), y, 0.3, Noise::Row)?,
    )?;
    let mlp = scope.name("mlp");
    let _inner = mode.enter_block(&mlp);
    let y = norm(&scope.name("norm2"), x)?;
    let y = ops::gelu(nn::linear(&mlp.name("fc1"), y, 4 * width)?)?;
    let y = mode.dropout(&mlp.name("drop"), y, 0.4, Noise::Element)?;
    Ok(scope.tap(ops::add(x, nn::linear(&mlp.name("fc2"), y, width)?)?))
}

fn transformer(recompute: Recompute) -> Graph {
    Graph::record(|r| {
        let mut x = r.input("x", Spec::real([3, 5, 8]))?;
        let key = r.input("key", Spec::index([2]))?;
        let mode = Mode::training(Some(key)).with_recompute(recompute);
        for index in 0..3 {
            drop(mode.enter_block(&r.scope().name("nothing")));
            x = transformer_block(&r.scope().name("blocks").name(index), x, &mode)?;
            r.output(&format!("tap{index}"), x)?;
        }
        step(r, x)
    })
    .expect("it records")
}

pub(super) fn copies(graph: &Graph) -> usize {
    let nodes = graph.nodes().iter();
    nodes.filter(|node| node.recomputation.is_some()).count()
}

#[test]
fn a_step_has_the_same_bits_with_and_without() {
    let resnet = models::find("resnet18").expect("a model");
    let vit = models::find("dinov2_vits14").expect("a model");
    let graphs: [&dyn Fn(Recompute) -> Graph; 3] = [
        &transformer,
        &|again| training(resnet.as_ref(), 2, 32, again),
        &|again| training(vit.as_ref(), 1, 28, again),
    ];
    for (i, graph) in graphs.into_iter().enumerate() {
        let (stored, again) = (graph(Recompute::No), graph(Recompute::Blocks));
        assert_eq!(copies(&stored), 0);
        assert!(copies(&again) > 50, "{} copies", copies(&again));
        assert_eq!(stored.assigns().len(), again.assigns().len());
        let updates = |graph: &Graph| {
            let names = graph.nodes().iter().map(|node| node.name());
            names.filter(|name| *name == "running_update").count()
        };
        assert_eq!(updates(&stored), updates(&again));
        let (stored, again) = (Arc::new(stored), Arc::new(again));
        for mut executor in executors() {
            let device = executor.description();
            if i > 0 && device.starts_with("gpu") {
                continue; // Minutes on a software adapter; every operation is in the transformer or in other suites.
            }
            let expected = run(executor.as_mut(), &stored, 2);
            let found = run(executor.as_mut(), &again, 2);
            for ((name, expected), (same, found)) in expected.iter().zip(&found) {
                assert_eq!(name, same);
                assert!(expected == found, "{name} differs on {device}");
            }
            assert_eq!(expected.len(), found.len());
        }
    }
}

#[test]
fn the_peak_falls() {
    let measured = [
        ("resnet50", 0.66),
        ("densenet121", 0.34),
        ("convnext_tiny", 0.53),
        ("vit_b_16", 0.76),
    ];
    for (name, most) in measured {
        let model = models::find(name).expect("a model");
        let stored = peak(training(model.as_ref(), 8, 224, Recompute::No));
        let again = peak(training(model.as_ref(), 8, 224, Recompute::Blocks));
        let ratio = again as f64 / stored as f64;
        assert!(ratio < most, "{name}: {again} of {stored} bytes");
    }
    let deep = |recompute| {
        Graph::record(|r| {
            let mut x = r.input("x", Spec::real([4, 64, 32]))?;
            let mode = Mode::training(None).with_recompute(recompute);
            for index in 0..24 {
                x = transformer_block(&r.scope().name(index), x, &mode)?;
            }
            step(r, x)
        })
        .expect("it records")
    };
    let (stored, again) = (peak(deep(Recompute::No)), peak(deep(Recompute::Blocks)));
    assert!(2 * again < stored, "{again} of {stored} bytes");
}

/// Gradients at a value inside a block, at a block's input, and a second walk over the same blocks.
#[test]
fn inner_values_may_be_targets_and_walks_repeat() {
    let record = |recompute| {
        let graph = Graph::record(|r| {
            let x = r.input("x", Spec::real([2, 3]))?;
            let mode = Mode::training(None).with_recompute(recompute);
            let block = mode.enter_block(&r.scope().name("a"));
            let inner = ops::tanh(x)?;
            let y = ops::sigmoid(ops::mul(inner, inner)?)?;
            drop(block);
            let block = mode.enter_block(&r.scope().name("b"));
            let y = ops::exp(ops::mul(y, inner)?)?;
            let sum = ops::sum(y, &[0, 1], KeepAxes::No)?;
            drop(block);
            let first = autodiff::gradients(sum, &[x, inner, y])?;
            let slope = ops::sum(ops::mul(first[0], first[0])?, &[0, 1], KeepAxes::No)?;
            // A gradient of the gradient goes through copies and originals alike.
            let second = autodiff::gradients(slope, &[x])?;
            let again = autodiff::gradients(ops::mul(sum, sum)?, &[inner, x])?;
            let named = ["x", "inner", "y", "second", "again.inner", "again.x"];
            let all = first.into_iter().chain(second).chain(again);
            named
                .iter()
                .zip(all)
                .try_for_each(|(name, g)| r.output(name, g))
        });
        Arc::new(graph.expect("it records"))
    };
    let (stored, again) = (record(Recompute::No), record(Recompute::Blocks));
    let numbers: Vec<u32> = again
        .nodes()
        .iter()
        .filter_map(|n| n.recomputation)
        .collect();
    assert!(numbers.contains(&1) && numbers.contains(&4), "{numbers:?}");
    for mut executor in executors() {
        let (expected, found) = (
            run(executor.as_mut(), &stored, 1),
            run(executor.as_mut(), &again, 1),
        );
        for ((name, expected), (_, found)) in expected.iter().zip(&found) {
            for (a, b) in expected.iter().zip(found) {
                let (a, b) = (f64::from_bits(*a), f64::from_bits(*b));
                // Sums of a second derivative have other orders: its terms arrive by other ways.
                let is_close = name == "second" && (a - b).abs() <= 1e-5 * a.abs();
                assert!(a == b || is_close, "{name}: {a} and {b}");
            }
        }
    }
}

#[test]
fn recomputations_are_printed_hashed_and_repeat() {
    let (stored, again) = (transformer(Recompute::No), transformer(Recompute::Blocks));
    assert_ne!(stored.digest(), again.digest());
    assert_eq!(again.digest(), transformer(Recompute::Blocks).digest());
    assert!(!stored.to_string().contains("recomputation="));
    let text = again.to_string();
    for number in 1..=3 {
        let own = format!(" recomputation={number}  @ blocks.{}", 3 - number);
        assert!(text.contains(&own), "{own}:\n{text}");
    }
    assert!(!text.contains("recomputation=4"), "{text}");
    // Copies read leaves, blocks' outputs, what the backward walk computed before, and one another: nothing else of the
    // forward pass.
    let outputs = again.outputs().iter();
    let taps: Vec<usize> = outputs
        .filter(|(name, _)| name.starts_with("tap"))
        .map(|(_, value)| value.node)
        .collect();
    let is_outside = |node: usize| {
        let read = &again.nodes()[node];
        let is_leaf = read.op().is_none();
        is_leaf || read.recomputation.is_some() || taps.contains(&node) || node > taps[2]
    };
    let copies = again
        .nodes()
        .iter()
        .filter(|node| node.recomputation.is_some());
    for node in copies {
        assert!(
            node.inputs.iter().all(|input| is_outside(input.node)),
            "{node:?}"
        );
    }
}

#[test]
fn a_step_is_audited_and_traced() {
    let graph = Arc::new(transformer(Recompute::Blocks));
    let own = inputs(&graph);
    let own: Vec<_> = own.iter().map(|(name, array)| (&**name, array)).collect();
    for mut executor in executors() {
        let plan = Plan::new(graph.clone(), executor.target()).expect("a plan");
        let prepared = executor.prepare(Arc::new(plan)).expect("it prepares");
        let first = Weights::initial(&graph, 1).expect("weights");
        first
            .clone()
            .write_to(&graph, executor.as_mut())
            .expect("they fit");
        let rows = executor.trace(prepared, &own).expect("it runs");
        let copied =
            |row: &&axenic::exec::TraceRow| graph.nodes()[row.node].recomputation.is_some();
        assert!(rows.iter().filter(copied).count() > 50);
        let lasting: Vec<_> = first
            .tensors
            .iter()
            .map(|(name, array)| (&**name, array))
            .collect();
        let findings = audit(&graph, executor.as_mut(), &lasting, &own, Sample::All);
        let findings = findings.expect("it runs");
        assert!(findings.len() > 100, "{} findings", findings.len());
        let worst = findings
            .iter()
            .map(|finding| finding.ratio)
            .fold(0.0, f64::max);
        assert!(worst <= 1.0, "{worst} on {}", executor.description());
    }
}

/// A frozen network that ends in one learning layer has nothing to compute again.
#[test]
fn what_is_not_differentiated_is_not_computed_again() {
    let graph = Graph::record(|r| {
        let x = r.input("x", Spec::real([3, 5, 8]))?;
        let mode = Mode::training(None).with_recompute(Recompute::Blocks);
        let x = transformer_block(&r.scope().name("block"), x, &mode)?;
        let head = nn::linear(&r.scope().name("head"), x, 2)?;
        let loss = ops::mean(head, &[0, 1, 2], KeepAxes::No)?;
        let rate = r.constant(0.1);
        let groups = Groups::default().freeze("block");
        r.output("norm", record_sgd(r, loss, rate, SGD, &groups)?)
    });
    assert_eq!(copies(&graph.expect("it records")), 0);
}
