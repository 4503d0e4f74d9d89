//! Long reductions in two passes.

/// The cut of a long reduction into slices of equal length (the last may be shorter): a workgroup each, and a second
/// workgroup joins their results.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Slices {
    /// How many slices there are: 1 to 256, so that one invocation of the joining workgroup reads one result.
    pub count: usize,
    /// The elements of a slice.
    pub length: usize,
}

impl Slices {
    /// The least work, in elements, that a workgroup is worth starting for.
    const SHORTEST: usize = 4096;

    /// The cut of `count` elements.
    pub(in crate::ops) fn new(count: usize) -> Self {
        Self::at_least(Self::SHORTEST, count)
    }

    /// The cut of `count` elements into slices of at least `shortest`.
    pub(in crate::ops) fn at_least(shortest: usize, count: usize) -> Self {
        let length = count.div_ceil(super::WORKGROUP).max(shortest);
        Self {
            count: count.div_ceil(length).max(1),
            length,
        }
    }
}
