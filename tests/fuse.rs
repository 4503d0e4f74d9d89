//! Joined nodes compute the same numbers, to the bit on the host but for folded normalisations, and nothing is joined that
//! something else reads.

use axenic::array::{Array, Spec};
use axenic::exec::{Cpu, Executor, Reference};
use axenic::graph::{Graph, Init, Recompute, Recorder, Tensor};
use axenic::nn;
use axenic::ops::{self, Conv2d, Statistics, Transpose, WinogradTile};
use axenic::plan::Plan;
use axenic::rng::Stream;
use axenic::shape::{KeepAxes, Shape};
use axenic::train::Runner;
use axenic::{Result, autodiff};
use proptest::prelude::*;
use std::sync::Arc;

fn numbers(shape: Shape, seed: u64) -> Array {
    let mut stream = Stream::new(seed, "fuse", 0, 0);
    let values: Vec<f32> = (0..shape.elements())
        .map(|_| stream.normal() as f32)
        .collect();
    Array::new(shape, values).expect("as many as it has")
}

/// What the graph gives on the host, for inputs drawn from their positions.
fn run(graph: &Graph) -> Vec<Array> {
    run_on(&mut Cpu::new(2).expect("threads"), graph)
}

fn run_on(executor: &mut dyn Executor, graph: &Graph) -> Vec<Array> {
    let leaves = graph.leaves().enumerate();
    let inputs: Vec<(&str, Array)> = leaves
        .map(|(i, (_, leaf, spec))| (leaf.name.as_str(), numbers(spec.shape, i as u64)))
        .collect();
    let inputs: Vec<(&str, &Array)> = inputs.iter().map(|(name, x)| (*name, x)).collect();
    let plan = Plan::new(Arc::new(graph.clone()), executor.target()).expect("a plan");
    let plan = executor.prepare(Arc::new(plan)).expect("it fits");
    executor.run(plan, &inputs, None).expect("it runs")
}

fn names(graph: &Graph) -> Vec<&str> {
    let operations = graph.nodes().iter().filter(|node| node.op().is_some());
    operations.map(|node| node.name()).collect()
}

fn input<'g>(r: &'g Recorder, name: &str, shape: impl Into<Shape>) -> Result<Tensor<'g>> {
    r.input(name, Spec::real(shape))
}

fn linear<'g>(r: &'g Recorder, name: &str, x: Tensor<'g>, features: usize) -> Result<Tensor<'g>> {
    let width = x.shape()[x.shape().len() - 1];
    let weight = input(r, &format!("{name}.weight"), [features, width])?;
    ops::linear(x, weight, input(r, &format!("{name}.bias"), [features])?)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn joined_nodes_give_the_same_bits(
        [batch, rows, width] in [1usize..4, 1usize..80, 1usize..9],
        hidden in 1usize..150,
        [maps, height] in [1usize..5, 1usize..12],
        channels in prop_oneof![1usize..5, 16usize..20],
    ) {
        let graph = Graph::record(|r| {
            let x = input(r, "x", [batch, rows, width])?;
            let y = ops::gelu(linear(r, "first", x, hidden)?)?;
            let y = ops::add(x, linear(r, "second", y, width)?)?;
            r.output("tokens", ops::relu(y)?)?;
            let image = input(r, "image", [batch, channels, height, rows])?;
            let weight = input(r, "weight", [maps * 16, channels, 3, 3])?;
            let conv = Conv2d { padding: [1, 1], ..Conv2d::default() };
            let y = ops::conv2d_bias(image, weight, input(r, "bias", [maps * 16])?, conv)?;
            let residual = input(r, "residual", y.shape())?;
            r.output("image", ops::gelu(ops::add(y, residual)?)?)
        }).expect("it records");
        let fused = graph.fused();
        prop_assert_eq!(names(&fused), ["matmul", "matmul", "conv2d"]);
        prop_assert_eq!(run(&graph), run(&fused));
    }
}

#[test]
fn what_something_else_reads_is_not_joined() -> Result<()> {
    let alone = |build: &dyn Fn(&Recorder, Tensor<'_>) -> Result<()>| {
        let graph = Graph::record(|r| build(r, linear(r, "a", input(r, "x", [2, 3])?, 4)?))?;
        Ok::<_, axenic::Error>(names(&graph) == names(&graph.fused()))
    };
    assert!(!alone(&|r, y| r.output("y", ops::relu(y)?))?);
    assert!(alone(&|r, y| {
        r.output("before", y)?;
        r.output("y", ops::relu(y)?)
    })?);
    assert!(alone(&|r, y| r.output("y", ops::mul(ops::relu(y)?, y)?))?);
    assert!(alone(&|r, y| r.output("y", ops::add(y, y)?))?);
    // A residual that is repeated, or that repeats the product.
    assert!(alone(
        &|r, y| r.output("y", ops::add(y, input(r, "row", [4])?)?)
    )?);
    assert!(alone(
        &|r, y| r.output("y", ops::add(y, input(r, "all", [5, 2, 4])?)?)
    )?);
    // What is assigned, and what is a copy's.
    assert!(alone(&|r, y| {
        let scope = r.scope();
        scope.state("last", [2, 4], Init::Constant(0.0))?;
        r.assign("last", y)?;
        r.output("y", ops::relu(y)?)
    })?);
    // An activation comes last.
    let graph = Graph::record(|r| {
        let y = ops::relu(linear(r, "a", input(r, "x", [2, 3])?, 4)?)?;
        r.output("y", ops::add(y, input(r, "residual", [2, 4])?)?)
    })?;
    assert_eq!(names(&graph.fused()), ["matmul", "add"]);
    // Without a bias there is no residual.
    let graph = Graph::record(|r| {
        let (a, b) = (input(r, "a", [2, 3])?, input(r, "b", [3, 4])?);
        let y = ops::matmul(a, b, Transpose::No, Transpose::No)?;
        r.output("y", ops::add(y, input(r, "residual", [2, 4])?)?)
    })?;
    assert_eq!(names(&graph.fused()), ["matmul", "add"]);
    Ok(())
}

/// A convolution without a bias, and behind it a normalisation whose variance is computed after it.
fn normalised<'g>(
    r: &'g Recorder,
    name: &str,
    x: Tensor<'g>,
    residual: Option<Tensor<'g>>,
    statistics: Statistics,
) -> Result<Tensor<'g>> {
    let channels = x.shape()[1];
    let weight = input(r, &format!("{name}.weight"), [channels, channels, 3, 3])?;
    let conv = Conv2d {
        padding: [1, 1],
        ..Conv2d::default()
    };
    let y = ops::conv2d(x, weight, conv)?;
    let vector = |what| input(r, &format!("{name}.{what}"), [channels]);
    let deviation = vector("deviation")?;
    let moments = [vector("mean")?, ops::mul(deviation, deviation)?];
    let affine = [vector("factor")?, vector("bias")?];
    match residual {
        Some(residual) => ops::batch_norm_add_relu(y, moments, affine, residual, 0.1, statistics),
        None => ops::batch_norm(
            y, moments[0], moments[1], affine[0], affine[1], 0.1, statistics,
        ),
    }
}

/// The end of a residual block whose shortcut is normalised too, by the definition and by Winograd's algorithm.
#[test]
fn normalisations_by_constants_are_folded() -> Result<()> {
    for channels in [3, 17] {
        let record = |statistics| {
            Graph::record(|r| {
                let x = input(r, "x", [2, channels, 9, 11])?;
                let shortcut = normalised(r, "shortcut", x, None, statistics)?;
                let inner = ops::relu(normalised(r, "first", x, None, statistics)?)?;
                let y = normalised(r, "second", inner, Some(shortcut), statistics)?;
                r.output("y", y)
            })
        };
        let graph = record(Statistics::Running)?;
        assert_eq!(names(&graph), names(&graph.fused()));
        let fused = graph.folded();
        let each = ["mul", "batch_norm_fold", "conv2d"];
        assert_eq!(names(&fused), [each; 3].concat());
        let activations = fused.nodes().iter().filter_map(|node| {
            let op = node.op().filter(|op| op.name() == "conv2d")?;
            Some(op.attributes().to_string().contains("activation=relu"))
        });
        assert_eq!(activations.collect::<Vec<_>>(), [false, true, true]);
        let mut reference = Reference::new(2)?;
        let [y, folded] = [&graph, &fused].map(|graph| run_on(&mut reference, graph));
        let (y, folded, fast) = (y[0].to_f64(), folded[0].to_f64(), run(&fused));
        let largest = y.iter().fold(0.0f64, |most, y| most.max(y.abs()));
        assert!(largest > 1.0);
        for ((y, folded), fast) in y.iter().zip(&*folded).zip(&*fast[0].to_f64()) {
            assert!((y - folded).abs() < 1e-13 * largest, "{folded} for {y}");
            assert!((y - fast).abs() < 1e-5 * largest, "{fast} for {y}");
        }
        // A batch's own statistics are no constants.
        let graph = record(Statistics::Batch)?;
        let count =
            |graph: &Graph, wanted: &str| names(graph).iter().filter(|n| **n == wanted).count();
        assert_eq!(count(&graph.folded(), "batch_norm"), 3);
    }
    // A convolution with a bias, and one that is the residual.
    let graph = Graph::record(|r| {
        let x = input(r, "x", [2, 3, 9, 11])?;
        let (weight, bias) = (input(r, "weight", [3, 3, 1, 1])?, input(r, "bias", [3])?);
        let y = ops::conv2d_bias(x, weight, bias, Conv2d::default())?;
        let (mean, variance) = (input(r, "mean", [3])?, input(r, "variance", [3])?);
        let running = Statistics::Running;
        r.output(
            "y",
            ops::batch_norm(y, mean, variance, bias, bias, 0.1, running)?,
        )?;
        let residual = ops::conv2d(x, weight, Conv2d::default())?;
        let moments = [mean, variance];
        let end = ops::batch_norm_add_relu(x, moments, [bias; 2], residual, 0.1, running)?;
        r.output("end", end)
    })?;
    assert_eq!(names(&graph), names(&graph.folded()));
    // Where something is assigned, a model trains.
    let graph = Graph::record(|r| {
        r.scope().state("count", [1], Init::Constant(0.0))?;
        let count = r.newest("count")?;
        r.assign("count", ops::add(count, r.constant([1.0]))?)?;
        let x = input(r, "x", [2, 3, 9, 11])?;
        r.output("y", normalised(r, "norm", x, None, Statistics::Running)?)
    })?;
    assert_eq!(names(&graph), names(&graph.folded()));
    Ok(())
}

/// A runner joins nodes, and chooses tiles; it still knows the graph that it was given, and no other for it. Of that nothing is
/// folded.
#[test]
fn a_runner_knows_the_graph_that_it_was_given() -> Result<()> {
    let record = |activation: for<'g> fn(Tensor<'g>) -> Result<Tensor<'g>>| {
        Graph::record(|r| {
            let x = input(r, "x", [2, 16, 9, 11])?;
            let y = normalised(r, "norm", x, None, Statistics::Running)?;
            let y = ops::reshape(y, [32, 99])?;
            r.output("y", activation(linear(r, "a", y, 4)?)?)
        })
    };
    let (graph, other) = (record(ops::gelu)?, record(ops::relu)?);
    for tile in [None, Some(WinogradTile::Four)] {
        let mut runner = Runner::new(Box::new(Cpu::new(2)?)).with_winograd(tile);
        for _ in 0..2 {
            let prepared = runner.prepare_graph("test", 2, &graph)?;
            let prepared = prepared.expect("this graph");
            assert_eq!(
                names(&prepared),
                ["conv2d", "mul", "batch_norm", "reshape", "matmul"]
            );
        }
        assert!(runner.prepare_graph("test", 2, &other)?.is_none());
        let folded = runner.prepare("inference", 2, || Ok(graph.clone()))?;
        assert_eq!(
            names(&folded),
            ["mul", "batch_norm_fold", "conv2d", "reshape", "matmul"]
        );
    }
    Ok(())
}

/// The gradients of a value that several concatenations read are slices, which add up.
#[test]
fn slices_add_up() -> Result<()> {
    let graph = Graph::record(|r| {
        let (x, other) = (input(r, "x", [3, 70, 41])?, input(r, "other", [3, 5, 41])?);
        let (first, second) = (ops::concat(&[other, x], 1)?, ops::concat(&[x, other], 1)?);
        let both = [first, second, ops::concat(&[other, x, other], 1)?];
        let squares = both.map(|y| ops::sum(ops::mul(y, y)?, &[0, 1, 2], KeepAxes::No));
        let [a, b, c] = squares;
        let grads = autodiff::gradients(ops::add(ops::add(a?, b?)?, c?)?, &[x, other])?;
        r.output("x_grad", grads[0])?;
        r.output("other_grad", grads[1])
    })?;
    let fused = graph.fused();
    let additions = |graph: &Graph| names(graph).iter().filter(|name| **name == "add").count();
    assert!(additions(&fused) + 3 <= additions(&graph));
    assert_eq!(run(&graph), run(&fused));
    Ok(())
}

/// A copy has to give the bits of what it copies: neither is joined.
#[test]
fn what_is_recomputed_stays_as_it_is() -> Result<()> {
    let graph = Graph::record(|r| {
        let scope = r.scope().name("layer");
        let x = input(r, "x", [2, 3])?;
        let block = scope.enter_block(Recompute::Blocks);
        let y = ops::gelu(nn::linear(&scope, x, 5)?)?;
        drop(block);
        let loss = ops::sum(ops::mul(y, y)?, &[0, 1], KeepAxes::No)?;
        let weight = r.newest("layer.weight")?;
        r.output("grad", autodiff::gradients(loss, &[weight])?[0])
    })?;
    assert!(
        graph
            .nodes()
            .iter()
            .any(|node| node.recomputation.is_some())
    );
    assert_eq!(names(&graph), names(&graph.fused()));
    Ok(())
}

/// Where a gradient reads what an activation saw, as that of GELU does, the activation stays a node; the rectifier's reads what
/// it gave.
#[test]
fn what_a_gradient_reads_stays() -> Result<()> {
    let record = |activation: for<'g> fn(Tensor<'g>) -> Result<Tensor<'g>>| {
        Graph::record(|r| {
            let scope = r.scope().name("layer");
            let y = activation(nn::linear(&scope, input(r, "x", [2, 3])?, 5)?)?;
            let loss = ops::sum(y, &[0, 1], KeepAxes::No)?;
            let weight = r.newest("layer.weight")?;
            r.output("grad", autodiff::gradients(loss, &[weight])?[0])?;
            r.output("loss", loss)
        })
    };
    let (gelu, relu) = (record(ops::gelu)?.fused(), record(ops::relu)?.fused());
    assert!(names(&gelu).contains(&"gelu"));
    assert!(!names(&relu).contains(&"relu") && names(&relu).contains(&"relu_grad"));
    Ok(())
}
