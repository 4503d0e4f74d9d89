//! Every room on every executor: forward and gradient within the bounds, gradient rules against central differences.

use axenic::conformance::{Finding, check_case, check_gradient};
use axenic::exec::{Cpu, Executor, Reference};
use axenic::ops::ROOMS;

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
