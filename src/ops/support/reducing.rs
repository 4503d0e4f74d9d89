//! Reductions over axes on the host: every number is read once, in the order of memory.

use super::{larger, max_of_run, sum_of_run};
use crate::shape::{Offsets, Shape};
use crate::workers::Workers;

/// How numbers become one: what an accumulator is, and how two join.
pub(in crate::ops) trait Fold: Copy + Send + Sync {
    /// An accumulator.
    type Total: Copy;
    /// The accumulator of no number.
    const NONE: Self::Total;
    /// The accumulator of one number.
    fn lift(x: f32) -> Self::Total;
    /// The accumulator of two accumulators' numbers.
    fn join(a: Self::Total, b: Self::Total) -> Self::Total;
    /// The accumulator of a run of numbers.
    fn of_run(run: &[f32]) -> Self::Total;
    /// The number that an accumulator stands for.
    fn number(total: Self::Total) -> f32;
    /// The result of an accumulator, of all terms or of a part of them; parts' results join to the whole's.
    fn finish(self, total: Self::Total) -> f32;
}

/// Sums, accumulated in double precision.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Summed {
    /// What they are divided by.
    pub divisor: f64,
}

impl Fold for Summed {
    type Total = f64;
    const NONE: f64 = 0.0;

    #[inline(always)]
    fn lift(x: f32) -> f64 {
        f64::from(x)
    }

    #[inline(always)]
    fn join(a: f64, b: f64) -> f64 {
        a + b
    }

    #[inline(always)]
    fn of_run(run: &[f32]) -> f64 {
        sum_of_run(run)
    }

    #[inline(always)]
    fn number(total: f64) -> f32 {
        total as f32
    }

    #[inline(always)]
    fn finish(self, total: f64) -> f32 {
        (total / self.divisor) as f32
    }
}

/// The largest numbers.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Largest;

impl Fold for Largest {
    type Total = f32;
    const NONE: f32 = f32::NEG_INFINITY;

    #[inline(always)]
    fn lift(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn join(a: f32, b: f32) -> f32 {
        larger(a, b)
    }

    #[inline(always)]
    fn of_run(run: &[f32]) -> f32 {
        max_of_run(run)
    }

    #[inline(always)]
    fn number(total: f32) -> f32 {
        total
    }

    #[inline(always)]
    fn finish(self, total: f32) -> f32 {
        total
    }
}

/// The way of the host through a reduction, which the shape alone decides. Neighbouring axes of one kind are taken as one:
/// pieces of x (the kept axes before the first reduced one), each `rows` rows of the axes inside. Where there are few
/// pieces, their rows are cut into parts.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct HostReduction {
    pieces: usize,
    /// The rows of a piece: the length of its first axis, which is reduced.
    pub rows: usize,
    /// The axes of a row.
    pub inner: Shape,
    /// The strides of their results: 0 for a reduced one.
    pub results: Shape,
    /// The elements of a row.
    pub row: usize,
    /// The results of a row, and so of a piece.
    pub kept: usize,
    /// The parts of a piece, and the rows of a part; the last may have fewer.
    parts: usize,
    rows_per_part: usize,
}

impl HostReduction {
    /// Pieces of work that there should be, so that workers share them evenly.
    const PARTS: usize = 16;
    /// The elements that a part is worth making for.
    const SMALLEST: usize = 32_768;
    /// The accumulators that stay in the first cache beside four rows.
    const COLUMNS: usize = 2048;
    /// The length from which on runs are folded as they lie. Shorter ones are first added to those of the rows below.
    const LONG: usize = 256;

    /// The way through the reduction of `shape` over `axes`, which exist and differ.
    pub(in crate::ops) fn new(shape: Shape, axes: &[usize]) -> Self {
        let mut merged: Vec<(usize, bool)> = Vec::new();
        for (axis, &length) in shape.iter().enumerate().filter(|(_, length)| **length != 1) {
            let is_reduced = axes.contains(&axis);
            match merged.last_mut() {
                Some((before, kind)) if *kind == is_reduced => *before *= length,
                _ => merged.push((length, is_reduced)),
            }
        }
        let mut merged = merged.into_iter().peekable();
        let pieces = merged.next_if(|(_, is_reduced)| !is_reduced);
        let pieces = pieces.map_or(1, |(length, _)| length);
        let rows = merged.next().map_or(1, |(length, _)| length);
        let inner: Vec<(usize, bool)> = merged.collect();
        let mut kept: usize = inner
            .iter()
            .filter(|axis| !axis.1)
            .map(|axis| axis.0)
            .product();
        let mut strides = Shape::SCALAR;
        let mut lengths = Shape::SCALAR;
        let all = kept;
        for (length, is_reduced) in inner {
            kept /= if is_reduced { 1 } else { length.max(1) };
            strides = strides.pushed(if is_reduced { 0 } else { kept });
            lengths = lengths.pushed(length);
        }
        let blocks = match *lengths {
            [kept] => kept.div_ceil(Self::COLUMNS),
            _ => 1,
        };
        let worth = (shape.elements() / Self::SMALLEST).min(Self::PARTS / (pieces * blocks).max(1));
        let rows_per_part = rows.div_ceil(worth.max(1)).max(1);
        Self {
            pieces,
            rows,
            inner: lengths,
            results: strides,
            row: lengths.elements(),
            kept: all,
            parts: rows.div_ceil(rows_per_part).max(1),
            rows_per_part,
        }
    }

    /// The scratch that [`run`](Self::run) needs: the parts' results, if there are several.
    pub(in crate::ops) fn scratch(&self) -> Vec<usize> {
        match self.parts {
            1 => Vec::new(),
            parts => vec![self.pieces * parts * self.kept],
        }
    }

    /// Reduces x to y.
    pub(in crate::ops) fn run<F: Fold>(
        &self,
        x: &[f32],
        y: &mut [f32],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
        fold: F,
    ) {
        match scratch {
            _ if x.is_empty() => y.fill(fold.finish(F::NONE)),
            [parts] => {
                self.reduce_parts(x, parts, workers, fold);
                let pieces = parts.chunks(self.parts * self.kept);
                for (y, parts) in y.chunks_mut(self.kept).zip(pieces) {
                    for (i, y) in y.iter_mut().enumerate() {
                        let parts = parts[i..].iter().step_by(self.kept);
                        *y = F::number(parts.fold(F::NONE, |sum, &x| F::join(sum, F::lift(x))));
                    }
                }
            }
            _ => self.reduce_parts(x, y, workers, fold),
        }
    }

    /// Reduces every part to its results, which follow one another.
    fn reduce_parts<F: Fold>(&self, x: &[f32], results: &mut [f32], workers: &Workers, fold: F) {
        // A row whose elements are all kept is cut into blocks of columns; small parts are grouped.
        let (block, group) = match *self.inner {
            [kept] if kept > Self::COLUMNS => (Self::COLUMNS, 1),
            _ => {
                let part = self.rows_per_part * self.row;
                (self.kept, (16_384 / part.max(1)).max(1))
            }
        };
        let groups = results.chunks_mut(self.kept * group).enumerate();
        let items = groups.flat_map(|(i, results)| {
            let blocks = results.chunks_mut(block * group).enumerate();
            blocks.map(move |(column, results)| (i * group, column * block, results))
        });
        workers.each(
            items,
            #[inline(always)]
            |(first, column, results)| {
                for (part, results) in (first..).zip(results.chunks_mut(block)) {
                    let (piece, start) =
                        (part / self.parts, part % self.parts * self.rows_per_part);
                    let end = (start + self.rows_per_part).min(self.rows);
                    let rows = piece * self.rows + start..piece * self.rows + end;
                    let x = &x[rows.start * self.row..rows.end * self.row];
                    self.reduce_part(x, column, results, fold);
                }
            },
        );
    }

    /// Reduces the rows of a part to the results from `column` on.
    #[inline(always)]
    fn reduce_part<F: Fold>(&self, x: &[f32], column: usize, results: &mut [f32], fold: F) {
        let long = match (self.inner.last(), self.results.last()) {
            (None, _) => return results.fill(fold.finish(F::of_run(x))),
            (Some(&length), Some(0)) if length >= Self::LONG => length,
            _ => 0,
        };
        let mut totals = vec![F::NONE; results.len()];
        if long > 0 {
            let mut walk = Offsets::new(self.inner.innermost_as_one(), [self.results], 0);
            for run in x.chunks(long) {
                let [result] = walk.advance();
                totals[result] = F::join(totals[result], F::of_run(run));
            }
        } else if self.inner.len() == 1 {
            self.add_rows::<F>(x, column, &mut totals);
        } else {
            let mut row = vec![F::NONE; self.row];
            self.add_rows::<F>(x, 0, &mut row);
            let mut walk = Offsets::new(self.inner, [self.results], 0);
            for total in row {
                let [result] = walk.advance();
                totals[result] = F::join(totals[result], total);
            }
        }
        for (result, &total) in results.iter_mut().zip(&totals) {
            *result = fold.finish(total);
        }
    }

    /// Folds the rows of x, from `column` on, into as many accumulators, four rows at a time.
    #[inline(always)]
    fn add_rows<F: Fold>(&self, x: &[f32], column: usize, totals: &mut [F::Total]) {
        let mut fours = x.chunks_exact(4 * self.row);
        for four in &mut fours {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| &four[i * self.row + column..][..totals.len()]);
            for (i, total) in totals.iter_mut().enumerate() {
                let pairs = [[a[i], b[i]], [c[i], d[i]]];
                let [ab, cd] = pairs.map(|[x, y]| F::join(F::lift(x), F::lift(y)));
                *total = F::join(*total, F::join(ab, cd));
            }
        }
        for row in fours.remainder().chunks(self.row) {
            for (total, &x) in totals.iter_mut().zip(&row[column..]) {
                *total = F::join(*total, F::lift(x));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pattern of kept and reduced axes of six, in lengths that reach every way, against the plain definition.
    #[test]
    fn every_pattern_of_axes() {
        let workers = Workers::new(2).expect("threads");
        let shapes = [
            [2, 3, 4, 2, 3, 5],
            [1, 5, 1, 7, 3, 300],
            [3, 2, 1, 1, 5, 2100],
        ];
        for shape in shapes
            .into_iter()
            .chain([[1, 700, 1, 1, 9, 17], [700, 1, 1, 1, 2, 150]])
        {
            let shape = Shape::from(shape);
            let x: Vec<f32> = (0..shape.elements())
                .map(|i| (i * 37 % 1009) as f32)
                .collect();
            for pattern in 0..64usize {
                let axes: Vec<usize> = (0..6).filter(|axis| pattern >> axis & 1 == 1).collect();
                let reduction = super::super::Reduction::new(shape, &axes);
                let mut expected = Vec::new();
                for result in 0..reduction.kept.elements() {
                    let (mut sum, mut top) = (0f64, f32::NEG_INFINITY);
                    reduction.runs(result, |offset, stride, length| {
                        for x in x[offset..].iter().step_by(stride).take(length) {
                            (sum, top) = (sum + f64::from(*x), top.max(*x));
                        }
                    });
                    expected.push((sum as f32, top));
                }
                let host = HostReduction::new(shape, &axes);
                let mut sums = vec![0.0; expected.len()];
                let mut tops = sums.clone();
                let mut scratch: Vec<_> =
                    host.scratch().into_iter().map(|n| vec![0.0; n]).collect();
                let mut scratch: Vec<_> = scratch.iter_mut().map(Vec::as_mut_slice).collect();
                host.run(
                    &x,
                    &mut sums,
                    &mut scratch,
                    &workers,
                    Summed { divisor: 1.0 },
                );
                host.run(&x, &mut tops, &mut scratch, &workers, Largest);
                // Whole numbers this small are added without rounding, in any order.
                let found: Vec<_> = sums.into_iter().zip(tops).collect();
                assert!(found == expected, "{shape} over {axes:?}");
            }
        }
    }
}
