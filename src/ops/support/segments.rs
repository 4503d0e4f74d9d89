//! Values seen as contiguous segments, one for each index outside an axis: for joining, cutting and padding.

use crate::graph::Launch;
use crate::shape::Shape;
use std::ops::Range;

/// The elements of one index of the axes outside `axis`: contiguous, `shape[axis]` times the axes inside.
pub(in crate::ops) fn segment(shape: &Shape, axis: usize) -> usize {
    shape[axis..].iter().product()
}

/// The elements of one step along `axis`.
pub(in crate::ops) fn step(shape: &Shape, axis: usize) -> usize {
    shape[axis + 1..].iter().product()
}

/// Cuts a range of elements at the ends of segments: (segment, places within it, places within the range).
pub(in crate::ops) fn cut(
    range: Range<usize>,
    segment: usize,
) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        if start >= range.end {
            return None;
        }
        let within = start % segment;
        let length = (segment - within).min(range.end - start);
        let done = start - range.start;
        let index = start / segment;
        start += length;
        Some((index, within..within + length, done..done + length))
    })
}

/// Appends the words of a shader that copies between segments: the count of invocations, the segments of x and of y, and
/// the place where the shorter segment lies in the longer one.
pub(in crate::ops) fn words(
    launch: Launch,
    count: usize,
    segments: [usize; 2],
    offset: usize,
) -> Launch {
    launch
        .words(&[count, segments[0], segments[1], offset])
        .elements(count, super::WORKGROUP)
}
