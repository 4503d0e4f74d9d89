//! What the suites that use a device share.

use axenic::exec::gpu::{Checks, Choice, Gpu};
use axenic::graph::Precision;
use std::io::Write as _;

/// An executor on whatever adapter there is, or `None`, said aloud, on a machine without one. Where
/// `AXENIC_REQUIRE_GPU=1` is set, a missing adapter is a failure.
pub(crate) fn gpu(checks: Checks) -> Option<Gpu> {
    match Gpu::with_checks(&Choice::Any, checks) {
        Ok(gpu) => Some(gpu),
        Err(e) => {
            let required = std::env::var("AXENIC_REQUIRE_GPU").is_ok_and(|value| value == "1");
            assert!(!required, "AXENIC_REQUIRE_GPU is set, but: {e}");
            // Written to the stream itself: the test harness hides what is printed.
            writeln!(std::io::stderr(), "skipped: no adapter").expect("standard error is open");
            None
        }
    }
}

/// As [`gpu`], in mixed precision (or whatever else has halves); `None`, said aloud, also where the device has none.
#[allow(dead_code, reason = "not all suites compute in halves")]
pub(crate) fn gpu_with_halves(precision: Precision) -> Option<Gpu> {
    let gpu = gpu(Checks::Off)?;
    if gpu.adapter().limits.halves {
        return Some(gpu.in_precision(precision).expect("it has halves"));
    }
    let refused = gpu.in_precision(precision).err().expect("it has none");
    assert!(refused.to_string().contains("SHADER_F16"), "{refused}");
    writeln!(std::io::stderr(), "skipped: the adapter has no halves")
        .expect("standard error is open");
    None
}
