//! Panels: how the host unfolds planes of numbers into the matrices it multiplies by ("im2col").

use crate::product::{Accumulate, Matrix, MatrixMut, Order, WIDTH, product};
use std::ops::Range;

/// The positions that one piece of work computes, unless a single row is longer.
const COLUMNS: usize = 256;
/// The same where panels are planes.
const PLAIN: usize = 1024;
/// So many positions are enough for a piece of work.
const FEW: usize = 128;
/// The elements of a piece's panels: with their part of the weights they should fit into the second-level cache.
const PANELS: usize = 128 << 10;

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
    /// Writes panels of `width` columns for the rows of positions `rows`, counted across images: each has one row for each
    /// plane and tap.
    #[inline(always)]
    pub(in crate::ops) fn fill(
        &self,
        planes: Planes,
        rows: Range<usize>,
        panels: &mut [f32],
        width: usize,
    ) {
        let area = self.source[0] * self.source[1];
        let depth = planes.count * self.taps.len();
        let is_plain = self.is_plain();
        for (tap, &[down, right]) in self.taps.iter().enumerate() {
            let mut index = 0;
            while index < rows.len() {
                let row = rows.start + index;
                let (image, i) = (row / self.grid[0], row % self.grid[0]);
                // Where panels are planes, what rows of positions see is one run, as far as the image goes.
                let (together, columns) = if is_plain {
                    let together = (self.grid[0] - i).min(rows.len() - index);
                    (together, 0..together * self.grid[1])
                } else {
                    (1, self.columns(right))
                };
                let length = together * self.grid[1];
                let first = (columns.start * self.step[1]) as isize + right;
                let at = (i * self.step[0]) as isize + down;
                let is_inside = at >= 0 && at < self.source[0] as isize && !columns.is_empty();
                let start = at.max(0) as usize * self.source[1] + first.max(0) as usize;
                // The positions in the parts that lie within a panel.
                let mut done = 0;
                while done < length {
                    let position = index * self.grid[1] + done;
                    let (panel, offset) = (position / width, position % width);
                    let end = length.min(done + width - offset);
                    let seen = columns.start.clamp(done, end)..columns.end.clamp(done, end);
                    let lines = panels[panel * depth * width..].chunks_exact_mut(width);
                    let lines = lines.skip(tap).step_by(self.taps.len()).take(planes.count);
                    for (plane, line) in lines.enumerate() {
                        let line = &mut line[offset..offset + end - done];
                        let is_whole = is_inside && seen.len() == line.len();
                        if !is_whole {
                            line.fill(0.0);
                        }
                        if !is_inside || seen.is_empty() {
                            continue;
                        }
                        let plane = (image * planes.all + planes.first + plane) * area;
                        let from = plane + start + (seen.start - columns.start) * self.step[1];
                        copy_with_step(
                            &planes.elements[from..plane + area],
                            self.step[1],
                            &mut line[seen.start - done..seen.end - done],
                        );
                    }
                    done = end;
                }
                index += together;
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

    /// The rows of positions that one piece of work takes: where it can be, an equal part of an image, or some small ones.
    pub(in crate::ops) fn rows_per_tile(&self) -> usize {
        let [height, width] = self.grid.map(|length| length.max(1));
        let columns = if self.is_plain() { PLAIN } else { COLUMNS };
        let most = (columns / width).max(1);
        let all = (self.images * height).max(1);
        let even = (1..=most.min(height))
            .rev()
            .find(|&rows| height.is_multiple_of(rows));
        match even {
            Some(rows) if 2 * rows > most || rows * width >= FEW => rows,
            _ => all.div_ceil(all.div_ceil((COLUMNS / width).max(1))),
        }
    }

    /// The planes as a matrix, one row for each, where the rows of positions `rows` see just those elements of one image.
    #[inline(always)]
    pub(in crate::ops) fn plainly<'a>(
        &self,
        order: Order,
        planes: Planes<'a>,
        rows: &Range<usize>,
    ) -> Option<Matrix<'a>> {
        let (image, row) = (rows.start / self.grid[0], rows.start % self.grid[0]);
        let area = self.grid[0] * self.grid[1];
        let start = (image * planes.all + planes.first) * area + row * self.grid[1];
        let seen = planes.elements.get(start..).unwrap_or_default();
        let is_one = self.is_plain() && row + rows.len() <= self.grid[0];
        is_one.then(|| Matrix::new(order, seen, area))
    }

    /// Whether every position sees just the element at its own place: panels are planes, no copy is needed.
    fn is_plain(&self) -> bool {
        self.source == self.grid && self.step == [1, 1] && self.taps == [[0, 0]]
    }

    /// Computes `sums = weights · panels` over all `planes` for the rows of positions `rows`: one row of sums for each row
    /// of weights, which have one column for each plane and tap.
    #[inline(always)]
    pub(in crate::ops) fn multiply(
        &self,
        (count, weights): (usize, Matrix),
        planes: Planes,
        rows: Range<usize>,
        panels: &mut [f32],
        sums: &mut MatrixMut,
    ) {
        let (width, taps) = (rows.len() * self.grid[1], self.taps.len());
        if let Some(seen) = self.plainly(Order::Rows, planes, &rows) {
            let size = [count, width, planes.count];
            return product(size, weights, seen, sums.again(), Accumulate::Overwrite);
        }
        let step = self.planes_per_panel(planes.count, rows.len());
        for done in (0..planes.count.max(1)).step_by(step) {
            let some = Planes {
                first: planes.first + done,
                count: step.min(planes.count - done),
                ..planes
            };
            self.fill(some, rows.clone(), panels, WIDTH);
            let accumulate = match done {
                0 => Accumulate::Overwrite,
                _ => Accumulate::Add,
            };
            let size = [count, width, some.count * taps];
            let seen = Matrix::panels(panels, some.count * taps);
            let weights = weights.from(0, done * taps);
            product(size, weights, seen, sums.again(), accumulate);
        }
    }

    /// The planes that the panels of so many rows of positions take at once: equal parts of all.
    fn planes_per_panel(&self, planes: usize, rows: usize) -> usize {
        let most = (PANELS / self.elements(1, rows).max(1)).max(1);
        planes.div_ceil(planes.div_ceil(most).max(1)).max(1)
    }

    /// The elements of the panels of up to so many rows of positions.
    pub(in crate::ops) fn panels(&self, planes: usize, rows: usize) -> usize {
        let one = self.elements(1, rows);
        one.max(PANELS.min(planes * one))
    }

    /// The elements of the panels of some planes.
    fn elements(&self, planes: usize, rows: usize) -> usize {
        planes * self.taps.len() * (rows * self.grid[1]).next_multiple_of(WIDTH)
    }
}

/// Copies every `step`-th element.
#[inline(always)]
fn copy_with_step(source: &[f32], step: usize, into: &mut [f32]) {
    match step {
        1 => into.copy_from_slice(&source[..into.len()]),
        2 => {
            let (pairs, rest) = source.as_chunks::<2>();
            into.iter_mut()
                .zip(pairs)
                .for_each(|(to, [from, _])| *to = *from);
            // The last element may have no right neighbour to pair with.
            if let (Some(to), [from]) = (into.get_mut(pairs.len()), rest) {
                *to = *from;
            }
        }
        _ => into
            .iter_mut()
            .zip(source.iter().step_by(step))
            .for_each(|(to, from)| *to = *from),
    }
}
