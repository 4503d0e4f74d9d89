//! Gradients of whole graphs: any node may be a target, what cannot learn is refused, names are declared once.

use axenic::array::Spec;
use axenic::exec::{Executor, Reference};
use axenic::graph::{Graph, Init, Recorder};
use axenic::plan::Plan;
use axenic::shape::KeepAxes;
use axenic::{Array, Result, autodiff, eval, ops};
use std::sync::Arc;

/// y = Σ h², h = 3x: the gradient at the inner node h is 2h, that at x three times as much.
#[test]
fn an_inner_node_may_be_a_target() {
    let [at_h, at_x] = eval(|r| {
        let x = r.constant([1.0, -2.0]);
        let h = ops::mul(x, r.constant(3.0))?;
        let y = ops::sum(ops::mul(h, h)?, &[0], KeepAxes::No)?;
        let gradients = autodiff::gradients(y, &[h, x])?;
        Ok([gradients[0], gradients[1]])
    })
    .expect("it records");
    assert_eq!(*at_h.to_f64(), [6.0, -12.0]);
    assert_eq!(*at_x.to_f64(), [18.0, -36.0]);
}

/// A gradient is a graph: it can be differentiated again. x³ has the second derivative 6x.
#[test]
fn a_gradient_has_a_gradient() {
    let [second] = eval(|r| {
        let x = r.constant([2.0]);
        let cube = ops::mul(x, ops::mul(x, x)?)?;
        let first = autodiff::gradients(ops::sum(cube, &[0], KeepAxes::No)?, &[x])?[0];
        let second = autodiff::gradients(ops::sum(first, &[0], KeepAxes::No)?, &[x])?[0];
        Ok([second])
    })
    .expect("it records");
    assert_eq!(*second.to_f64(), [12.0]);
}

#[test]
fn a_parameter_that_would_not_learn_is_an_error() {
    let e = refused(|r| {
        let used = r.scope().parameter("used", [2], Init::Constant(1.0))?;
        let idle = r.scope().parameter("idle", [2], Init::Constant(1.0))?;
        autodiff::gradients(ops::sum(used, &[0], KeepAxes::No)?, &[used, idle]).map(|_| ())
    });
    assert!(e.contains("no gradient reaches"), "{e}");
}

#[test]
fn only_a_scalar_has_gradients() {
    let e = refused(|r| {
        let x = r.constant([1.0, 2.0]);
        autodiff::gradients(ops::relu(x)?, &[x]).map(|_| ())
    });
    assert!(e.contains("of a scalar, not of shape [2]"), "{e}");
}

#[test]
fn names_are_declared_once_or_shared() {
    let one = Init::Constant(1.0);
    let e = refused(|r| {
        r.scope().parameter("w", [2], one)?;
        r.scope().parameter("w", [2], one).map(|_| ())
    });
    assert!(e.contains("\"w\" is declared twice"), "{e}");
    let e = refused(|r| {
        r.scope().parameter("w", [2], one)?;
        r.scope().shared().parameter("w", [3], one).map(|_| ())
    });
    assert!(e.contains("has shape [2], not [3]"), "{e}");
    let e = refused(|r| {
        r.scope().travelling("w", [2])?;
        r.scope().travelling("w", [2])
    });
    assert!(e.contains("\"w\" is declared twice"), "{e}");
}

/// Every node of a gradient, sums of several gradients included, stands where its forward node does.
#[test]
fn gradients_stand_where_their_forward_nodes_do() {
    let graph = Graph::record(|r| {
        let scope = r.scope().name("layer");
        let x = scope.parameter("w", [2], Init::Constant(2.0))?;
        let inside = scope.enter();
        let y = ops::sum(ops::mul(x, ops::sigmoid(x)?)?, &[0], KeepAxes::No)?;
        drop(inside);
        r.output("grad", autodiff::gradients(y, &[x])?[0])
    })
    .expect("it records");
    let added = graph
        .nodes()
        .iter()
        .filter(|node| node.name().starts_with("add"));
    let places: Vec<(&str, &str)> = added.map(|node| (&*node.path, node.place.file())).collect();
    assert!(!places.is_empty());
    assert!(
        places
            .iter()
            .all(|(_, file)| file.ends_with("tests/autodiff.rs")),
        "{places:?}"
    );
}

/// The newest value of a shared state is what the second use reads.
#[test]
fn a_shared_state_is_read_after_it_is_assigned() {
    let graph = Graph::record(|r| {
        let x = r.input("x", Spec::real([]))?;
        let scope = r.scope();
        let s = scope.state("s", [], Init::Constant(0.0))?;
        scope.assign("s", ops::add(s, x)?)?;
        let s = scope.shared().state("s", [], Init::Constant(0.0))?;
        scope.assign("s", ops::mul(s, x)?)
    });
    let mut reference = Reference::new(1).expect("threads");
    let plan = Plan::new(Arc::new(graph.expect("it records")), reference.target()).expect("a plan");
    let plan = reference.prepare(Arc::new(plan)).expect("it fits");
    reference.write("s", Array::scalar(1.0)).expect("a state");
    reference
        .run(plan, &[("x", &Array::scalar(3.0))], None)
        .expect("it runs");
    assert_eq!(*reference.read("s").expect("a state").to_f64(), [12.0]);
}

/// What recording says that is refused.
fn refused(build: impl for<'g> Fn(&'g Recorder) -> Result<()>) -> String {
    Graph::record(build).expect_err("it is refused").to_string()
}
