//! Rows of planes turned into lines of pixels, whose channels are neighbours, and back.

use super::lanes::LANES;
use crate::product::square::{ZEROS, gather, turned, write};
use std::ops::Range;

/// A few lines of pixels: `[lines, columns, channels]`, from line `first` on and round.
pub(super) struct Lines<'a> {
    elements: &'a mut [f32],
    count: usize,
    first: usize,
    columns: usize,
    pitch: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(elements: &'a mut [f32], count: usize, columns: usize, pitch: usize) -> Self {
        Self {
            elements,
            count,
            first: 0,
            columns,
            pitch,
        }
    }

    /// Makes the last lines the first; says how many.
    pub(super) fn keep_last(&mut self, kept: usize) -> usize {
        self.first = (self.first + self.count - kept) % self.count;
        kept
    }

    /// Where a line starts.
    fn start(&self, line: usize) -> usize {
        (self.first + line) % self.count * self.columns * self.pitch
    }

    /// Turns a row of planes into a line, `padding` columns of nothing before it. No row: nothing at all.
    #[inline(always)]
    pub(super) fn fill(&mut self, line: usize, padding: usize, rows: Option<Rows>) {
        let start = self.start(line);
        let line = &mut self.elements[start..start + self.columns * self.pitch];
        let Some(rows) = rows else {
            return line.fill(0.0);
        };
        let (before, rest) = line.split_at_mut(padding * self.pitch);
        before.fill(0.0);
        rows.turn(rest, self.pitch);
        let inside = (rows.width * self.pitch).min(rest.len());
        rest[inside..].fill(0.0);
    }

    /// The lines.
    pub(super) fn all<const COUNT: usize>(&self) -> [&[f32]; COUNT] {
        std::array::from_fn(|line| &self.elements[self.start(line)..][..self.columns * self.pitch])
    }
}

/// One row of some planes.
pub(super) struct Rows<'a> {
    elements: &'a [f32],
    area: usize,
    width: usize,
    planes: Range<usize>,
    start: usize,
}

impl<'a> Rows<'a> {
    /// The row `at` of the planes, counted across images, of a tensor of planes of height and width `size`.
    pub(super) fn new(
        elements: &'a [f32],
        size: [usize; 2],
        planes: Range<usize>,
        at: usize,
    ) -> Self {
        let [height, width] = size;
        Self {
            elements,
            area: height * width,
            width,
            planes,
            start: at * width,
        }
    }

    /// Writes the pixels, `pitch` elements each, and arbitrary numbers to some behind them and to what is left of a pixel.
    #[inline(always)]
    fn turn(&self, line: &mut [f32], pitch: usize) {
        let mut square = ZEROS;
        for first in self.planes.clone().step_by(LANES) {
            let count = LANES.min(self.planes.end - first);
            let offset = first - self.planes.start;
            for left in (0..self.width).step_by(LANES) {
                let start = first * self.area + self.start + left;
                gather(&mut square, count, |i| {
                    &self.elements[start + i * self.area..]
                });
                let pixels = line[left * pitch..].chunks_exact_mut(pitch);
                for (pixel, row) in pixels.zip(&turned(&square)) {
                    write(row, &mut pixel[offset..]);
                }
            }
        }
    }
}

/// Turns a line of pixels back: the channels go to the elements `at` of the planes, and arbitrary numbers to some elements
/// behind them. Lines come in order: what belongs there is written later.
#[inline(always)]
pub(super) fn turn_back(line: &[f32], pitch: usize, planes: &mut [&mut [f32]], at: Range<usize>) {
    let mut square = ZEROS;
    for (block, planes) in planes.chunks_mut(LANES).enumerate() {
        for left in (0..at.len()).step_by(LANES) {
            let columns = LANES.min(at.len() - left);
            let start = left * pitch + block * LANES;
            gather(&mut square, columns, |i| &line[start + i * pitch..]);
            for (plane, row) in planes.iter_mut().zip(&turned(&square)) {
                write(row, &mut plane[at.start + left..]);
            }
        }
    }
}
