//! Lengths per axis, and the arithmetic on them: strides, broadcasting, reduction.

use crate::error::{Error, Result};
use std::fmt;
use std::ops::Deref;

/// The most axes that a shape can have.
pub const MAX_RANK: usize = 6;

/// The lengths of a value's axes, outermost first; row-major. At most [`MAX_RANK`] axes; no axis at all is a scalar.
///
/// A shape is a small `Copy` value that reads as a slice: `shape[0]`, `shape.len()` (its rank), `shape.iter()`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    lengths: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// The shape of a single number.
    pub const SCALAR: Shape = Shape {
        lengths: [0; MAX_RANK],
        rank: 0,
    };

    /// A shape from its lengths.
    ///
    /// # Errors
    /// More than [`MAX_RANK`] axes, or more than 2³¹ − 1 elements (an index on the device is a `u32`).
    pub fn new(lengths: &[usize]) -> Result<Self> {
        if lengths.len() > MAX_RANK {
            return Err(Error::shape(format!(
                "{lengths:?} has more than {MAX_RANK} axes"
            )));
        }
        // A length of zero must not hide absurd others: strides multiply those.
        let elements = lengths
            .iter()
            .try_fold(1usize, |product, &n| product.checked_mul(n.max(1)));
        if elements.is_none_or(|n| n > i32::MAX as usize) {
            return Err(Error::shape(format!(
                "{lengths:?} has more than 2³¹ − 1 elements"
            )));
        }
        Ok(Self::from_slice(lengths))
    }

    fn from_slice(lengths: &[usize]) -> Self {
        let mut shape = Shape {
            lengths: [0; MAX_RANK],
            rank: lengths.len() as u8,
        };
        shape.lengths[..lengths.len()].copy_from_slice(lengths);
        shape
    }

    /// The number of elements: the product of the lengths, 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.iter().product()
    }

    /// The number of elements between neighbours along each axis, row-major.
    pub fn strides(&self) -> Shape {
        let mut strides = *self;
        let mut stride = 1;
        for axis in (0..self.len()).rev() {
            strides.lengths[axis] = stride;
            stride *= self[axis];
        }
        strides
    }

    /// The common shape of two operands: axes are aligned at the innermost, lengths must be equal or 1.
    pub fn broadcast(&self, other: &Shape) -> Result<Shape> {
        let rank = self.len().max(other.len());
        let mut common = Shape {
            lengths: [1; MAX_RANK],
            rank: rank as u8,
        };
        for axis in 0..rank {
            let (a, b) = (self.aligned(axis, rank), other.aligned(axis, rank));
            common.lengths[axis] = match (a, b) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => {
                    return Err(Error::shape(format!(
                        "shapes do not broadcast: {self} and {other}"
                    )));
                }
            };
        }
        Shape::new(&common)
    }

    /// The strides with which this shape is read as the (larger) `target`: 0 along every axis it is repeated over.
    pub fn broadcast_strides(&self, target: &Shape) -> Shape {
        let own = self.strides();
        let skip = target.len() - self.len();
        let mut strides = Shape {
            lengths: [0; MAX_RANK],
            rank: target.rank,
        };
        for axis in skip..target.len() {
            strides.lengths[axis] = if self[axis - skip] == 1 {
                0
            } else {
                own[axis - skip]
            };
        }
        strides
    }

    fn aligned(&self, axis: usize, rank: usize) -> usize {
        (axis + self.len())
            .checked_sub(rank)
            .map_or(1, |own| self[own])
    }

    /// This shape with `length` in place of an axis' length.
    pub fn with(&self, axis: usize, length: usize) -> Shape {
        let mut shape = *self;
        shape.lengths[axis] = length;
        shape
    }

    /// This shape with one more, innermost axis.
    ///
    /// # Panics
    /// If there are [`MAX_RANK`] axes already.
    pub fn pushed(&self, length: usize) -> Shape {
        let mut shape = *self;
        shape.lengths[self.len()] = length;
        shape.rank += 1;
        shape
    }

    /// This shape with length 1 in place of the innermost.
    pub fn innermost_as_one(&self) -> Shape {
        if self.is_empty() {
            *self
        } else {
            self.with(self.len() - 1, 1)
        }
    }

    /// The shape left when `axes` are summed over: kept with length 1, or dropped.
    ///
    /// # Errors
    /// An axis that does not exist, or is named twice.
    pub fn reduced(&self, axes: &[usize], keep: KeepAxes) -> Result<Shape> {
        for (i, &axis) in axes.iter().enumerate() {
            if axis >= self.len() || axes[..i].contains(&axis) {
                return Err(Error::shape(format!(
                    "axes {axes:?} do not fit the shape {self}"
                )));
            }
        }
        let mut lengths = Vec::with_capacity(self.len());
        for (axis, &length) in self.iter().enumerate() {
            match (axes.contains(&axis), keep) {
                (true, KeepAxes::Yes) => lengths.push(1),
                (true, KeepAxes::No) => {}
                (false, _) => lengths.push(length),
            }
        }
        Shape::new(&lengths)
    }
}

/// Whether a reduced axis stays, with length 1 (`keepdim` elsewhere), or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeepAxes {
    /// The axis stays with length 1.
    Yes,
    /// The axis goes.
    No,
}

impl KeepAxes {
    /// The words that stand for the choice in attributes.
    pub const WORDS: [(&'static str, KeepAxes); 2] = [("yes", KeepAxes::Yes), ("no", KeepAxes::No)];

    /// The word that stands for this choice in attributes.
    pub fn word(self) -> &'static str {
        match self {
            KeepAxes::Yes => "yes",
            KeepAxes::No => "no",
        }
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(lengths: [usize; N]) -> Self {
        const { assert!(N <= MAX_RANK, "too many axes") };
        Self::from_slice(&lengths)
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.lengths[..usize::from(self.rank)]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

/// Visits every index of a shape in row-major order and gives, for each, the offsets into `N` operands read with the
/// given strides. Starts at the element `start`.
#[derive(Clone, Debug)]
pub struct Offsets<const N: usize> {
    shape: Shape,
    strides: [Shape; N],
    index: [usize; MAX_RANK],
    offsets: [usize; N],
}

impl<const N: usize> Offsets<N> {
    /// A walk over `shape` from the element `start` on.
    pub fn new(shape: Shape, strides: [Shape; N], start: usize) -> Self {
        let mut walk = Self {
            shape,
            strides,
            index: [0; MAX_RANK],
            offsets: [0; N],
        };
        let mut rest = start;
        for axis in (0..shape.len()).rev() {
            let length = shape[axis].max(1);
            walk.index[axis] = rest % length;
            rest /= length;
            for (offset, strides) in walk.offsets.iter_mut().zip(&walk.strides) {
                *offset += walk.index[axis] * strides[axis];
            }
        }
        walk
    }

    /// The offsets of the current element; then moves to the next one (after the last, back to the first).
    pub fn advance(&mut self) -> [usize; N] {
        let current = self.offsets;
        for axis in (0..self.shape.len()).rev() {
            self.index[axis] += 1;
            let wrapped = self.index[axis] == self.shape[axis];
            for (offset, strides) in self.offsets.iter_mut().zip(&self.strides) {
                if wrapped {
                    *offset -= (self.index[axis] - 1) * strides[axis];
                } else {
                    *offset += strides[axis];
                }
            }
            if !wrapped {
                break;
            }
            self.index[axis] = 0;
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_aligns_innermost_axes() {
        let common = Shape::from([4, 1, 3])
            .broadcast(&[5, 1].into())
            .expect("they fit");
        assert_eq!(common, [4, 5, 3].into());
        assert_eq!(
            Shape::from([5, 1]).broadcast_strides(&common),
            [0, 1, 0].into()
        );
        assert!(Shape::from([2]).broadcast(&[3].into()).is_err());
        assert_eq!(
            Shape::from([0]).broadcast(&[1].into()).expect("empty"),
            [0].into()
        );
    }

    #[test]
    fn absurd_shapes_are_refused() {
        assert!(Shape::new(&[1; 7]).is_err());
        assert!(Shape::new(&[usize::MAX, 2]).is_err());
        assert!(Shape::new(&[1 << 16, 1 << 16]).is_err());
    }

    #[test]
    fn offsets_walk_from_anywhere() {
        let shape = Shape::from([2, 3, 2]);
        let strides = [shape.strides(), [0, 1, 3].into()];
        let mut whole = Offsets::new(shape, strides, 0);
        let all: Vec<_> = (0..12).map(|_| whole.advance()).collect();
        assert_eq!(
            all.iter().map(|o| o[0]).collect::<Vec<_>>(),
            (0..12).collect::<Vec<_>>()
        );
        assert_eq!(all[3], [3, 4]);
        assert_eq!(Offsets::new(shape, strides, 7).advance(), all[7]);
    }
}
