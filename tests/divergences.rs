//! What must hold of softmaxes and divergences whatever their formulas are; and that they keep their relative accuracy in
//! single precision where attention maps begin: nearly constant.

use axenic::array::Array;
use axenic::exec::{Cpu, Executor, Reference};
use axenic::graph::{Graph, Tensor};
use axenic::ops;
use axenic::plan::Plan;
use axenic::rng::Stream;
use axenic::{Result, autodiff, shape::KeepAxes};
use std::sync::Arc;

#[cfg(feature = "gpu")]
mod common;

/// The executors that are to agree with the reference.
fn devices() -> Vec<Box<dyn Executor>> {
    let mut devices: Vec<Box<dyn Executor>> = vec![Box::new(Cpu::new(2).expect("an executor"))];
    #[cfg(feature = "gpu")]
    if let Some(gpu) = common::gpu(axenic::exec::gpu::Checks::On) {
        devices.push(Box::new(gpu));
    }
    devices
}

fn run(
    executor: &mut dyn Executor,
    graph: &Arc<Graph>,
    inputs: &[(&str, &Array)],
) -> Vec<Vec<f64>> {
    let plan = Plan::new(graph.clone(), executor.target()).expect("a plan");
    let plan = executor.prepare(Arc::new(plan)).expect("it prepares");
    let outputs = executor.run(plan, inputs, None).expect("it runs");
    outputs
        .iter()
        .map(|output| output.to_f64().into_owned())
        .collect()
}

/// A graph of two inputs `a` and `b` of this shape, and named results.
fn graph(
    shape: [usize; 2],
    build: impl for<'g> Fn(Tensor<'g>, Tensor<'g>) -> Result<Vec<Tensor<'g>>>,
) -> Arc<Graph> {
    let spec = axenic::array::Spec::real(shape);
    let graph = Graph::record(|r| {
        let outputs = build(r.input("a", spec)?, r.input("b", spec)?)?;
        outputs
            .into_iter()
            .enumerate()
            .try_for_each(|(i, output)| r.output(&i.to_string(), output))
    });
    Arc::new(graph.expect("it records"))
}

fn uniform(shape: [usize; 2], low: f64, high: f64, seed: u64) -> Array {
    let mut stream = Stream::new(seed, "divergences", 0, 0);
    let values: Vec<f32> = (0..shape[0] * shape[1])
        .map(|_| stream.range(low, high) as f32)
        .collect();
    Array::new(shape, values).expect("it fits")
}

/// The largest difference, relative to the largest expected number.
fn relative_error(got: &[f64], expected: &[f64]) -> f64 {
    let largest = expected
        .iter()
        .fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let error = got
        .iter()
        .zip(expected)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f64::max);
    error / largest
}

/// The loss of the attention maps: nearly constant maps, one temperature 1, the other 5 or 1/5.
#[test]
fn nearly_constant_maps_keep_their_relative_accuracy() {
    for variation in [1e-1, 1e-3, 1e-5] {
        for (rows, temperature) in [(7, 5.0), (14, 5.0), (7, 0.2), (14, 0.2)] {
            let graph = graph([9, rows], |a, _| {
                let target = ops::stop_gradient(a)?;
                let terms = ops::softmax_kl_divergence(target, a, 1, temperature, 1.0)?;
                let sum = ops::sum(terms, &[0], KeepAxes::No)?;
                let both = ops::softmax_kl_divergence(a, target, 1, temperature, 1.0)?;
                let other = ops::sum(both, &[0], KeepAxes::No)?;
                let slope = autodiff::gradients(sum, &[a])?[0];
                Ok(vec![terms, slope, autodiff::gradients(other, &[a])?[0]])
            });
            let map = uniform([9, rows], 0.5, 0.5 + variation, 1);
            let inputs = [("a", &map), ("b", &map)];
            let expected = run(
                &mut Reference::new(1).expect("an executor"),
                &graph,
                &inputs,
            );
            for mut device in devices() {
                for (got, expected) in run(device.as_mut(), &graph, &inputs).iter().zip(&expected) {
                    let error = relative_error(got, expected);
                    let name = device.description();
                    assert!(
                        error < 1e-5,
                        "{name}: {variation} {rows} {temperature}: {error:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn nearly_equal_distributions_keep_their_relative_accuracy() {
    let graph = graph([9, 14], |a, b| Ok(vec![ops::js_divergence(a, b, 1)?]));
    // Not quite probabilities, which the formula does not mind.
    let a = uniform([9, 14], 0.07, 0.0701, 1);
    let b = uniform([9, 14], 0.07, 0.0701, 2);
    let inputs = [("a", &a), ("b", &b)];
    let expected = run(
        &mut Reference::new(1).expect("an executor"),
        &graph,
        &inputs,
    );
    for mut device in devices() {
        let got = run(device.as_mut(), &graph, &inputs);
        let error = relative_error(&got[0], &expected[0]);
        assert!(error < 1e-5, "{}: {error:e}", device.description());
    }
}

#[test]
fn divergences_are_not_negative_and_zero_for_equals() {
    let graph = graph([33, 14], |a, b| {
        let (p, q) = (ops::softmax(a, 1, 1.0)?, ops::softmax(b, 1, 1.0)?);
        Ok(vec![
            ops::softmax_kl_divergence(a, b, 1, 1.0, 1.0)?,
            ops::js_divergence(p, q, 1)?,
            ops::js_divergence(q, p, 1)?,
            ops::softmax_kl_divergence(a, a, 1, 0.2, 0.2)?,
            ops::js_divergence(p, p, 1)?,
            ops::kl_divergence(p, p, 1)?,
        ])
    });
    for (spread, seed) in [(1e-4, 1), (1.0, 2), (30.0, 3)] {
        let (a, b) = (
            uniform([33, 14], 0.0, spread, seed),
            uniform([33, 14], 0.0, spread, seed + 10),
        );
        for mut device in devices() {
            let got = run(device.as_mut(), &graph, &[("a", &a), ("b", &b)]);
            assert!(got[0].iter().all(|&kl| kl >= 0.0), "{:?}", got[0]);
            assert!(
                got[1]
                    .iter()
                    .all(|&js| (0.0..=1.000_01 * std::f64::consts::LN_2).contains(&js)),
                "{:?}",
                got[1]
            );
            assert_eq!(got[1], got[2], "symmetric to the bit");
            assert!(
                got[3..].iter().flatten().all(|&zero| zero == 0.0),
                "{:?}",
                &got[3..]
            );
        }
    }
}

/// Probabilities of 0 take part as their limits; their own derivatives, which would be infinite, count as 0.
#[test]
fn zeros_are_no_exception() {
    let graph = graph([3, 4], |a, b| {
        let (kl, js) = (ops::kl_divergence(a, b, 1)?, ops::js_divergence(a, b, 1)?);
        let both = ops::add(kl, js)?;
        let slopes = autodiff::gradients(ops::sum(both, &[0], KeepAxes::No)?, &[a, b])?;
        Ok(vec![kl, js, slopes[0], slopes[1]])
    });
    let rows = |values: [[f32; 4]; 3]| Array::new([3, 4], values.concat()).expect("it fits");
    let a = rows([[0.0, 0.5, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0], [0.25; 4]]);
    let b = rows([[0.25; 4], [0.0, 1.0, 0.0, 0.0], [0.25; 4]]);
    let ln = f64::ln;
    let kl = [ln(2.0), 0.0, 0.0];
    let js = [
        0.5 * (ln(4.0 / 3.0) + 0.5 * ln(2.0 / 3.0) + 0.5 * ln(2.0)),
        0.0,
        0.0,
    ];
    let mut devices = devices();
    devices.push(Box::new(Reference::new(1).expect("an executor")));
    for mut device in devices {
        let got = run(device.as_mut(), &graph, &[("a", &a), ("b", &b)]);
        let error = |got: &[f64], expected: &[f64]| {
            got.iter()
                .zip(expected)
                .map(|(x, y)| (x - y).abs())
                .fold(0.0, f64::max)
        };
        assert!(error(&got[0], &kl) < 1e-6, "{:?}", got[0]);
        assert!(error(&got[1], &js) < 1e-6, "{:?}", got[1]);
        assert_eq!([got[2][0], got[2][3], got[2][4], got[3][4]], [0.0; 4]);
        assert!(error(&got[3][..1], &[0.5 * ln(2.0)]) < 1e-6, "{:?}", got[3]);
        assert!(got[2..].iter().flatten().all(|slope| slope.is_finite()));
    }
}

#[test]
fn softmaxes_sum_to_one() {
    for shape in [[5, 7], [3, 1000], [1, 100_000]] {
        let graph = graph(shape, |a, b| {
            let log = ops::log_softmax(b, 1)?;
            let sums = ops::sum(ops::softmax(a, 1, 0.5)?, &[1], KeepAxes::No)?;
            Ok(vec![
                sums,
                ops::softmax(log, 1, 1.0)?,
                ops::softmax(b, 1, 1.0)?,
            ])
        });
        let (a, b) = (uniform(shape, -50.0, 50.0, 1), uniform(shape, -5.0, 5.0, 2));
        for mut device in devices() {
            let got = run(device.as_mut(), &graph, &[("a", &a), ("b", &b)]);
            assert!(
                got[0].iter().all(|sum| (sum - 1.0).abs() < 1e-5),
                "{:?}",
                got[0]
            );
            assert!(relative_error(&got[1], &got[2]) < 1e-4);
        }
    }
}
