//! What an operation keeps of a parameter follows that parameter, however it changes.

use super::{bits, executors, numbers, prepare, record};
use axenic::Result;
use axenic::array::Spec;
use axenic::exec::{Cpu, Executor};
use axenic::graph::{Graph, Init, Recorder, Tensor};
use axenic::ops::{self, Conv2d};
use axenic::plan::Plan;
use std::sync::Arc;

/// A convolution that the host computes by Winograd's algorithm.
fn convolved<'g>(r: &'g Recorder, weight: Tensor<'g>) -> Result<Tensor<'g>> {
    let x = r.input("x", Spec::real([2, 16, 9, 11]))?;
    let conv = Conv2d {
        padding: [1, 1],
        ..Conv2d::default()
    };
    ops::conv2d(x, weight, conv)
}

fn weight(r: &Recorder) -> Result<Tensor<'_>> {
    r.scope()
        .parameter("weight", [16, 16, 3, 3], Init::Constant(0.0))
}

fn inference() -> Arc<Graph> {
    record(|r| r.output("y", convolved(r, weight(r)?)?))
}

/// A step that gives what the present weight gives, and halves that weight.
fn step() -> Arc<Graph> {
    record(|r| {
        let weight = weight(r)?;
        r.output("y", convolved(r, weight)?)?;
        r.assign("weight", ops::mul(weight, r.constant([0.5]))?)
    })
}

/// Writing, another plan's step, and both in turns: each run sees the weight of its moment, as an executor does that has seen no
/// other.
#[test]
fn every_run_sees_the_present_weight() -> Result<()> {
    let (x, first) = (
        numbers([2, 16, 9, 11].into(), 1),
        numbers([16, 16, 3, 3].into(), 2),
    );
    for (mut executor, mut other) in executors().into_iter().zip(executors()) {
        let name = executor.description();
        let (looks, steps) = (inference(), step());
        let (look, step) = (
            prepare(&mut *executor, &looks),
            prepare(&mut *executor, &steps),
        );
        let again = prepare(&mut *executor, &looks);
        executor.write("weight", first.clone())?;
        let fresh = prepare(&mut *other, &looks);
        for (turn, run) in [look, look, again, step, look, step, step, again, look]
            .into_iter()
            .enumerate()
        {
            let present = executor.read("weight")?;
            other.write("weight", present)?;
            let y = executor.run(run, &[("x", &x)], None)?;
            let expected = other.run(fresh, &[("x", &x)], None)?;
            assert_eq!(bits(&y[0]), bits(&expected[0]), "{name}, turn {turn}");
        }
        executor.write("weight", numbers([16, 16, 3, 3].into(), 3))?;
        other.write("weight", numbers([16, 16, 3, 3].into(), 3))?;
        let y = executor.run(look, &[("x", &x)], None)?;
        let expected = other.run(fresh, &[("x", &x)], None)?;
        assert_eq!(bits(&y[0]), bits(&expected[0]), "{name}, written");
    }
    Ok(())
}

/// Only what no run changes is kept: else it would take memory of its own for nothing.
#[test]
fn what_a_run_changes_is_not_kept() -> Result<()> {
    let cpu = Cpu::new(2)?;
    let kept = |graph: Arc<Graph>| -> Result<Vec<bool>> {
        let plan = Plan::new(graph, cpu.target())?;
        let kept = plan.steps().iter().filter_map(|step| step.kept);
        let outlasts: Vec<_> = kept.map(|kept| kept.outlasts).collect();
        assert_eq!(plan.kept_bytes() > 0, outlasts.contains(&true));
        Ok(outlasts)
    };
    assert_eq!(kept(inference())?, [true]);
    assert_eq!(kept(step())?, [false]);
    let given = record(|r| {
        let weight = r.input("weight", Spec::real([16, 16, 3, 3]))?;
        r.output("y", convolved(r, weight)?)
    });
    assert_eq!(kept(given)?, [false]);
    let computed = record(|r| {
        let weight = weight(r)?;
        r.output("y", convolved(r, ops::mul(weight, weight)?)?)
    });
    assert_eq!(kept(computed)?, [false]);
    let constant = numbers([16, 16, 3, 3].into(), 1);
    let constant = record(move |r| r.output("y", convolved(r, r.constant(constant))?));
    assert_eq!(kept(constant)?, [true]);
    Ok(())
}
