//! Rows of planes turned into lines of pixels, whose channels are neighbours, and back.

use super::lanes;
use super::transforms::{LANES, Lanes, column};
use std::ops::Range;

/// A few lines of pixels: `[lines, columns, channels]`.
pub(super) struct Lines<'a> {
    elements: &'a mut [f32],
    count: usize,
    columns: usize,
    pitch: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(elements: &'a mut [f32], count: usize, columns: usize, pitch: usize) -> Self {
        Self {
            elements,
            count,
            columns,
            pitch,
        }
    }

    /// Makes the last lines the first; says how many.
    pub(super) fn keep_last(&mut self, kept: usize) -> usize {
        let line = self.columns * self.pitch;
        self.elements
            .copy_within((self.count - kept) * line..self.count * line, 0);
        kept
    }

    /// Turns a row of planes into a line, `padding` columns of nothing before it. No row: nothing at all.
    #[inline(always)]
    pub(super) fn fill(&mut self, line: usize, padding: usize, rows: Option<Rows>) {
        let length = self.columns * self.pitch;
        let line = &mut self.elements[line * length..(line + 1) * length];
        let Some(rows) = rows else {
            return line.fill(0.0);
        };
        let (before, rest) = line.split_at_mut(padding * self.pitch);
        let (inside, after) = rest.split_at_mut((rows.width * self.pitch).min(rest.len()));
        before.fill(0.0);
        after.fill(0.0);
        rows.turn(inside, self.pitch);
    }

    /// The channels from `lane` on, as many as a vector has, of a pixel.
    #[inline(always)]
    pub(super) fn at(&self, line: usize, column: usize, lane: usize) -> &Lanes {
        lanes(&self.elements[(line * self.columns + column) * self.pitch + lane..])
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

    /// Writes the pixels, `pitch` elements each. What is left of a pixel becomes 0.
    #[inline(always)]
    fn turn(&self, line: &mut [f32], pitch: usize) {
        let Self {
            area, width, start, ..
        } = *self;
        for first in self.planes.clone().step_by(LANES) {
            let count = LANES.min(self.planes.end - first);
            let offset = first - self.planes.start;
            for left in (0..width).step_by(LANES) {
                let columns = LANES.min(width - left);
                let mut block = [[0.0; LANES]; LANES];
                for (lane, row) in block.iter_mut().enumerate().take(count) {
                    let at = (first + lane) * area + start + left;
                    copy(&self.elements[at..at + columns], row);
                }
                let pixels = line[left * pitch..].chunks_exact_mut(pitch);
                for (i, pixel) in pixels.enumerate().take(columns) {
                    pixel[offset..offset + LANES].copy_from_slice(&column(&block, i));
                }
            }
        }
    }
}

/// Copies at most a vector to the start of a vector.
#[inline(always)]
fn copy(from: &[f32], to: &mut Lanes) {
    match from.first_chunk() {
        Some(from) => *to = *from,
        // A call that copies so little would cost more than the copy.
        None => to.iter_mut().zip(from).for_each(|(to, x)| *to = *x),
    }
}

/// Turns a line of pixels back: the channels go to the elements `at` of the planes.
#[inline(always)]
pub(super) fn turn_back(line: &[f32], pitch: usize, planes: &mut [&mut [f32]], at: Range<usize>) {
    for (block, planes) in planes.chunks_mut(LANES).enumerate() {
        for left in (0..at.len()).step_by(LANES) {
            let columns = LANES.min(at.len() - left);
            let mut square = [[0.0; LANES]; LANES];
            let pixels = line[left * pitch..].chunks_exact(pitch);
            for (row, pixel) in square.iter_mut().zip(pixels).take(columns) {
                *row = *lanes(&pixel[block * LANES..]);
            }
            for (lane, plane) in planes.iter_mut().enumerate() {
                let row = column(&square, lane);
                let start = at.start + left;
                let to = &mut plane[start..start + columns];
                match to.first_chunk_mut() {
                    Some(to) => *to = row,
                    None => to.iter_mut().zip(&row).for_each(|(to, x)| *to = *x),
                }
            }
        }
    }
}
