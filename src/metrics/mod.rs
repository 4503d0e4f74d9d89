//! How good predictions are: classes, rankings, probabilities, and how certain those numbers are.
//!
//! A number that is not defined (a recall without positives, an accuracy of nothing) is `None`, never NaN and never a
//! convenient 0.

pub mod calibration;
pub mod classification;
pub mod interval;
pub mod ranking;

use crate::error::{Error, Result};

/// a / b; undefined for b = 0.
fn ratio(a: u64, b: u64) -> Option<f64> {
    (b > 0).then(|| a as f64 / b as f64)
}

/// The mean of the defined values; undefined if there are none.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values
        .flatten()
        .fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// Refuses two lists of different lengths.
fn same_length(what: &str, a: usize, other: &str, b: usize) -> Result<()> {
    if a == b {
        return Ok(());
    }
    Err(Error::input(format!("{a} {what} do not fit {b} {other}")))
}
