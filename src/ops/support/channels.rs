//! Values of shape [N, C, …] seen channel by channel, for normalisation.

use super::{Slices, WORKGROUP};
use crate::error::{Error, Result};
use crate::graph::Launch;
use crate::shape::Shape;
use std::ops::Range;

/// How [N, C, …] lies in memory: N · C contiguous planes, those of a channel C planes apart.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Channels {
    /// The number of samples, N.
    pub batch: usize,
    /// The number of channels, C.
    pub channels: usize,
    /// The elements of a plane: the product of the axes after C.
    pub plane: usize,
}

impl Channels {
    /// Elements that a second cache holds, beside others.
    const CACHED: usize = 32_768;

    /// The planes of a shape, for the operation `name`.
    pub(in crate::ops) fn of(name: &str, shape: Shape) -> Result<Self> {
        if shape.len() < 2 {
            return Err(Error::shape(format!(
                "{name}: x {shape} has no channels, [N, C, …] is needed"
            )));
        }
        Ok(Self::new(shape))
    }

    /// The planes of a shape that [`of`](Self::of) has let pass.
    pub(in crate::ops) fn new(shape: Shape) -> Self {
        let plane = shape[2..].iter().product();
        let (batch, channels) = (shape[0], shape[1]);
        Self {
            batch,
            channels,
            plane,
        }
    }

    /// That every input named has one number for each channel.
    pub(in crate::ops) fn expect(&self, name: &str, inputs: &[(&str, Shape)]) -> Result<()> {
        let wanted = Shape::from([self.channels]);
        match inputs.iter().find(|(_, shape)| *shape != wanted) {
            Some((input, shape)) => Err(Error::shape(format!(
                "{name}: {input} has shape {shape}, one number for each channel is needed, {wanted}"
            ))),
            None => Ok(()),
        }
    }

    /// The elements of a channel.
    pub(in crate::ops) fn count(&self) -> usize {
        self.batch * self.plane
    }

    /// Where the planes of a channel lie.
    pub(in crate::ops) fn planes(&self, channel: usize) -> impl Iterator<Item = Range<usize>> {
        let Self {
            batch,
            channels,
            plane,
        } = *self;
        (0..batch).map(move |n| {
            let start = (n * channels + channel) * plane;
            start..start + plane
        })
    }

    /// Cuts a range of elements into runs within planes: (channel, elements), in order.
    pub(in crate::ops) fn runs(
        &self,
        range: Range<usize>,
    ) -> impl Iterator<Item = (usize, Range<usize>)> {
        let (plane, channels) = (self.plane, self.channels);
        let mut start = range.start;
        std::iter::from_fn(move || {
            if start >= range.end {
                return None;
            }
            let run = start..(start - start % plane + plane).min(range.end);
            start = run.end;
            Some((run.start / plane % channels, run))
        })
    }

    /// How many channels make a piece of work worth sharing out, and have accumulators that stay in the first cache.
    pub(in crate::ops) fn per_task(&self) -> usize {
        (Self::CACHED / self.count().max(1)).clamp(1, 64)
    }

    /// The samples, cut so that the planes of [`per_task`](Self::per_task) channels stay in the second cache.
    pub(in crate::ops) fn cached_samples(&self) -> impl Iterator<Item = Range<usize>> {
        let run = (Self::CACHED / (self.per_task() * self.plane).max(1)).max(1);
        let batch = self.batch;
        (0..batch)
            .step_by(run)
            .map(move |start| start..(start + run).min(batch))
    }

    /// Visits planes in the order of memory: for every sample those of `group`, counted from 0.
    #[inline(always)]
    pub(in crate::ops) fn each_plane(
        &self,
        samples: Range<usize>,
        group: Range<usize>,
        mut visit: impl FnMut(usize, Range<usize>),
    ) {
        for n in samples {
            for (i, channel) in group.clone().enumerate() {
                let start = (n * self.channels + channel) * self.plane;
                visit(i, start..start + self.plane);
            }
        }
    }

    /// The slices into which a device cuts a channel, a workgroup each.
    pub(in crate::ops) fn slices(&self) -> Slices {
        Slices::new(self.count())
    }

    /// The additions in a row on a device: in an invocation, in the workgroup's tree, and over the slices' results.
    pub(in crate::ops) fn depth(&self) -> usize {
        (self.slices().length.div_ceil(WORKGROUP) + 9).max(super::LANE_DEPTH) + 9
    }

    /// Appends the words that every pass over slices starts with: C, elements of a plane, elements of a channel, slices,
    /// elements of a slice.
    pub(in crate::ops) fn words(&self, launch: Launch) -> Launch {
        let slices = self.slices();
        launch.words(&[
            self.channels,
            self.plane,
            self.count(),
            slices.count,
            slices.length,
        ])
    }
}
