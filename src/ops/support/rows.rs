//! Rows along one axis: where they lie, and how a device shares them out.

use super::WORKGROUP;
use crate::error::{Error, Result};
use crate::graph::Launch;
use crate::real::Real;
use crate::shape::Shape;
use std::iter::StepBy;
use std::ops::Range;

/// The rows of a value along an axis: [outer, length, inner], a row for each pair of an outer and an inner index.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Rows {
    /// The elements of a row.
    pub length: usize,
    /// The distance between neighbours in a row, and the number of rows that lie interleaved.
    pub inner: usize,
    /// The number of rows.
    pub count: usize,
}

impl Rows {
    /// The rows of `shape` along `axis`, which exists.
    pub(in crate::ops) fn new(shape: Shape, axis: usize) -> Self {
        let inner = shape[axis + 1..].iter().product();
        let outer: usize = shape[..axis].iter().product();
        Self {
            length: shape[axis],
            inner,
            count: outer * inner,
        }
    }

    /// The rows of a value whose last axes, the lengths of `row`, are taken as one; there are elements in them.
    pub(in crate::ops) fn trailing(shape: Shape, row: Shape) -> Self {
        let length = row.elements();
        Self {
            length,
            inner: 1,
            count: shape.elements() / length.max(1),
        }
    }

    /// The offsets of a row's elements, in order.
    pub(in crate::ops) fn offsets(&self, row: usize) -> StepBy<Range<usize>> {
        let first = row / self.inner * self.length * self.inner + row % self.inner;
        (first..first + self.length * self.inner).step_by(self.inner)
    }

    /// The elements of a row of `values`, in order.
    pub(in crate::ops) fn of<'a, R: Real>(
        &self,
        values: &'a [R],
        row: usize,
    ) -> impl Iterator<Item = R> + Clone + 'a {
        self.offsets(row).map(|i| values[i])
    }

    /// The rows in a range of outer indices: the pieces into which whole rows can be cut.
    pub(in crate::ops) fn within(&self, outer: &Range<usize>) -> Range<usize> {
        outer.start * self.inner..outer.end * self.inner
    }

    /// The offset of the first element of an outer index.
    pub(in crate::ops) fn start(&self, outer: &Range<usize>) -> usize {
        outer.start * self.length * self.inner
    }

    /// How many rows make a piece of work worth sharing out.
    pub(in crate::ops) fn per_task(&self) -> usize {
        (8192 / self.length.max(1)).max(1)
    }

    /// How many invocations of a device share a row: one where short rows lie interleaved, so that neighbours read
    /// neighbours; else as many as there are elements, up to a workgroup.
    fn lanes(&self) -> usize {
        if self.inner > 1 && self.length <= 64 {
            1
        } else {
            self.length.next_power_of_two().min(WORKGROUP)
        }
    }

    /// The additions that an element passes through on the way into a row's sum, whichever executor adds: those of one
    /// invocation, then a tree over the others that share the row.
    pub(in crate::ops) fn depth(&self) -> usize {
        self.length.div_ceil(self.lanes()) + 9
    }

    /// Gives a launch three words (length, inner, count), the constant `LANES`, and the workgroups that cover all rows.
    pub(in crate::ops) fn launch(&self, launch: Launch) -> Launch {
        launch
            .words(&[self.length, self.inner, self.count])
            .constant("LANES", self.lanes() as f64)
            .groups(self.count.div_ceil(WORKGROUP / self.lanes()))
    }
}

/// The product of the lengths before `axis`: the pieces into which a value can be cut without cutting rows.
pub(in crate::ops) fn outer(shape: Shape, axis: usize) -> usize {
    shape[..axis].iter().product()
}

/// That `axis` exists.
pub(in crate::ops) fn expect_axis(name: &str, shape: Shape, axis: usize) -> Result<()> {
    if axis < shape.len() {
        Ok(())
    } else {
        Err(Error::shape(format!(
            "{name}: axis {axis} does not exist in the shape {shape}"
        )))
    }
}

/// That two inputs have the same shape.
pub(in crate::ops) fn expect_same(
    name: &str,
    [a, b]: [Shape; 2],
    [a_name, b_name]: [&str; 2],
) -> Result<()> {
    if a == b {
        Ok(())
    } else {
        Err(Error::shape(format!(
            "{name}: {a_name} {a} and {b_name} {b} differ in shape"
        )))
    }
}

/// That a temperature can divide.
pub(in crate::ops) fn expect_temperature(name: &str, what: &str, value: f64) -> Result<()> {
    // Its inverse reaches the device in single precision.
    if (1e-30..=1e30).contains(&value) {
        Ok(())
    } else {
        Err(Error::shape(format!(
            "{name}: {what} must lie between 1e-30 and 1e30, got {value}"
        )))
    }
}

/// The largest element of a row; 0 for an empty one.
pub(in crate::ops) fn largest<R: Real>(row: impl Iterator<Item = R>) -> R {
    row.reduce(R::max).unwrap_or(R::ZERO)
}
