//! State lasts and is shared by plans, and wrong use is refused in the same words by every executor.

use super::{executors, prepare, record};
use axenic::Array;
use axenic::array::Spec;
use axenic::exec::{Executor, Moment};
use axenic::graph::{Init, Limits, Target, ValueId};
use axenic::ops;
use axenic::plan::Plan;
use axenic::shape::{KeepAxes, Shape};
use std::ops::ControlFlow;
use std::sync::Arc;

#[test]
fn states_last_and_are_shared_by_plans() {
    let step = record(|r| {
        let s = r.scope().state("s", [3], Init::Constant(0.0))?;
        let x = r.input("x", Spec::real([3]))?;
        r.output("before", s)?;
        r.assign("s", ops::add(s, x)?)
    });
    let double = record(|r| {
        let s = r.scope().state("s", [3], Init::Constant(0.0))?;
        r.output("double", ops::add(s, s)?)
    });
    let x = Array::from([1.0, 2.0, 3.0]);
    for mut executor in executors() {
        let executor = executor.as_mut();
        let (step, double) = (prepare(executor, &step), prepare(executor, &double));
        executor
            .write("s", Array::from([10.0, 10.0, 10.0]))
            .expect("a state");
        for i in 0..3 {
            let before = executor.run(step, &[("x", &x)], None).expect("it runs");
            let i = f64::from(i);
            let expected = [10.0 + i, 10.0 + 2.0 * i, 10.0 + 3.0 * i];
            assert_eq!(*before[0].to_f64(), expected, "{}", executor.description());
        }
        let doubled = executor.run(double, &[], None).expect("it runs");
        assert_eq!(*doubled[0].to_f64(), [26.0, 32.0, 38.0]);
        assert_eq!(
            *executor.read("s").expect("a state").to_f64(),
            [13.0, 16.0, 19.0]
        );
    }
}

#[test]
fn assigned_values_may_lie_in_other_leaves() {
    let graph = record(|r| {
        let [a, b, c, d] =
            ["a", "b", "c", "d"].map(|name| r.scope().state(name, [2, 2], Init::Constant(0.0)));
        let (a, b, c, d) = (a?, b?, c?, d?);
        let x = r.input("x", Spec::real([2, 2]))?;
        r.output("a", a)?;
        r.output("x", x)?;
        // A ring of exchanges through aliases, an input kept as it is, and a state that comes back to itself.
        r.assign("a", b)?;
        r.assign("b", ops::reshape(ops::reshape(c, [4])?, [2, 2])?)?;
        r.assign("c", a)?;
        let itself = ops::reshape(ops::reshape(d, [4])?, [2, 2])?;
        r.output("itself", itself)?;
        r.assign("d", itself)?;
        r.scope().state("e", [2, 2], Init::Constant(0.0))?;
        r.assign("e", x)
    });
    let array = |first: f64| Array::from([[first, 1.0], [2.0, 3.0]]);
    for mut executor in executors() {
        let executor = executor.as_mut();
        let plan = prepare(executor, &graph);
        for (name, first) in [
            ("a", 10.0),
            ("b", 20.0),
            ("c", 30.0),
            ("d", 40.0),
            ("e", 50.0),
        ] {
            executor.write(name, array(first)).expect("a state");
        }
        for expected in [[20.0, 30.0, 10.0], [30.0, 10.0, 20.0]] {
            let outputs = executor
                .run(plan, &[("x", &array(7.0))], None)
                .expect("it runs");
            let firsts: Vec<f64> = outputs.iter().map(|output| output.to_f64()[0]).collect();
            assert_eq!(
                firsts,
                [expected[2], 7.0, 40.0],
                "{}",
                executor.description()
            );
            let states = ["a", "b", "c", "d", "e"]
                .map(|name| executor.read(name).expect("a state").to_f64()[0]);
            assert_eq!(states[..3], expected, "{}", executor.description());
            assert_eq!(states[3..], [40.0, 7.0], "{}", executor.description());
        }
    }
}

/// A leaf and a slot may exchange their memory, but not one slot with two leaves; nor with a result.
#[test]
fn one_value_may_become_two_states() {
    let graph = record(|r| {
        let x = r.input("x", Spec::real([3]))?;
        let scope = r.scope();
        let a = scope.state("a", [3], Init::Constant(0.0))?;
        let b = scope.state("b", [3], Init::Constant(0.0))?;
        let (sum, product) = (ops::add(a, x)?, ops::mul(b, x)?);
        r.assign("a", sum)?;
        r.assign("b", sum)?;
        r.output("sum", sum)?;
        r.output("product", product)
    });
    let x = Array::from([1.0, 2.0, 3.0]);
    for mut executor in executors() {
        let executor = executor.as_mut();
        let plan = prepare(executor, &graph);
        executor.write("a", x.clone()).expect("a state");
        executor.write("b", x.clone()).expect("a state");
        for run in 1..5 {
            let times = f64::from(run);
            let outputs = executor.run(plan, &[("x", &x)], None).expect("it runs");
            let sum = [1.0, 2.0, 3.0].map(|x| (times + 1.0) * x);
            let product = [1.0, 4.0, 9.0].map(|square| times * square);
            assert_eq!(*outputs[0].to_f64(), sum, "{}", executor.description());
            assert_eq!(*outputs[1].to_f64(), product, "{}", executor.description());
            for name in ["a", "b"] {
                let state = executor.read(name).expect("a state");
                assert_eq!(*state.to_f64(), sum, "{}", executor.description());
            }
        }
    }
}

#[test]
fn a_run_that_is_broken_off_assigns_nothing() {
    let graph = record(|r| {
        let s = r.scope().state("s", [2], Init::Constant(0.0))?;
        let twice = ops::add(s, s)?;
        r.assign("s", ops::mul(twice, twice)?)?;
        r.output("s", twice)
    });
    for mut executor in executors() {
        let executor = executor.as_mut();
        let plan = prepare(executor, &graph);
        executor
            .write("s", Array::from([1.0, 2.0]))
            .expect("a state");
        let mut seen = 0;
        let mut stop = |moment: Moment| {
            seen += 1;
            assert_eq!(*moment.outputs[0].to_f64(), [2.0, 4.0]);
            ControlFlow::Break(())
        };
        let outputs = executor.run(plan, &[], Some(&mut stop)).expect("it runs");
        assert!(outputs.is_empty());
        assert_eq!(seen, 1);
        assert_eq!(*executor.read("s").expect("a state").to_f64(), [1.0, 2.0]);
        let rows = executor.trace(plan, &[]).expect("it runs");
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[1].min, rows[1].max), (4.0, 16.0));
        assert_eq!(*executor.read("s").expect("a state").to_f64(), [4.0, 16.0]);
    }
}

#[test]
fn a_value_can_be_had_without_the_rest() {
    let graph = record(|r| {
        let s = r.scope().state("s", [2], Init::Constant(0.0))?;
        let twice = ops::add(s, s)?;
        let column = ops::reshape(twice, [2, 1])?;
        r.assign("s", ops::mul(twice, twice)?)?;
        r.output("column", ops::relu(column)?)
    });
    let [leaf, twice, column] = [0, 1, 2].map(|node| ValueId { node, output: 0 });
    for mut executor in executors() {
        let executor = executor.as_mut();
        let plan = prepare(executor, &graph);
        let s = Array::from([1.0, -2.0]);
        executor.write("s", s.clone()).expect("a state");
        let got = executor
            .run_until(plan, &[], twice)
            .expect("it is computed");
        assert_eq!(*got.to_f64(), [2.0, -4.0]);
        let got = executor
            .run_until(plan, &[], column)
            .expect("its numbers are computed");
        assert_eq!((*got.to_f64()).to_vec(), [2.0, -4.0]);
        assert_eq!(got.shape(), [2, 1].into());
        let e = executor.run_until(plan, &[], leaf).expect_err("a leaf");
        assert!(e.to_string().contains("is not computed"), "{e}");
        assert_eq!(*executor.read("s").expect("a state").to_f64(), [1.0, -2.0]);
    }
}

/// x [1000], three relus one behind the other and their sum: two slots of 1000 at a time, one number, one leaf of 1000.
#[test]
fn the_peak_is_exact() {
    let graph = record(|r| {
        let mut x = r.input("x", Spec::real([1000]))?;
        for _ in 0..3 {
            x = ops::sigmoid(x)?;
        }
        r.output("sum", ops::sum(x, &[0], KeepAxes::No)?)
    });
    let bytes = |target| {
        Plan::new(graph.clone(), target)
            .expect("a plan")
            .peak_bytes()
    };
    assert_eq!(bytes(Target::Cpu { threads: 1 }), 4 * (1000 + 2 * 1000));
    assert_eq!(bytes(Target::Reference), 8 * (1000 + 2 * 1000));
}

#[test]
fn nothing_is_computed_without_elements() {
    let graph = record(|r| {
        let x = r.input("x", Spec::real([0, 3]))?;
        r.output("rows", ops::relu(x)?)?;
        r.output("sum", ops::sum(x, &[0], KeepAxes::No)?)?;
        r.output("x", x)
    });
    let empty = Array::zeros(Spec::real([0, 3]));
    for mut executor in executors() {
        let executor = executor.as_mut();
        let plan = prepare(executor, &graph);
        let outputs = executor.run(plan, &[("x", &empty)], None).expect("it runs");
        let shapes: Vec<Shape> = outputs.iter().map(Array::shape).collect();
        assert_eq!(shapes, [[0, 3].into(), [3].into(), [0, 3].into()]);
        assert_eq!(*outputs[1].to_f64(), [0.0; 3]);
        assert_eq!(
            executor
                .trace(plan, &[("x", &empty)])
                .expect("it runs")
                .len(),
            2
        );
    }
}

#[test]
fn many_steps_are_submitted_in_order() {
    let graph = record(|r| {
        let mut x = r.input("x", Spec::real([3]))?;
        let one = r.constant([1.0, 2.0, 3.0]);
        for _ in 0..2500 {
            x = ops::add(x, one)?;
        }
        r.output("x", x)
    });
    let x = Array::from([0.0, 0.0, 0.0]);
    for mut executor in executors() {
        let executor = executor.as_mut();
        let plan = prepare(executor, &graph);
        let outputs = executor.run(plan, &[("x", &x)], None).expect("it runs");
        assert_eq!(*outputs[0].to_f64(), [2500.0, 5000.0, 7500.0]);
    }
}

/// The sentences of the same mistakes on every executor.
#[test]
fn mistakes_are_refused_in_the_same_words() {
    let graph = record(|r| {
        let x = r.input("x", Spec::real([2]))?;
        let w = r.scope().parameter("w", [2], Init::Constant(0.0))?;
        r.output("y", ops::add(x, w)?)
    });
    let other = record(|r| {
        let w = r.scope().parameter("w", [3], Init::Constant(0.0))?;
        r.output("y", ops::relu(w)?)
    });
    let (x, long) = (Array::from([1.0, 2.0]), Array::from([1.0, 2.0, 3.0]));
    let labels = Array::from([1u32, 2]);
    for mut executor in executors() {
        let executor = executor.as_mut();
        let plan = prepare(executor, &graph);
        let mut refused = |inputs: &[(&str, &Array)]| {
            let error = executor.run(plan, inputs, None).expect_err("it is refused");
            assert!(error.is_input(), "{error:?}");
            error.to_string()
        };
        assert_eq!(refused(&[]), "the input \"x\" of shape [2] is missing");
        assert_eq!(
            refused(&[("x", &long)]),
            "\"x\" has shape [2], but [3] was given"
        );
        assert_eq!(
            refused(&[("x", &labels)]),
            "\"x\" has shape [2], but u32[2] was given"
        );
        assert_eq!(
            refused(&[("x", &x), ("z", &x)]),
            "the graph has no input \"z\""
        );
        assert_eq!(refused(&[("x", &x)]), "\"w\" has no value yet");
        let message = |error: axenic::Error| error.to_string();
        let unknown = "no prepared plan has a parameter or state \"v\"";
        assert_eq!(
            executor.read("v").map_err(message).expect_err("refused"),
            unknown
        );
        assert_eq!(
            executor
                .write("v", x.clone())
                .map_err(message)
                .expect_err("refused"),
            unknown
        );
        assert_eq!(
            executor
                .write("w", long.clone())
                .map_err(message)
                .expect_err("refused"),
            "\"w\" has shape [2], but [3] was given"
        );
        let plan = Arc::new(Plan::new(other.clone(), executor.target()).expect("a plan"));
        assert_eq!(
            executor
                .prepare(plan)
                .map_err(message)
                .expect_err("refused"),
            "\"w\" has shape [2] here and [3] in the new plan"
        );
    }
}

#[test]
fn a_value_too_large_for_the_device_is_refused_with_the_batch_that_fits() {
    let graph = record(|r| {
        let x = r.input("x", Spec::real([64, 3, 224, 224]))?;
        let inside = r.scope().name("layer1");
        let _inside = inside.enter();
        let wide = ops::broadcast(
            ops::reshape(x, [64, 1, 3, 224, 224])?,
            [64, 16, 3, 224, 224],
        )?;
        r.output("y", ops::sum(wide, &[0, 1, 2, 3, 4], KeepAxes::No)?)
    });
    let error =
        Plan::new(graph.clone(), Target::Gpu(Limits::default())).expect_err("it is refused");
    assert!(error.is_device());
    assert_eq!(
        error.to_string(),
        "the output [64, 16, 3, 224, 224] of broadcast in layer1 takes 588 MiB, but the device binds at most 128 MiB; \
         a batch of 13 would fit"
    );
    let larger = Limits {
        binding_bytes: 1 << 30,
        ..Limits::default()
    };
    Plan::new(graph, Target::Gpu(larger)).expect("it fits");
}

#[cfg(feature = "gpu")]
#[test]
fn a_plan_for_another_target_is_refused() {
    let graph = record(|r| {
        let x = r.input("x", Spec::real([2]))?;
        r.output("y", ops::relu(x)?)
    });
    let other = Arc::new(Plan::new(graph, Target::Cpu { threads: 77 }).expect("a plan"));
    for mut executor in executors() {
        let e = executor.prepare(other.clone()).expect_err("not its own");
        assert!(e.to_string().contains("threads: 77"), "{e}");
    }
    use axenic::exec::gpu::Checks;
    let Some(mut gpu) = crate::common::gpu(Checks::Off) else {
        return;
    };
    let graph = record(|r| {
        let x = r.input("x", Spec::real([2]))?;
        r.output("y", ops::relu(x)?)
    });
    let plan = Arc::new(Plan::new(graph, Target::Reference).expect("a plan"));
    let error = gpu.prepare(plan).expect_err("it is refused");
    assert!(error.is_device());
    assert!(
        error
            .to_string()
            .starts_with("the plan was made for Reference, not for gpu (")
    );
}
