//! Random graphs: slots never change results, and executors agree node by node.

use super::{bits, executors, numbers, prepare, record};
use axenic::array::Spec;
use axenic::exec::{Executor, Moment, Reference, compare};
use axenic::graph::{Graph, Init, Limits, Precision, Source, Target, Tensor, ValueId};
use axenic::ops;
use axenic::plan::{Place, Plan};
use axenic::shape::{KeepAxes, Shape};
use axenic::{Array, Result};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// One recorded operation: which, and from which earlier values.
type Choice = (u8, usize, usize);

/// One is wide enough for products that need scratch memory on the host; one is images.
const INPUTS: [&[usize]; 6] = [&[2, 3], &[3], &[2, 1], &[5, 2, 3], &[3, 300], &[2, 3, 4, 5]];

/// A graph of the given choices; those that do not fit their operands are left out. Some values become outputs, some are
/// assigned to states, and two states are exchanged.
fn random_graph(choices: &[Choice], outputs: &[usize]) -> Arc<Graph> {
    record(|r| {
        let mut values: Vec<Tensor> = Vec::new();
        for (i, lengths) in INPUTS.iter().enumerate() {
            values.push(r.input(&i.to_string(), Spec::real(Shape::new(lengths)?))?);
        }
        let state = |name| r.scope().state(name, [2, 3], Init::Constant(1.0));
        let (s, t) = (state("s")?, state("t")?);
        values.extend([s, t]);
        for &(kind, a, b) in choices {
            let (a, b) = (values[a % values.len()], values[b % values.len()]);
            if let Ok(outputs) = apply(kind, a, b) {
                values.extend(outputs);
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

/// Gives the outputs to go on from.
fn apply<'g>(kind: u8, a: Tensor<'g>, b: Tensor<'g>) -> Result<Vec<Tensor<'g>>> {
    let n = a.shape().elements();
    let one = match kind % 12 {
        0 => ops::add(a, b),
        1 => ops::mul(a, b),
        2 => ops::relu(a),
        3 => ops::relu_grad(a, b),
        4 => ops::sum(a, &[0], KeepAxes::Yes),
        5 => ops::sum(a, &[0], KeepAxes::No),
        6 => ops::broadcast(a, b.shape()),
        7 => ops::reshape(a, [n]),
        // The others have scratch memory on one target or another, or several outputs.
        8 => ops::matmul(a, b, ops::Transpose::No, ops::Transpose::No),
        9 => ops::conv2d_weight_grad(a, b, ops::Conv2d::default(), [1, 1]),
        10 => {
            let (mean, variance) = ops::batch_statistics(a)?;
            return Ok(vec![mean, variance]);
        }
        _ => ops::max_pool2d(a, ops::Pooling::sliding([3, 3], [1, 1], [1, 1])).map(|(y, _)| y),
    };
    Ok(vec![one?])
}

fn graphs() -> impl Strategy<Value = (Vec<Choice>, Vec<usize>)> {
    let choice = (any::<u8>(), 0..64usize, 0..64usize);
    (
        prop::collection::vec(choice, 1..24),
        prop::collection::vec(0..64usize, 1..4),
    )
}

/// The same cases at every run.
pub(super) fn check_graphs(cases: u32, mut check: impl FnMut(Arc<Graph>)) {
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

#[test]
fn no_value_is_overwritten_while_it_is_alive() {
    let (mut shared, mut scratch, mut casts) = (0, 0, 0);
    check_graphs(512, |graph| {
        let device = |precision| {
            Target::Gpu(Limits {
                precision,
                ..Limits::default()
            })
        };
        for target in [
            Target::Reference,
            Target::Cpu { threads: 3 },
            device(Precision::Full),
            device(Precision::Mixed),
            device(Precision::Half),
        ] {
            let plan = Plan::new(graph.clone(), target).expect("it can be planned");
            plan.verify()
                .unwrap_or_else(|e| panic!("{e}\n{graph}\n{plan}"));
            casts += plan
                .steps()
                .iter()
                .map(|step| step.casts.len())
                .sum::<usize>();
            shared += reused(&plan);
            scratch += plan.steps().iter().flat_map(|step| &step.scratch).count();
        }
    });
    assert!(shared > 100, "slots are hardly ever reused: {shared}");
    assert!(casts > 100, "storages hardly ever meet: {casts}");
    assert!(
        scratch > 100,
        "scratch memory is hardly ever needed: {scratch}"
    );
}

/// How many values lie where another has lain before.
fn reused(plan: &Plan) -> usize {
    let value = |node, output| ValueId { node, output };
    let outputs = plan.steps().iter().flat_map(|step| {
        let count = plan.graph().nodes()[step.node].outputs.len();
        (0..count).map(|output| plan.place(value(step.node, output)))
    });
    let places: Vec<Place> = outputs.collect();
    let repeated = |&i: &usize| places[..i].contains(&places[i]);
    (0..places.len()).filter(repeated).count()
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

/// Numbers for the states and the inputs of a random graph.
pub(super) fn inputs_of(graph: &Graph) -> [Vec<(&str, Array)>; 2] {
    let leaves = graph.leaves().map(|(value, leaf, spec)| {
        let array = numbers(spec.shape, value.node as u64);
        (leaf.name.as_str(), array)
    });
    let (states, inputs) = leaves.partition(|(name, _)| ["s", "t"].contains(name));
    [states, inputs]
}

#[test]
fn shared_slots_change_no_bit() {
    let mut executors = executors();
    check_graphs(96, |graph| {
        let leaves = inputs_of(&graph).concat();
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
                    executor.write(name, array.clone()).expect("it is a state");
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
    let names = ["0", "1", "2", "3", "4", "5"];
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
