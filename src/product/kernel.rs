//! The innermost loops: blocks of results that stay in registers while their sums run.

use super::ahead::{Ahead, ask_for};
use super::square::{SIDE, ZEROS, gather, turned};
use super::{Accumulate, Matrix, MatrixMut, Next, Order};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// The columns of a panel: with as many rows as [`ROWS`] their sums fill most registers of the widest machines.
pub(crate) const WIDTH: usize = 64;
/// The terms that are summed up in registers. A panel of them fits into the second-level cache.
pub(super) const DEPTH: usize = 512;
/// The rows of a block.
const ROWS: usize = 6;
/// Up to so many rows copying b into a panel takes longer than it saves.
const FEW_ROWS: usize = 2 * ROWS;

/// A product of checked matrices, with memory for a panel.
pub(super) struct Work<'a, 'b> {
    pub(super) size: [usize; 3],
    pub(super) a: Matrix<'a>,
    pub(super) b: Matrix<'a>,
    pub(super) c: MatrixMut<'a, 'b>,
    pub(super) accumulate: Accumulate,
    pub(super) panel: &'a mut [f32],
    pub(super) next: Next<'a>,
}

/// Some columns of b: element (l, j) stands at `l * pitch + j`, and whole vectors can be read.
#[derive(Clone, Copy)]
struct Panel<'a> {
    slice: &'a [f32],
    pitch: usize,
    columns: usize,
    /// Whether b is narrow, and stands where it stood: then the results are few, and likely in the cache.
    is_narrow: bool,
}

/// Which part of a product a panel computes.
struct Part {
    /// The terms.
    depth: Range<usize>,
    /// The columns.
    columns: Range<usize>,
    /// What becomes of the result's memory.
    accumulate: Accumulate,
}

impl WithSimd for Work<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let [rows, n, k] = self.size;
        let parts = k.div_ceil(DEPTH) * n.div_ceil(WIDTH);
        for index in 0..parts {
            let part = self.part(index);
            let panel = match self.in_place(&part) {
                Some(panel) => panel,
                None => {
                    pack(self.b, &part, self.panel);
                    Panel {
                        slice: self.panel,
                        pitch: WIDTH,
                        columns: part.columns.len(),
                        is_narrow: false,
                    }
                }
            };
            let next = (index + 1 < parts).then(|| self.part(index + 1));
            let next = next.filter(|next| rows > FEW_ROWS && self.in_place(next).is_none());
            let next = match next {
                Some(next) => Next::part(self.b, [next.depth, next.columns]),
                None if index + 1 == parts => self.next,
                None => Next::NOTHING,
            };
            let blocks = rows.div_ceil(ROWS) * groups::<S>(part.columns.len());
            let ahead = Ahead::new(next, [blocks, part.depth.len()]);
            multiply(simd, rows, self.a, panel, &mut self.c, &part, ahead);
        }
    }
}

impl<'a> Work<'a, '_> {
    /// The part of this number: run by run of terms, panel by panel.
    #[inline(always)]
    fn part(&self, index: usize) -> Part {
        let [_, n, k] = self.size;
        let panels = n.div_ceil(WIDTH);
        let (first, column) = (index / panels * DEPTH, index % panels * WIDTH);
        Part {
            depth: first..(first + DEPTH).min(k),
            columns: column..(column + WIDTH).min(n),
            accumulate: match first {
                0 => self.accumulate,
                _ => Accumulate::Add,
            },
        }
    }

    /// The columns of b where they stand, if they are a panel already, or too few rows meet them.
    #[inline(always)]
    fn in_place(&self, part: &Part) -> Option<Panel<'a>> {
        let columns = part.columns.len();
        let Matrix {
            slice,
            pitch,
            order,
        } = self.b;
        let (start, pitch, pays) = match order {
            Order::Rows => {
                let pays = pitch <= WIDTH || self.size[0] <= FEW_ROWS;
                (part.depth.start * pitch + part.columns.start, pitch, pays)
            }
            Order::Panels => {
                let first = part.columns.start / WIDTH * pitch + part.depth.start;
                (first * WIDTH, WIDTH, true)
            }
            Order::Columns => return None,
        };
        let slice = slice.get(start..)?;
        let line = columns.next_multiple_of(SIDE);
        let is_whole = line <= pitch && (part.depth.len() - 1) * pitch + line <= slice.len();
        (pays && is_whole).then_some(Panel {
            slice,
            pitch,
            columns,
            is_narrow: order == Order::Rows && pitch <= WIDTH,
        })
    }
}

/// Copies columns of b into a panel. What is left of a last vector is arbitrary.
#[inline(always)]
fn pack(b: Matrix, part: &Part, panel: &mut [f32]) {
    let (first, depth) = (part.depth.start, part.depth.len());
    let (column, columns) = (part.columns.start, part.columns.len());
    match b.order {
        Order::Rows => {
            let rows = b.slice[first * b.pitch + column..].chunks(b.pitch);
            let lines = panel.chunks_exact_mut(WIDTH).take(depth);
            for (line, row) in lines.zip(rows) {
                match row.first_chunk::<WIDTH>() {
                    Some(row) if columns == WIDTH => line.copy_from_slice(row),
                    _ => line[..columns].copy_from_slice(&row[..columns]),
                }
            }
        }
        Order::Panels => unreachable!("they are whole"),
        Order::Columns => {
            let mut square = ZEROS;
            for left in (0..columns).step_by(SIDE) {
                let count = SIDE.min(columns - left);
                for top in (0..depth).step_by(SIDE) {
                    let some = SIDE.min(depth - top);
                    gather(&mut square, count, |j| {
                        let start = (column + left + j) * b.pitch + first + top;
                        &b.slice[start..start + some]
                    });
                    let lines = panel[top * WIDTH..].chunks_exact_mut(WIDTH).take(some);
                    for (line, row) in lines.zip(&turned(&square)) {
                        line[left..left + SIDE].copy_from_slice(row);
                    }
                }
            }
        }
    }
}

/// The vectors of a block: half as many where there are only 16 registers.
fn vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT < 32 { 2 } else { 4 }
}

/// The groups of vectors that so many columns are multiplied in.
fn groups<S: Simd>(columns: usize) -> usize {
    columns.div_ceil(S::F32_LANES).div_ceil(vectors::<S>())
}

/// Computes all rows of the results that a panel is part of.
#[inline(always)]
fn multiply<S: Simd>(
    simd: S,
    rows: usize,
    a: Matrix,
    panel: Panel,
    c: &mut MatrixMut,
    part: &Part,
    ahead: Ahead,
) {
    let most = vectors::<S>();
    let vectors = panel.columns.div_ceil(S::F32_LANES);
    let mut number = 0;
    for first in (0..vectors).step_by(most) {
        for row in (0..rows).step_by(ROWS) {
            let mut block = Block {
                number,
                ahead,
                a,
                panel,
                row,
                vector: first,
                part,
                c,
            };
            match (most.min(vectors - first), most) {
                (1, _) => block.some_rows::<S, 1>(simd, rows - row),
                (2, _) => block.some_rows::<S, 2>(simd, rows - row),
                (3, 4) => block.some_rows::<S, 3>(simd, rows - row),
                (4, 4) => block.some_rows::<S, 4>(simd, rows - row),
                _ => unreachable!("at most four vectors, or two"),
            }
            number += 1;
        }
    }
}

/// A block of results: some rows of a by some vectors of a panel.
struct Block<'a, 'b, 'c> {
    /// Which block of its panel.
    number: usize,
    ahead: Ahead<'a>,
    a: Matrix<'a>,
    panel: Panel<'a>,
    row: usize,
    vector: usize,
    part: &'a Part,
    c: &'a mut MatrixMut<'b, 'c>,
}

impl Block<'_, '_, '_> {
    #[inline(always)]
    fn some_rows<S: Simd, const N: usize>(&mut self, simd: S, rows: usize) {
        match rows {
            1 => self.compute::<S, 1, N>(simd),
            2 => self.compute::<S, 2, N>(simd),
            3 => self.compute::<S, 3, N>(simd),
            4 => self.compute::<S, 4, N>(simd),
            5 => self.compute::<S, 5, N>(simd),
            _ => self.compute::<S, ROWS, N>(simd),
        }
    }

    #[inline(always)]
    fn compute<S: Simd, const M: usize, const N: usize>(&mut self, simd: S) {
        let Part { depth, .. } = self.part;
        let lines = self.panel.slice[self.vector * S::F32_LANES..].chunks(self.panel.pitch);
        let lines = lines.take(depth.len());
        let first = self.part.columns.start + self.vector * S::F32_LANES;
        let end = self.part.columns.end;
        if !self.panel.is_narrow {
            for i in 0..M {
                let columns = first..end.min(first + N * S::F32_LANES);
                ask_for(self.c.row(self.row + i, columns));
            }
        }
        // Nothing but constants may index them until they are written: then they stay in registers.
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        match self.a.order {
            Order::Rows => {
                let mut rows: [&[f32]; M] = [&[]; M];
                for (i, row) in rows.iter_mut().enumerate() {
                    let start = (self.row + i) * self.a.pitch + depth.start;
                    *row = &self.a.slice[start..start + depth.len()];
                }
                let mut lines = lines.enumerate().take(depth.len());
                for turn in 0..depth.len().div_ceil(self.ahead.every) {
                    self.ahead.ask(self.number, turn);
                    for (l, line) in lines.by_ref().take(self.ahead.every) {
                        add_term(simd, &mut sums, line, |i| rows[i][l]);
                    }
                }
            }
            Order::Panels => unreachable!("a is checked"),
            Order::Columns => {
                let start = depth.start * self.a.pitch + self.row;
                let columns = self.a.slice[start..].chunks(self.a.pitch);
                let mut pairs = columns.zip(lines);
                for turn in 0..depth.len().div_ceil(self.ahead.every) {
                    self.ahead.ask(self.number, turn);
                    for (column, line) in pairs.by_ref().take(self.ahead.every) {
                        let column = &column[..M];
                        add_term(simd, &mut sums, line, |i| column[i]);
                    }
                }
            }
        }
        if first + N * S::F32_LANES <= end {
            return self.write::<S, M, N>(simd, &sums, first);
        }
        let mut copy = [[simd.splat_f32s(0.0); N]; M];
        for (to, sums) in copy.iter_mut().zip(&sums) {
            to.iter_mut().zip(sums).for_each(|(to, sum)| *to = *sum);
        }
        self.write_some::<S, N>(&copy, first..end);
    }

    /// Writes the sums, or adds them to what is there.
    #[inline(always)]
    fn write<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        sums: &[[S::f32s; N]; M],
        first: usize,
    ) {
        let columns = first..first + N * S::F32_LANES;
        for (i, sums) in sums.iter().enumerate() {
            let row = self.c.row(self.row + i, columns.clone());
            for (to, sum) in S::as_mut_simd_f32s(row).0.iter_mut().zip(sums) {
                *to = match self.part.accumulate {
                    Accumulate::Overwrite => *sum,
                    Accumulate::Add => simd.add_f32s(*to, *sum),
                };
            }
        }
    }

    /// The same where the last vectors are not whole.
    #[inline(always)]
    fn write_some<S: Simd, const N: usize>(
        &mut self,
        sums: &[[S::f32s; N]],
        columns: Range<usize>,
    ) {
        for (i, sums) in sums.iter().enumerate() {
            let row = self.c.row(self.row + i, columns.clone());
            for (to, sum) in row.iter_mut().zip(bytemuck::cast_slice(sums)) {
                *to = match self.part.accumulate {
                    Accumulate::Overwrite => *sum,
                    Accumulate::Add => *to + sum,
                };
            }
        }
    }
}

/// Adds a term to each sum: a number of a times a number of the panel's line.
#[inline(always)]
fn add_term<S: Simd, const M: usize, const N: usize>(
    simd: S,
    sums: &mut [[S::f32s; N]; M],
    line: &[f32],
    a: impl Fn(usize) -> f32,
) {
    let line = &S::as_simd_f32s(line).0[..N];
    for (i, sums) in sums.iter_mut().enumerate() {
        let x = simd.splat_f32s(a(i));
        for (sum, b) in sums.iter_mut().zip(line) {
            *sum = simd.mul_add_e_f32s(x, *b, *sum);
        }
    }
}
