//! Values seen as rows along one axis: for joining, cutting and padding.

use crate::error::{Error, Result};
use crate::graph::Launch;
use crate::shape::Shape;
use std::ops::Range;

/// The elements of one index of the axes outside `axis`: contiguous, `shape[axis]` times the axes inside.
pub(in crate::ops) fn row(shape: &Shape, axis: usize) -> usize {
    shape[axis..].iter().product()
}

/// The elements of one step along `axis`.
pub(in crate::ops) fn step(shape: &Shape, axis: usize) -> usize {
    shape[axis + 1..].iter().product()
}

/// That `shape`, the input of the operation `name`, has this axis.
pub(in crate::ops) fn expect_axis(name: &str, shape: Shape, axis: usize) -> Result<()> {
    if axis < shape.len() {
        return Ok(());
    }
    Err(Error::shape(format!(
        "{name}: x {shape} has no axis {axis}; axes count from 0"
    )))
}

/// Cuts a range of elements at the ends of rows: (row, places within it, places within the range).
pub(in crate::ops) fn cut(
    range: Range<usize>,
    row: usize,
) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        if start >= range.end {
            return None;
        }
        let within = start % row;
        let length = (row - within).min(range.end - start);
        let done = start - range.start;
        let index = start / row;
        start += length;
        Some((index, within..within + length, done..done + length))
    })
}

/// Appends the words of a shader that copies between rows: the count of invocations, the rows of x and of y, and the
/// place where the shorter row lies in the longer one.
pub(in crate::ops) fn words(
    launch: Launch,
    count: usize,
    rows: [usize; 2],
    offset: usize,
) -> Launch {
    launch
        .words(&[count, rows[0], rows[1], offset])
        .elements(count, super::WORKGROUP)
}
