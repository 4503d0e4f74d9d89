//! Frozen parts and parameter groups.

use super::{peak, refused, run};
use axenic::array::Spec;
use axenic::exec::{Executor, Reference};
use axenic::graph::{Graph, Init, Recompute, Recorder, Tensor};
use axenic::models;
use axenic::nn::{self, Mode};
use axenic::ops;
use axenic::plan::Plan;
use axenic::shape::KeepAxes;
use axenic::train::{
    AdamW, Decaying, Groups, LossScaling, Optimizer, Sgd, Weights, record_ema, record_sgd,
};
use axenic::{Array, Result};
use std::path::Path;
use std::sync::Arc;

const CLIP_NORM: f64 = 0.2;
const SGD: Sgd = Sgd {
    momentum: 0.9,
    weight_decay: 0.05,
    clip_norm: CLIP_NORM,
    loss_scaling: LossScaling::Off,
};

fn mean_square<'g>(y: Tensor<'g>) -> Result<Tensor<'g>> {
    let axes: Vec<usize> = (0..y.shape().len()).collect();
    ops::mean(ops::mul(y, y)?, &axes, KeepAxes::No)
}

/// A training step of resnet18.
fn resnet(batch: usize, size: usize, groups: &Groups) -> Result<Graph> {
    let model = models::find("resnet18")?;
    Graph::record(|r| {
        let x = r.input("x", Spec::real([batch, 3, size, size]))?;
        let mode = Mode::training(None).with_frozen(groups.parts());
        let features = model.features(&r.scope(), x, &mode)?;
        let y = model.classify(&r.scope(), features.embedding, &mode)?;
        let rate = r.constant(0.1);
        r.output("norm", record_sgd(r, mean_square(y)?, rate, SGD, groups)?)?;
        record_ema(r, 0.5)
    })
}

/// Frozen: no parameter and no running statistic moves a bit, and there is no state of the optimiser for them. Learning:
/// everything moves.
#[test]
fn frozen_parts_stay_as_they_are() {
    let groups = Groups::default()
        .freeze("*")
        .rate("layer4.1", 0.1)
        .rate("fc", 1.0);
    let graph = Arc::new(resnet(2, 32, &groups).expect("it records"));
    let mut host = axenic::exec::Cpu::new(2).expect("an executor");
    let after = run(&mut host, &graph, 2);
    let first = Weights::initial(&graph, 1).expect("weights");
    let learns = |name: &str| name.starts_with("layer4.1.") || name.starts_with("fc.");
    let mut moved = 0;
    for (name, now) in after.iter().filter(|(name, _)| name != "norm") {
        if let Some(of) = name.strip_prefix("optimizer.") {
            let of = of
                .trim_start_matches("momentum.")
                .trim_start_matches("ema.");
            assert!(
                learns(of) || of == "n_averaged",
                "{name} is kept for nothing"
            );
            continue;
        }
        let is_same = *now == super::bits(&first.tensors[name]);
        assert_eq!(is_same, !learns(name), "{name}");
        moved += usize::from(!is_same);
    }
    // Two convolutions, two norms with two parameters and two statistics each, a weight and a bias.
    assert_eq!(moved, 12);
    let in_gradient = |path: &str| {
        let nodes = graph.nodes().iter();
        let names = nodes
            .filter(|node| &*node.path == path)
            .map(|node| node.name());
        names.filter(|name| name.ends_with("_grad")).count()
    };
    assert!(in_gradient("layer4.1.conv1") > 0);
    assert_eq!(in_gradient("layer4.0.conv2"), 0);
}

#[test]
fn what_is_frozen_keeps_no_activations() {
    let none = Groups::default();
    let head = none.clone().freeze("*").rate("fc", 1.0);
    let blocks = head.clone().rate("layer4", 0.1);
    let [all, blocks, head] =
        [&none, &blocks, &head].map(|groups| peak(resnet(8, 224, groups).expect("it records")));
    assert!(
        10 * blocks < 7 * all && 3 * head < all,
        "{all}, {blocks}, {head}"
    );
}

/// PyTorch's optimisers with groups; the vectors are made by `golden/groups.py`.
#[test]
fn groups_step_as_those_of_another_framework() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/groups.safetensors");
    let golden = Weights::load(&path).expect("vectors");
    let sgd = Optimizer::Sgd(SGD);
    let update = ops::AdamW {
        weight_decay: SGD.weight_decay,
        ..Default::default()
    };
    let adamw = Optimizer::AdamW(AdamW {
        update,
        clip_norm: CLIP_NORM,
        loss_scaling: LossScaling::Off,
    });
    let groups = Groups::default().freeze("a").rate("b", 0.1);
    let by_kind = groups.clone().decaying(Decaying::Matrices);
    let by_name = groups.without_decay("**.bias").without_decay("norm");
    for groups in [by_kind, by_name] {
        for (kind, optimizer) in [("sgd", sgd), ("adamw", adamw)] {
            let graph = Graph::record(|r| small(r, optimizer, &groups)).expect("it records");
            follow(kind, Arc::new(graph), &golden);
        }
    }
}

fn small(r: &Recorder, optimizer: Optimizer, groups: &Groups) -> Result<()> {
    let x = r.input("x", Spec::real([4, 3]))?;
    let rate = r.input("rate", Spec::real([]))?;
    let scope = r.scope();
    let y = ops::tanh(nn::linear(&scope.name("a"), x, 5)?)?;
    let y = nn::linear(&scope.name("b"), y, 6)?;
    let norm = scope.name("norm");
    let weight = norm.parameter("weight", [6], Init::Constant(1.0))?;
    let bias = norm.parameter("bias", [6], Init::Constant(0.0))?;
    let y = nn::linear(
        &scope.name("head"),
        ops::layer_norm(y, weight, bias, 1e-5)?,
        2,
    )?;
    r.output("norm", optimizer.record(r, mean_square(y)?, rate, groups)?)
}

/// Three steps in f64, each held against the vectors.
fn follow(kind: &str, graph: Arc<Graph>, golden: &Weights) {
    let mut host = Reference::new(1).expect("an executor");
    let plan = Plan::new(graph.clone(), host.target()).expect("a plan");
    let plan = host.prepare(Arc::new(plan)).expect("it prepares");
    let mut first = Weights::initial(&graph, 0).expect("weights");
    for (name, value) in &mut first.tensors {
        if let Some(own) = golden.tensors.get(&format!("first.{name}")) {
            *value = own.clone();
        }
    }
    first.write_to(&graph, &mut host).expect("they fit");
    for (step, rate) in [0.1, 0.05, 0.2].into_iter().enumerate() {
        let rate = Array::scalar(rate);
        let own = [("x", &golden.tensors["x"]), ("rate", &rate)];
        let square_norm = host.run(plan, &own, None).expect("it runs")[0].to_f64()[0];
        let expect = |name: &str, found: &[f64]| {
            let expected = &golden.tensors[&format!("{kind}.{step}.{name}")];
            assert_eq!(found.len(), expected.to_f64().len());
            for (a, b) in found.iter().zip(expected.to_f64().iter()) {
                assert!(
                    (a - b).abs() < 1e-12,
                    "{kind} {step} {name}: {a} instead of {b}"
                );
            }
        };
        expect("norm", &[square_norm.sqrt()]);
        assert!(square_norm.sqrt() > CLIP_NORM, "nothing is clipped");
        for (name, _) in graph.parameters() {
            expect(name, &host.read(name).expect("readable").to_f64());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let typo = refused(resnet(1, 32, &Groups::default().freeze("layer5")));
    assert!(typo.contains("\"layer5\" covers no parameter"), "{typo}");
    assert!(typo.contains("are layer1, layer2, layer3"), "{typo}");
    let all = refused(resnet(1, 32, &Groups::default().freeze("*")));
    assert!(all.contains("every parameter is frozen"), "{all}");
    let idle = |groups: &Groups| {
        Graph::record(|r| {
            let x = r.input("x", Spec::real([2, 3]))?;
            let y = nn::linear(&r.scope().name("head"), x, 2)?;
            nn::linear(&r.scope().name("idle"), x, 2)?;
            let rate = r.constant(0.1);
            r.output("norm", record_sgd(r, mean_square(y)?, rate, SGD, groups)?)
        })
    };
    let unreached = refused(idle(&Groups::default()));
    assert!(
        unreached.contains("\"idle.weight\" gets no gradient"),
        "{unreached}"
    );
    idle(&Groups::default().freeze("idle")).expect("what is frozen needs no gradient");
}

/// Everything together: blocks computed again in a network of which a part is frozen.
#[test]
fn frozen_parts_and_recomputation_go_together() {
    let groups = Groups::default()
        .freeze("*")
        .rate("layer4", 0.1)
        .rate("fc", 1.0);
    let record = |recompute| {
        let model = models::find("resnet18")?;
        Graph::record(|r| {
            let x = r.input("x", Spec::real([2, 3, 32, 32]))?;
            let mode = Mode::training(None)
                .with_frozen(groups.parts())
                .with_recompute(recompute);
            let features = model.features(&r.scope(), x, &mode)?;
            let y = model.classify(&r.scope(), features.embedding, &mode)?;
            let rate = r.constant(0.1);
            r.output("norm", record_sgd(r, mean_square(y)?, rate, SGD, &groups)?)
        })
    };
    let again = record(Recompute::Blocks).expect("it records");
    for node in again
        .nodes()
        .iter()
        .filter(|node| node.recomputation.is_some())
    {
        assert!(node.path.starts_with("layer4."), "{} again", node.path);
    }
    let mut host = axenic::exec::Cpu::new(2).expect("an executor");
    let found = run(&mut host, &Arc::new(again), 2);
    let stored = Arc::new(record(Recompute::No).expect("it records"));
    assert!(run(&mut host, &stored, 2) == found);
}
