//! Every room on every executor: forward and gradient within the bounds, gradient rules against central differences.

use axenic::conformance::{check_gradient, check_room, markdown};
use axenic::exec::{Cpu, Executor};
use axenic::ops::{ROOMS, Room};

#[cfg(feature = "gpu")]
mod common;

/// Checks all rooms; gives for each the largest ratio of an error to its bound.
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
                ratios.push((room.name, found.ratio()));
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
            ratio > 0.001 || EXACT.contains(&room),
            "{room}: errors a thousand times below every bound: the bounds prove nothing ({ratio})"
        );
    }
}

/// Rooms that round nothing, so that their errors and bounds are zero.
const EXACT: &[&str] = &[];

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
    use axenic::array::Numbers;
    use axenic::exec::gpu::{Checks, Gpu};
    use axenic::exec::{Executor, Moment, Prepared, Watch};
    use axenic::graph::Target;
    use axenic::plan::Plan;
    use axenic::{Array, Result};
    use std::ops::ControlFlow;
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

        fn write(&mut self, name: &str, value: &Array) -> Result<()> {
            self.checked.write(name, value)?;
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
}
