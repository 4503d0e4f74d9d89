//! Every room on every executor: forward and gradient within the bounds, gradient rules against central differences.

use axenic::conformance::{check_gradient, check_room, markdown};
use axenic::exec::{Cpu, Executor};
use axenic::ops::{ROOMS, Room};

#[cfg(feature = "gpu")]
mod common;

/// Checks all rooms; gives for each the largest ratio of an error of its own values to its bound.
fn check_all(make: impl Fn() -> axenic::Result<Box<dyn Executor>>) -> Vec<(&'static str, f64)> {
    let mut complaints = Vec::new();
    let mut ratios = Vec::new();
    for room in ROOMS {
        let mut executor = make().expect("an executor");
        match check_room(room, executor.as_mut()) {
            Ok(found) => {
                let worst = [&found.forward, &found.gradient];
                let bad = worst
                    .into_iter()
                    .flatten()
                    .filter(|(_, finding)| finding.ratio > 1.0);
                complaints.extend(
                    bad.map(|(about, finding)| format!("{}: {about}: {finding:?}", room.name)),
                );
                ratios.push((room.name, found.forward.map_or(0.0, |(_, own)| own.ratio)));
            }
            Err(e) => complaints.push(e.to_string()),
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    ratios
}

#[test]
fn rooms_are_within_their_bounds_on_the_cpu() {
    let ratios = check_all(|| Ok(Box::new(Cpu::new(2)?)));
    for (room, ratio) in ratios {
        assert!(
            (ratio > 0.001) != EXACT.contains(&room),
            "{room}: errors a thousand times below every bound: the bounds prove nothing ({ratio})"
        );
    }
}

/// Rooms that round nothing: they compare, choose or move.
const EXACT: &[&str] = &[
    "arg_max",
    "broadcast",
    "clamp",
    "clamp_grad",
    "concat",
    "gather",
    "max",
    "max_grad",
    "max_pool2d",
    "maximum",
    "maximum_grad",
    "not_equal",
    "pad",
    "relu",
    "relu_grad",
    "reshape",
    "select",
    "stop_gradient",
    "transpose",
];

#[test]
fn rooms_have_cases_enough() {
    let few: Vec<_> = ROOMS
        .iter()
        .map(|room| (room.name, room.cases().len()))
        .filter(|(_, cases)| *cases < 12)
        .collect();
    assert!(few.is_empty(), "fewer than twelve cases: {few:?}");
}

/// That all marks are ticks is what the other tests check; made by `axenic audit ops --markdown`.
#[test]
fn the_readme_lists_the_operations() {
    let row = |room: &Room| (room.name, room.cases().len(), vec![true; 3]);
    let rows: Vec<_> = ROOMS.iter().map(row).collect();
    let table = markdown(&["reference", "cpu", "gpu"], &rows);
    let readme = include_str!("../README.md");
    assert!(
        readme.contains(&table),
        "the README's table of operations is not:\n{table}"
    );
}

#[test]
fn gradient_rules_agree_with_central_differences() {
    let mut complaints = Vec::new();
    for room in ROOMS {
        for case in room.cases() {
            match check_gradient(room, &case) {
                Ok(Some(ratio)) if ratio > 1.0 => complaints.push(format!(
                    "{} {}: {}: {ratio}",
                    room.name,
                    case.op.attributes(),
                    case.about
                )),
                Ok(_) => {}
                Err(e) => complaints.push(format!(
                    "{} {}: {}: {e}",
                    room.name,
                    case.op.attributes(),
                    case.about
                )),
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[cfg(feature = "gpu")]
mod gpu {
    use super::common::gpu;
    use axenic::array::{Numbers, Spec};
    use axenic::conformance::check_case;
    use axenic::exec::gpu::{Checks, Gpu};
    use axenic::exec::{Executor, Moment, Prepared, Watch};
    use axenic::graph::{
        AnyOp, Attributes, Binding, Call, Cost, Follower, Graph, Joined, Kept, Launch, Limits,
        Target, Tensor, View, ViewMut,
    };
    use axenic::ops::{Fill, ROOMS, RoomCase};
    use axenic::plan::Plan;
    use axenic::real::Bounded;
    use axenic::workers::Workers;
    use axenic::{Array, Result};
    use std::ops::{ControlFlow, Range};
    use std::sync::Arc;

    #[test]
    fn rooms_are_within_their_bounds_on_the_gpu() {
        if gpu(Checks::On).is_none() {
            return;
        }
        super::check_all(|| {
            let (Some(checked), Some(unchecked)) = (gpu(Checks::On), gpu(Checks::Off)) else {
                panic!("the adapter is gone");
            };
            Ok(Box::new(Twins { checked, unchecked }))
        });
    }

    /// Runs everything with and without checks in the shaders, and holds every node's values to be the same bits.
    struct Twins {
        checked: Gpu,
        unchecked: Gpu,
    }

    impl Executor for Twins {
        fn description(&self) -> String {
            self.checked.description()
        }

        fn target(&self) -> Target {
            self.checked.target()
        }

        fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
            let prepared = self.checked.prepare(plan.clone())?;
            assert_eq!(prepared, self.unchecked.prepare(plan)?);
            Ok(prepared)
        }

        fn plan(&self, prepared: Prepared) -> &Arc<Plan> {
            self.checked.plan(prepared)
        }

        fn write(&mut self, name: &str, value: Array) -> Result<()> {
            self.checked.write(name, value.clone())?;
            self.unchecked.write(name, value)
        }

        fn read(&mut self, name: &str) -> Result<Array> {
            self.checked.read(name)
        }

        fn run(
            &mut self,
            plan: Prepared,
            inputs: &[(&str, &Array)],
            watch: Option<&mut Watch>,
        ) -> Result<Vec<Array>> {
            let mut seen: Vec<Moment> = Vec::new();
            let mut keep = |moment: Moment| {
                seen.push(moment);
                ControlFlow::Continue(())
            };
            self.unchecked.run(plan, inputs, Some(&mut keep))?;
            let mut seen = seen.into_iter();
            let mut watch = watch;
            let mut hold = |moment: Moment| {
                let other = seen.next().expect("both take the same steps");
                assert_eq!(moment.node, other.node);
                for (a, b) in moment.outputs.iter().zip(&other.outputs) {
                    assert_eq!(bits(a), bits(b), "node {}: checks change bits", moment.node);
                }
                match watch.as_mut() {
                    Some(watch) => watch(moment),
                    None => ControlFlow::Continue(()),
                }
            };
            self.checked.run(plan, inputs, Some(&mut hold))
        }
    }

    fn bits(array: &Array) -> Vec<u32> {
        match array.numbers() {
            Numbers::F32(values) => values.iter().map(|x| x.to_bits()).collect(),
            Numbers::U32(values) => values.clone(),
            Numbers::F64(_) => panic!("a device computes in f32"),
        }
    }

    /// Large values take more workgroups than fit along one axis. So do small ones here, on grids two workgroups wide.
    #[test]
    fn rooms_are_within_their_bounds_on_narrow_grids() {
        let mut complaints = Vec::new();
        for room in ROOMS {
            let Some(mut gpu) = gpu(Checks::On) else {
                return;
            };
            for case in room.cases().into_iter().filter_map(narrowed) {
                let findings = check_case(room, &case, &mut gpu);
                let findings = findings.unwrap_or_else(|e| panic!("{}: {e}", room.name));
                let bad = findings.iter().filter(|finding| finding.ratio > 1.0);
                let about = case.about;
                complaints.extend(bad.map(|finding| format!("{about}: {finding:?}")));
            }
        }
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    /// The case, launched on narrow grids; `None` if there is no need or it would take long.
    fn narrowed(case: RoomCase) -> Option<RoomCase> {
        let launches = case.op.launches(&specs(&case), &Limits::default()).ok()?;
        let most = launches.iter().map(workgroups).max()?;
        (3..5000).contains(&most).then(|| roomy(&case, 0))
    }

    fn specs(case: &RoomCase) -> Vec<Spec> {
        case.inputs.iter().map(Array::spec).collect()
    }

    /// The case on narrow grids, with `spare` elements behind every input and output: not a number behind inputs, the
    /// largest index behind indices.
    fn roomy(case: &RoomCase, spare: usize) -> RoomCase {
        let lengthened = |input: &Array| match input.numbers() {
            _ if spare == 0 => input.clone(),
            Numbers::U32(values) => flat([values.as_slice(), &vec![u32::MAX; spare]].concat()),
            _ => flat([&*input.to_f32(), &vec![f32::NAN; spare]].concat()),
        };
        let narrow = Narrow {
            inner: case.op.clone(),
            inputs: specs(case),
            spare,
        };
        RoomCase {
            op: Arc::new(narrow),
            inputs: case.inputs.iter().map(lengthened).collect(),
            ..case.clone()
        }
    }

    fn flat(numbers: impl Into<Numbers>) -> Array {
        let numbers = numbers.into();
        Array::new([numbers.len()], numbers).expect("as many as there are")
    }

    /// Nothing is read from behind the inputs and nothing is written behind the outputs, but all before that. Grids are
    /// narrow, and so have a workgroup to spare.
    #[test]
    fn nothing_happens_behind_inputs_and_outputs() {
        const SPARE: usize = 257;
        for room in ROOMS {
            let Some(mut gpu) = gpu(Checks::On) else {
                return;
            };
            for case in room.cases() {
                let outputs = case.op.outputs(&specs(&case)).expect("the case fits");
                let sizes = 1..20_000;
                let is_alias = case.op.alias_of_input().is_some();
                if is_alias || outputs.iter().any(|y| !sizes.contains(&y.shape.elements())) {
                    continue;
                }
                let place = format!("{} ({}): {}", room.name, case.op.attributes(), case.about);
                let tight = run(&mut gpu, &roomy(&case, 0)).expect("it runs");
                let loose = run(&mut gpu, &roomy(&case, SPARE)).expect("it runs");
                for (tight, loose) in tight.iter().zip(&loose) {
                    let loose = bits(loose);
                    let (own, spare) = loose.split_at(tight.shape().elements());
                    assert_eq!(bits(tight), own, "{place}: reads from behind an input");
                    assert_eq!(
                        spare,
                        [UNTOUCHED.to_bits(); SPARE],
                        "{place}: writes behind"
                    );
                }
            }
        }
    }

    /// What lies in the outputs before an operation with room to spare is launched.
    const UNTOUCHED: f32 = 7.0;

    /// Whatever the tile, a result is the same sum in the same order; only what multiplies may change it.
    #[test]
    fn tiles_change_no_bit() {
        let Some(mut gpu) = gpu(Checks::On) else {
            return;
        };
        let tiled = ["matmul", "conv2d", "conv2d_input_grad"];
        for room in ROOMS.iter().filter(|room| tiled.contains(&room.name)) {
            for case in room.cases().iter().step_by(4) {
                for group in gpu.target().variants() {
                    let mut all = group.into_iter().map(|target| {
                        let outputs = run_at(&mut gpu, case, target).expect("it runs");
                        outputs.iter().map(bits).collect::<Vec<_>>()
                    });
                    let first = all.next().expect("there is a tile");
                    let name = room.name;
                    assert!(all.all(|other| other == first), "{name}: {}", case.about);
                }
            }
        }
    }

    /// The outputs of a case.
    fn run(gpu: &mut Gpu, case: &RoomCase) -> Result<Vec<Array>> {
        let target = gpu.target();
        run_at(gpu, case, target)
    }

    fn run_at(gpu: &mut Gpu, case: &RoomCase, target: Target) -> Result<Vec<Array>> {
        let names: Vec<String> = (0..case.inputs.len()).map(|i| i.to_string()).collect();
        let graph = Graph::record(|r| {
            let inputs = names.iter().zip(&case.inputs);
            let inputs: Vec<Tensor> = inputs
                .map(|(name, array)| r.input(name, array.spec()))
                .collect::<Result<_>>()?;
            let outputs = r.apply_any(case.op.clone(), &inputs)?;
            let mut outputs = outputs.iter().enumerate();
            outputs.try_for_each(|(i, &output)| r.output(&i.to_string(), output))
        })?;
        let plan = gpu.prepare(Arc::new(Plan::new(Arc::new(graph), target)?))?;
        let inputs: Vec<(&str, &Array)> =
            names.iter().map(String::as_str).zip(&case.inputs).collect();
        gpu.run(plan, &inputs, None)
    }

    fn workgroups(launch: &Launch) -> u32 {
        launch.workgroups.iter().product()
    }

    /// An operation without its gradient rule, whose launches are two workgroups wide, and whose inputs and outputs may have
    /// elements to spare.
    #[derive(Debug)]
    struct Narrow {
        inner: Arc<dyn AnyOp>,
        /// Without elements to spare.
        inputs: Vec<Spec>,
        spare: usize,
    }

    impl AnyOp for Narrow {
        fn name(&self) -> &'static str {
            self.inner.name()
        }

        fn attributes(&self) -> Attributes {
            self.inner.attributes()
        }

        fn outputs(&self, _inputs: &[Spec]) -> Result<Vec<Spec>> {
            let mut outputs = self.inner.outputs(&self.inputs)?;
            for output in outputs.iter_mut().filter(|_| self.spare > 0) {
                output.shape = [output.shape.elements() + self.spare].into();
            }
            Ok(outputs)
        }

        fn vjp<'g>(
            &self,
            call: &Call<'g>,
            _output_grads: &[Option<Tensor<'g>>],
        ) -> Result<Vec<Option<Tensor<'g>>>> {
            Ok(vec![None; call.inputs.len()])
        }

        fn halves(&self) -> axenic::graph::Halves {
            self.inner.halves()
        }

        fn constant_inputs(&self) -> &'static [usize] {
            self.inner.constant_inputs()
        }

        fn pieces(&self, outputs: &[Spec]) -> usize {
            self.inner.pieces(outputs)
        }

        fn eval_reference(
            &self,
            inputs: &[View<f64>],
            outputs: &mut [ViewMut<f64>],
            workers: &Workers,
        ) {
            self.inner.eval_reference(inputs, outputs, workers);
        }

        fn eval_bounded(
            &self,
            inputs: &[View<Bounded>],
            outputs: &mut [ViewMut<Bounded>],
            range: Range<usize>,
        ) {
            self.inner.eval_bounded(inputs, outputs, range);
        }

        fn eval_cpu(
            &self,
            inputs: &[View<f32>],
            outputs: &mut [ViewMut<f32>],
            scratch: &mut [&mut [f32]],
            workers: &Workers,
        ) {
            self.inner.eval_cpu(inputs, outputs, scratch, workers);
        }

        fn launches(&self, inputs: &[Spec], limits: &Limits) -> Result<Vec<Launch>> {
            let mut launches = self.inner.launches(&self.inputs, limits)?;
            for launch in &mut launches {
                launch.workgroups = [2, workgroups(launch).div_ceil(2), 1];
            }
            let outputs = self.outputs(inputs)?.into_iter().enumerate();
            for (i, output) in outputs.filter(|_| self.spare > 0) {
                let (shape, value) = (output.shape, UNTOUCHED.into());
                for mut fill in AnyOp::launches(&Fill { shape, value }, &[], limits)? {
                    fill.bindings = vec![Binding::Output(i)];
                    launches.insert(0, fill);
                }
            }
            Ok(launches)
        }

        fn scratch(&self, _inputs: &[Spec], target: &Target) -> Vec<usize> {
            self.inner.scratch(&self.inputs, target)
        }

        fn kept(&self, _: &[Spec]) -> Option<Kept> {
            None
        }

        fn keep(&self, _: &[View<f32>], _: &mut [f32], _: &Workers) {}

        fn followed_by(&self, _: &[Spec], _: &Follower) -> Option<Joined<Arc<dyn AnyOp>>> {
            None
        }

        fn alias_of_input(&self) -> Option<usize> {
            self.inner.alias_of_input()
        }

        fn cost(&self, _inputs: &[Spec]) -> Cost {
            self.inner.cost(&self.inputs)
        }
    }
}
