//! Ties in max pooling go to the first position on every executor. (Among the room's cases there are none: where two
//! elements tie, the gradient that central differences see is not defined.)

use axenic::array::Spec;
use axenic::conformance::{Sample, audit};
use axenic::exec::{Cpu, Executor, Reference};
use axenic::graph::Graph;
use axenic::{Array, ops};
use std::sync::Arc;

#[cfg(feature = "gpu")]
mod common;

fn check(executor: &mut dyn Executor) {
    let graph = Graph::record(|r| {
        let x = r.input("x", Spec::real([2, 3, 9, 11]))?;
        let windows = ops::Pooling::sliding([3, 3], [2, 1], [1, 1]);
        let (y, index) = ops::max_pool2d(x, windows)?;
        r.output("x_grad", ops::max_pool2d_grad(y, index, windows, [9, 11])?)
    })
    .expect("it records");
    let few: Vec<f32> = (0..2 * 3 * 9 * 11)
        .map(|i| (i * i % 7 % 3) as f32)
        .collect();
    let x = Array::new([2, 3, 9, 11], few).expect("it fits");
    let findings =
        audit(&Arc::new(graph), executor, &[], &[("x", &x)], Sample::All).expect("it runs");
    assert_eq!(findings.len(), 3);
    assert!(
        findings.iter().all(|finding| finding.ratio <= 1.0),
        "{findings:?}"
    );
}

#[test]
fn ties_go_to_the_first_position_on_the_host() {
    check(&mut Reference::new(1).expect("an executor"));
    check(&mut Cpu::new(2).expect("an executor"));
}

#[cfg(feature = "gpu")]
#[test]
fn ties_go_to_the_first_position_on_the_gpu() {
    if let Some(mut gpu) = common::gpu(axenic::exec::gpu::Checks::On) {
        check(&mut gpu);
    }
}
