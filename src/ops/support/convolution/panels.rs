//! Panels: how the host unfolds planes of numbers into the matrices it multiplies by ("im2col").

use crate::product::{Accumulate, Matrix, MatrixMut, product};
use std::ops::Range;

/// The columns of a panel: positions that one piece of work computes, unless a single row is longer.
const COLUMNS: usize = 256;
/// The elements of a panel: with its part of the weights it should fit into the second-level cache.
const PANEL: usize = 128 << 10;

/// How the positions of a grid see planes of numbers through a window: from position (i, j), tap t sees the element
/// `[i, j] * step + taps[t]`, which is 0 outside of the plane.
#[derive(Clone, Debug)]
pub(in crate::ops) struct Unfold {
    /// N.
    pub images: usize,
    /// Height and width of a plane.
    pub source: [usize; 2],
    /// Height and width of the grid of positions.
    pub grid: [usize; 2],
    /// Rows and columns of the plane from one position to the next.
    pub step: [usize; 2],
    /// What each tap sees from position (0, 0).
    pub taps: Vec<[isize; 2]>,
}

/// Planes of an image tensor `[N, all, H, W]`: the first and how many.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Planes<'a> {
    /// The tensor.
    pub elements: &'a [f32],
    /// Planes of each image.
    pub all: usize,
    /// The first plane.
    pub first: usize,
    /// How many planes.
    pub count: usize,
}

impl Unfold {
    /// Writes the panel for the rows of positions `rows`, counted across images: one row for each plane and tap.
    pub(in crate::ops) fn fill(&self, planes: Planes, rows: Range<usize>, panel: &mut [f32]) {
        let width = rows.len() * self.grid[1];
        if width == 0 {
            return;
        }
        let area = self.source[0] * self.source[1];
        let mut out = panel.chunks_exact_mut(width);
        for plane in planes.first..planes.first + planes.count {
            for tap in &self.taps {
                let columns = self.columns(tap[1]);
                let Some(line) = out.next() else { return };
                for (row, line) in rows.clone().zip(line.chunks_exact_mut(self.grid[1])) {
                    let (image, i) = (row / self.grid[0], row % self.grid[0]);
                    let at = (i * self.step[0]) as isize + tap[0];
                    if at < 0 || at >= self.source[0] as isize || columns.is_empty() {
                        line.fill(0.0);
                        continue;
                    }
                    let start = (image * planes.all + plane) * area + at as usize * self.source[1];
                    let source = &planes.elements[start..start + self.source[1]];
                    line[..columns.start].fill(0.0);
                    line[columns.end..].fill(0.0);
                    let first = (columns.start * self.step[1]) as isize + tap[1];
                    copy_with_step(
                        &source[first as usize..],
                        self.step[1],
                        &mut line[columns.clone()],
                    );
                }
            }
        }
    }

    /// The columns of positions from which a tap sees the plane and not its surroundings.
    fn columns(&self, tap: isize) -> Range<usize> {
        let step = self.step[1] as isize;
        let start = (-tap).max(0) + step - 1;
        let end = (self.source[1] as isize - tap).max(0) + step - 1;
        let end = (end / step).min(self.grid[1] as isize);
        ((start / step).min(end) as usize)..end as usize
    }

    /// The rows of positions that one piece of work takes: as many as fit, shared out evenly.
    pub(in crate::ops) fn rows_per_tile(&self) -> usize {
        let all = (self.images * self.grid[0]).max(1);
        let most = (COLUMNS / self.grid[1].max(1)).max(1);
        all.div_ceil(all.div_ceil(most))
    }

    /// Whether every position sees just the element at its own place: panels are planes, no copy is needed.
    fn is_plain(&self) -> bool {
        self.source == self.grid && self.step == [1, 1] && self.taps == [[0, 0]]
    }

    /// Computes `sums = weights · panel` over all `planes` for the rows of positions `rows`: one row of sums for each row
    /// of weights, which have one column for each plane and tap.
    pub(in crate::ops) fn multiply(
        &self,
        (count, weights): (usize, Matrix),
        planes: Planes,
        rows: Range<usize>,
        panel: &mut [f32],
        sums: &mut [f32],
    ) {
        let (width, taps) = (rows.len() * self.grid[1], self.taps.len());
        if planes.count * taps == 0 {
            return sums[..count * width].fill(0.0);
        }
        let (image, row) = (rows.start / self.grid[0], rows.start % self.grid[0]);
        if self.is_plain() && row + rows.len() <= self.grid[0] {
            let area = self.grid[0] * self.grid[1];
            let start = (image * planes.all + planes.first) * area + row * self.grid[1];
            let seen = Matrix::rows(&planes.elements[start..], area);
            let size = [count, width, planes.count];
            return product(
                size,
                weights,
                seen,
                MatrixMut::rows(sums, width),
                Accumulate::Overwrite,
            );
        }
        let step = self.planes_per_panel(planes.count);
        for done in (0..planes.count).step_by(step) {
            let some = Planes {
                first: planes.first + done,
                count: step.min(planes.count - done),
                ..planes
            };
            self.fill(some, rows.clone(), panel);
            let weights = weights.from(0, done * taps);
            let accumulate = if done == 0 {
                Accumulate::Overwrite
            } else {
                Accumulate::Add
            };
            let size = [count, width, some.count * taps];
            let seen = Matrix::rows(panel, width);
            product(
                size,
                weights,
                seen,
                MatrixMut::rows(sums, width),
                accumulate,
            );
        }
    }

    /// The planes that one panel takes.
    pub(in crate::ops) fn planes_per_panel(&self, planes: usize) -> usize {
        let one = (self.rows_per_tile() * self.grid[1] * self.taps.len()).max(1);
        (PANEL / one).clamp(1, planes.max(1))
    }

    /// The elements of a panel.
    pub(in crate::ops) fn panel(&self, planes: usize) -> usize {
        self.planes_per_panel(planes) * self.taps.len() * self.rows_per_tile() * self.grid[1]
    }
}

/// Copies every `step`-th element.
fn copy_with_step(source: &[f32], step: usize, into: &mut [f32]) {
    match step {
        1 => into.copy_from_slice(&source[..into.len()]),
        2 => {
            // The last element has no right neighbour to pair with.
            let Some((last, most)) = into.split_last_mut() else {
                return;
            };
            most.iter_mut()
                .zip(source.chunks_exact(2))
                .for_each(|(to, from)| *to = from[0]);
            *last = source[2 * most.len()];
        }
        _ => into
            .iter_mut()
            .zip(source.iter().step_by(step))
            .for_each(|(to, from)| *to = *from),
    }
}
