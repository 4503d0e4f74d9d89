//! Plans on all executors: slots never change results, state lasts and is shared, wrong use is refused in the same words.

use axenic::array::Spec;
use axenic::exec::{Cpu, Executor, Moment, Prepared, Reference, compare};
use axenic::graph::{Graph, Init, Limits, Recorder, Source, Target, Tensor, ValueId};
use axenic::ops;
use axenic::plan::{Place, Plan};
use axenic::rng::Stream;
use axenic::shape::{KeepAxes, Shape};
use axenic::{Array, Result};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

#[cfg(feature = "gpu")]
mod common;

/// One of each kind; a device only where there is an adapter.
fn executors() -> Vec<Box<dyn Executor>> {
    let mut all: Vec<Box<dyn Executor>> = vec![
        Box::new(Reference::new(1).expect("threads")),
        Box::new(Cpu::new(2).expect("threads")),
    ];
    #[cfg(feature = "gpu")]
    {
        use axenic::exec::gpu::Checks;
        if let (Some(on), Some(off)) = (common::gpu(Checks::On), common::gpu(Checks::Off)) {
            all.push(Box::new(on));
            all.push(Box::new(off));
        }
    }
    all
}

fn record(build: impl for<'g> FnOnce(&'g Recorder) -> Result<()>) -> Arc<Graph> {
    Arc::new(Graph::record(build).expect("it can be recorded"))
}

fn prepare(executor: &mut dyn Executor, graph: &Arc<Graph>) -> Prepared {
    let plan = Plan::new(graph.clone(), executor.target()).expect("it can be planned");
    executor
        .prepare(Arc::new(plan))
        .expect("it can be prepared")
}

fn bits(array: &Array) -> Vec<u64> {
    array.to_f64().iter().map(|x| x.to_bits()).collect()
}

fn numbers(shape: Shape, seed: u64) -> Array {
    let mut stream = Stream::new(seed, "plan test", 0, 0);
    let values: Vec<f32> = (0..shape.elements())
        .map(|_| stream.normal() as f32)
        .collect();
    Array::new(shape, values).expect("as many as the shape has")
}

// ---- Random graphs ----

/// One recorded operation: which, and from which earlier values.
type Choice = (u8, usize, usize);

const INPUTS: [&[usize]; 4] = [&[2, 3], &[3], &[2, 1], &[5, 2, 3]];

/// A graph of the given choices; those that do not fit their operands are left out. Some values become outputs, some are
/// assigned to states, and two states are exchanged.
fn random_graph(choices: &[Choice], outputs: &[usize]) -> Arc<Graph> {
    record(|r| {
        let mut values: Vec<Tensor> = Vec::new();
        for (i, lengths) in INPUTS.iter().enumerate() {
            values.push(r.input(&i.to_string(), Spec::real(Shape::new(lengths)?))?);
        }
        for name in ["s", "t"] {
            values.push(r.scope().state(name, [2, 3], Init::Constant(1.0))?);
        }
        let (s, t) = (values[4], values[5]);
        for &(kind, a, b) in choices {
            let (a, b) = (values[a % values.len()], values[b % values.len()]);
            if let Ok(value) = apply(kind, a, b) {
                values.push(value);
            }
        }
        r.assign("s", t)?;
        r.assign("t", s)?;
        for (i, &output) in outputs.iter().enumerate() {
            let value = values[output % values.len()];
            r.output(&i.to_string(), value)?;
            if value.shape() == s.shape() && output % 3 == 0 {
                r.assign("t", value)?;
            }
        }
        Ok(())
    })
}

fn apply<'g>(kind: u8, a: Tensor<'g>, b: Tensor<'g>) -> Result<Tensor<'g>> {
    let n = a.shape().elements();
    match kind % 8 {
        0 => ops::add(a, b),
        1 => ops::mul(a, b),
        2 => ops::relu(a),
        3 => ops::relu_grad(a, b),
        4 => ops::sum(a, &[0], KeepAxes::Yes),
        5 => ops::sum(a, &[0], KeepAxes::No),
        6 => ops::broadcast(a, b.shape()),
        _ => ops::reshape(a, [n]),
    }
}

fn graphs() -> impl Strategy<Value = (Vec<Choice>, Vec<usize>)> {
    let choice = (any::<u8>(), 0..64usize, 0..64usize);
    (
        prop::collection::vec(choice, 1..24),
        prop::collection::vec(0..64usize, 1..4),
    )
}

/// The same cases at every run.
fn check_graphs(cases: u32, mut check: impl FnMut(Arc<Graph>)) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let check = std::cell::RefCell::new(&mut check);
    let outcome = TestRunner::new_with_rng(config, rng).run(&graphs(), |(choices, outputs)| {
        (check.borrow_mut())(random_graph(&choices, &outputs));
        Ok(())
    });
    outcome.unwrap_or_else(|e| panic!("{e}"));
}

/// Follows who lies in each slot: whatever a step reads, and whatever is read at the end, must still be there.
#[test]
fn no_value_is_overwritten_while_it_is_alive() {
    let mut shared = 0;
    check_graphs(512, |graph| {
        for target in [
            Target::Reference,
            Target::Cpu { threads: 3 },
            Target::Gpu(Limits::default()),
        ] {
            let plan = Plan::new(graph.clone(), target).expect("it can be planned");
            shared += follow(&plan);
        }
    });
    assert!(shared > 100, "slots are hardly ever reused: {shared}");
}

/// Gives how often a slot took a second value.
fn follow(plan: &Plan) -> usize {
    let graph = plan.graph();
    let mut owners: HashMap<usize, ValueId> = HashMap::new();
    let mut reused = 0;
    let is_there = |owners: &HashMap<usize, ValueId>, value: ValueId| match plan.place(value) {
        Place::Leaf(node) => assert_eq!(node, root(graph, value).node),
        Place::Slot(slot) => assert_eq!(owners.get(&slot), Some(&root(graph, value)), "{plan}"),
    };
    for step in plan.steps() {
        let node = &graph.nodes()[step.node];
        let value = |output| ValueId {
            node: step.node,
            output,
        };
        let mut written: Vec<usize> = step.scratch.iter().map(|&(slot, _)| slot).collect();
        for (output, spec) in node.outputs.iter().enumerate() {
            let Place::Slot(slot) = plan.place(value(output)) else {
                panic!("a computed value lies in a leaf");
            };
            assert!(plan.slots()[slot].length >= spec.shape.elements());
            assert_eq!(plan.slots()[slot].element, spec.element);
            written.push(slot);
        }
        for &input in &node.inputs {
            is_there(&owners, input);
            if let Place::Slot(slot) = plan.place(input) {
                assert!(!written.contains(&slot), "read and written at once: {plan}");
            }
        }
        for (output, _) in node.outputs.iter().enumerate() {
            if let Place::Slot(slot) = plan.place(value(output)) {
                reused += usize::from(owners.insert(slot, value(output)).is_some());
            }
        }
        for (slot, _) in &step.scratch {
            owners.remove(slot);
        }
        written.sort_unstable();
        written.dedup();
        assert_eq!(written.len(), node.outputs.len() + step.scratch.len());
    }
    let results = graph.outputs().iter().map(|(_, value)| *value);
    let assigned = graph.assigns().iter().map(|&(_, value)| value);
    results
        .chain(assigned)
        .for_each(|value| is_there(&owners, value));
    reused
}

/// The value whose bytes a value is.
fn root(graph: &Graph, value: ValueId) -> ValueId {
    let node = &graph.nodes()[value.node];
    match node.op().and_then(|op| op.alias_of_input()) {
        Some(input) => root(graph, node.inputs[input]),
        None => value,
    }
}

/// Each node alone in a graph of its own, so that no two values share memory.
fn run_apart(executor: &mut dyn Executor, graph: &Graph, leaves: &[(&str, Array)]) -> Vec<Array> {
    let mut values: HashMap<ValueId, Array> = HashMap::new();
    for (i, node) in graph.nodes().iter().enumerate() {
        let outputs = match &node.source {
            Source::Leaf(leaf) => {
                let (_, array) = leaves
                    .iter()
                    .find(|(name, _)| *name == leaf.name)
                    .expect("the leaf is given");
                vec![array.clone()]
            }
            Source::Op(op) => {
                let own: Vec<(String, &Array)> = node
                    .inputs
                    .iter()
                    .enumerate()
                    .map(|(k, value)| (k.to_string(), &values[value]))
                    .collect();
                let alone = record(|r| {
                    let inputs: Vec<Tensor> = own
                        .iter()
                        .map(|(name, array)| r.input(name, array.spec()))
                        .collect::<Result<_>>()?;
                    let outputs = r.apply_any(op.clone(), &inputs)?;
                    outputs
                        .iter()
                        .enumerate()
                        .try_for_each(|(k, &output)| r.output(&k.to_string(), output))
                });
                let own: Vec<(&str, &Array)> = own
                    .iter()
                    .map(|(name, array)| (name.as_str(), *array))
                    .collect();
                let plan = prepare(executor, &alone);
                executor.run(plan, &own, None).expect("it runs")
            }
        };
        for (output, array) in outputs.into_iter().enumerate() {
            values.insert(ValueId { node: i, output }, array);
        }
    }
    let results = graph.outputs().iter().map(|(_, value)| *value);
    let assigned = graph.assigns().iter().map(|&(_, value)| value);
    results
        .chain(assigned)
        .map(|value| values[&value].clone())
        .collect()
}

#[test]
fn shared_slots_change_no_bit() {
    let mut executors = executors();
    check_graphs(96, |graph| {
        let mut leaves: Vec<(&str, Array)> = Vec::new();
        for (value, leaf, spec) in graph.leaves() {
            leaves.push((leaf.name.as_str(), numbers(spec.shape, value.node as u64)));
        }
        let lasting = |name: &str| ["s", "t"].contains(&name);
        for executor in &mut executors {
            let apart = run_apart(executor.as_mut(), &graph, &leaves);
            let plan = prepare(executor.as_mut(), &graph);
            let inputs: Vec<(&str, &Array)> = leaves
                .iter()
                .filter(|(name, _)| !lasting(name))
                .map(|(name, array)| (*name, array))
                .collect();
            let write_states = |executor: &mut Box<dyn Executor>| {
                for (name, array) in leaves.iter().filter(|(name, _)| lasting(name)) {
                    executor.write(name, array).expect("it is a state");
                }
            };
            write_states(executor);
            let mut watched = Vec::new();
            let mut keep = |moment: Moment| {
                watched.push(moment);
                ControlFlow::Continue(())
            };
            let slow = executor.run(plan, &inputs, Some(&mut keep));
            write_states(executor);
            let mut results = executor.run(plan, &inputs, None).expect("it runs");
            assert_eq!(slow.expect("it runs"), results);
            assert_eq!(watched.len(), results_of(&graph));
            for (leaf, _) in graph.assigns() {
                let leaf = graph.nodes()[leaf.node].leaf().expect("a leaf is assigned");
                results.push(executor.read(&leaf.name).expect("it is a state"));
            }
            let description = executor.description();
            assert_eq!(apart.len(), results.len());
            for (a, b) in apart.iter().zip(&results) {
                assert_eq!(bits(a), bits(b), "{description}\n{graph}");
            }
        }
    });
}

/// How many nodes are computed: all but leaves and aliases.
fn results_of(graph: &Graph) -> usize {
    let computed =
        |node: &&axenic::graph::Node| node.op().is_some_and(|op| op.alias_of_input().is_none());
    graph.nodes().iter().filter(computed).count()
}

#[test]
fn executors_agree_node_by_node() {
    let inputs: Vec<Array> = INPUTS
        .iter()
        .enumerate()
        .map(|(i, lengths)| numbers(Shape::new(lengths).expect("short"), i as u64))
        .collect();
    let names = ["0", "1", "2", "3"];
    let inputs: Vec<(&str, &Array)> = names.into_iter().zip(&inputs).collect();
    let state = Array::from([[0.5, -1.0, 2.0], [1.5, 0.25, -3.0]]);
    let lasting = [("s", &state), ("t", &state)];
    let choices: Vec<Choice> = (0..40).map(|i| (i as u8, 7 * i, 3 * i + 1)).collect();
    let outputs: Vec<usize> = (6..46).collect();
    let graph = random_graph(&choices, &outputs);
    for mut executor in executors() {
        let mut reference = Reference::new(1).expect("threads");
        let differences = compare(&graph, executor.as_mut(), &mut reference, &lasting, &inputs)
            .expect("they run");
        assert!(differences.len() > 10);
        for difference in differences {
            let relative = difference.relative;
            assert!(
                relative < 1e-6,
                "{}: {difference:?}",
                executor.description()
            );
        }
    }
}

// ---- State ----

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
            .write("s", &Array::from([10.0, 10.0, 10.0]))
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
            executor.write(name, &array(first)).expect("a state");
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
            .write("s", &Array::from([1.0, 2.0]))
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

// ---- Wrong use ----

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
                .write("v", &x)
                .map_err(message)
                .expect_err("refused"),
            unknown
        );
        assert_eq!(
            executor
                .write("w", &long)
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
    use axenic::exec::gpu::Checks;
    let Some(mut gpu) = common::gpu(Checks::Off) else {
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
