//! Every room on every executor: forward and gradient within the bounds, gradient rules against central differences.

use axenic::conformance::{Finding, check_case, check_gradient};
use axenic::exec::{Cpu, Executor, Reference};
use axenic::ops::ROOMS;

#[cfg(feature = "gpu")]
mod common;

fn check_all(make: impl Fn() -> axenic::Result<Box<dyn Executor>>) {
    let mut complaints = Vec::new();
    let mut worst: f64 = 0.0;
    for room in ROOMS {
        assert!(!room.cases().is_empty(), "{} has no cases", room.name);
        let mut executor = make().expect("an executor");
        for case in room.cases() {
            let place = format!("{} ({}): {}", room.name, case.op.attributes(), case.about);
            match check_case(room, &case, executor.as_mut()) {
                Ok(findings) => {
                    let bad = |finding: &&Finding| finding.ratio > 1.0;
                    complaints.extend(
                        findings
                            .iter()
                            .filter(bad)
                            .map(|finding| format!("{place}: {finding:?}")),
                    );
                    worst = findings
                        .iter()
                        .map(|finding| finding.ratio)
                        .fold(worst, f64::max);
                }
                Err(e) => complaints.push(format!("{place}: {e}")),
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(
        worst > 0.001,
        "errors a thousand times below every bound: the bounds prove nothing ({worst})"
    );
}

#[test]
fn rooms_are_within_their_bounds_on_the_cpu() {
    check_all(|| Ok(Box::new(Cpu::new(2)?)));
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

/// The reference rounds far less than f32, so it must lie within the bounds as well.
#[test]
fn rooms_are_within_their_bounds_on_the_reference() {
    check_all_reference();
}

fn check_all_reference() {
    for room in ROOMS {
        let mut reference = Reference::new(1).expect("an executor");
        for case in room.cases() {
            let findings = check_case(room, &case, &mut reference).expect("it runs");
            assert!(
                findings.iter().all(|finding| finding.ratio <= 1.0),
                "{} {}: {findings:?}",
                room.name,
                case.about
            );
        }
    }
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
