//! What the convolution and its two gradients share: the shape rule, and the panels from which the host multiplies.
//!
//! All three are products with a *panel*: a matrix with one column for each position of a grid, and one row for each
//! channel and each tap of the window, that holds the number which this tap sees from this position ("im2col"). Panels
//! are unfolded for a few rows of positions and a few channels at a time, so that they stay in a core's cache.

mod cases;

pub(in crate::ops) use cases::cases;

use crate::error::{Error, Result};
use crate::graph::Launch;
use crate::ops::Conv2d;
use crate::product::{Accumulate, Matrix, MatrixMut, product};
use crate::shape::Shape;
use std::ops::Range;

/// The largest stride, padding, dilation.
const MOST: usize = 65_535;
/// The columns of a panel: positions that one piece of work computes, unless a single row is longer.
const COLUMNS: usize = 256;
/// The elements of a panel: with its part of the weights it should fit into the second-level cache.
const PANEL: usize = 128 << 10;
/// The pieces of work that a tensor is cut into at least, if it is large enough.
const PIECES: usize = 8;
/// The planes below which a block is not cut further.
const MANY_PLANES: usize = 64;

/// The lengths of a convolution: `[N, G·channels, input] * [G·maps, channels, kernel] → [N, G·maps, output]`.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Geometry {
    /// N.
    pub images: usize,
    /// G.
    pub groups: usize,
    /// C / G.
    pub channels: usize,
    /// K / G.
    pub maps: usize,
    /// Height and width of x.
    pub input: [usize; 2],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Height and width of y.
    pub output: [usize; 2],
    /// Stride, padding and dilation.
    pub conv: Conv2d,
}

impl Geometry {
    /// The geometry of x `[N, C, H, W]` and weight `[K, C/G, R, S]`; `name` is the operation that asks.
    pub(in crate::ops) fn new(name: &str, conv: &Conv2d, x: Shape, weight: Shape) -> Result<Self> {
        let ([images, c, h, w], [k, channels, r, s]) =
            (axes(name, "x", x)?, axes(name, "weight", weight)?);
        let groups = conv.groups;
        if groups == 0 || k % groups != 0 || c != groups.saturating_mul(channels) {
            return Err(Error::shape(format!(
                "{name}: the weight {weight} does not fit {c} channels in {groups} groups: it must be [K, C / groups, R, S], and groups must divide C and K"
            )));
        }
        let output = [
            output_length(name, [h, r], conv, 0)?,
            output_length(name, [w, s], conv, 1)?,
        ];
        Ok(Self {
            images,
            groups,
            channels,
            maps: k / groups,
            input: [h, w],
            kernel: [r, s],
            output,
            conv: *conv,
        })
    }

    /// The shape of x.
    pub(in crate::ops) fn x(&self) -> Result<Shape> {
        Shape::new(&[
            self.images,
            self.groups * self.channels,
            self.input[0],
            self.input[1],
        ])
    }

    /// The shape of the weight.
    pub(in crate::ops) fn weight(&self) -> Result<Shape> {
        Shape::new(&[
            self.groups * self.maps,
            self.channels,
            self.kernel[0],
            self.kernel[1],
        ])
    }

    /// The shape of y.
    pub(in crate::ops) fn y(&self) -> Result<Shape> {
        Shape::new(&[
            self.images,
            self.groups * self.maps,
            self.output[0],
            self.output[1],
        ])
    }

    /// Taps of the window.
    pub(in crate::ops) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Multiplications and additions of the convolution, and of either gradient.
    pub(in crate::ops) fn flops(&self) -> usize {
        let maps = self.images * self.groups * self.maps;
        2 * maps * self.output[0] * self.output[1] * self.channels * self.taps()
    }

    /// Appends the lengths to a launch as 12 words, and sets the constants: see `shaders/lib/convolution.wgsl`.
    pub(in crate::ops) fn describe(&self, launch: Launch) -> Launch {
        let Conv2d {
            stride,
            padding,
            dilation,
            ..
        } = self.conv;
        launch
            .words(&[self.images, self.groups, self.channels, self.maps])
            .words(&[self.input, self.output, self.kernel, padding].concat())
            .constant("KERNEL_H", self.kernel[0] as f64)
            .constant("KERNEL_W", self.kernel[1] as f64)
            .constant("STRIDE_H", stride[0] as f64)
            .constant("STRIDE_W", stride[1] as f64)
            .constant("DILATION_H", dilation[0] as f64)
            .constant("DILATION_W", dilation[1] as f64)
    }

    /// The row (axis 0) or column (axis 1) of x that tap `tap` sees from position `position`, unless it is padding.
    pub(in crate::ops) fn seen(&self, axis: usize, position: usize, tap: usize) -> Option<usize> {
        let conv = &self.conv;
        let padded = position * conv.stride[axis] + tap * conv.dilation[axis];
        padded
            .checked_sub(conv.padding[axis])
            .filter(|&at| at < self.input[axis])
    }

    /// The position from which tap `tap` sees the row or column `at` of x, if there is one.
    pub(in crate::ops) fn seen_from(&self, axis: usize, at: usize, tap: usize) -> Option<usize> {
        let conv = &self.conv;
        let scaled = (at + conv.padding[axis]).checked_sub(tap * conv.dilation[axis])?;
        let position = scaled / conv.stride[axis];
        (scaled % conv.stride[axis] == 0 && position < self.output[axis]).then_some(position)
    }

    /// How the positions of y see x.
    pub(in crate::ops) fn unfold(&self) -> Unfold {
        let conv = &self.conv;
        let offset = |axis: usize, tap: usize| {
            (tap * conv.dilation[axis]) as isize - conv.padding[axis] as isize
        };
        let taps = |r: usize| (0..self.kernel[1]).map(move |s| [offset(0, r), offset(1, s)]);
        Unfold {
            images: self.images,
            source: self.input,
            grid: self.output,
            step: conv.stride,
            taps: (0..self.kernel[0]).flat_map(taps).collect(),
        }
    }

    /// How the positions of x that lie `rows` and `columns` past a multiple of the stride see y. The grid is that of the
    /// multiples, so its last row and column may lie outside of x.
    pub(in crate::ops) fn unfold_phase(&self, rows: &Phase, columns: &Phase) -> Unfold {
        let taps = |row: isize| columns.offsets().map(move |column| [row, column]);
        Unfold {
            images: self.images,
            source: self.output,
            grid: [0, 1].map(|axis| self.input[axis].div_ceil(self.conv.stride[axis])),
            step: [1, 1],
            taps: rows.offsets().flat_map(taps).collect(),
        }
    }

    /// The rows and columns of x that are `phase` modulo the stride, along one axis: which taps see them, and from where.
    pub(in crate::ops) fn phase(&self, axis: usize, phase: usize) -> Phase {
        let (stride, dilation) = (self.conv.stride[axis], self.conv.dilation[axis]);
        let sees =
            |tap: usize| (phase + self.conv.padding[axis]) as isize - (tap * dilation) as isize;
        let taps: Vec<usize> = (0..self.kernel[axis])
            .filter(|&tap| sees(tap) % stride as isize == 0)
            .collect();
        let first = taps.first().copied().unwrap_or(0);
        let step = taps.get(1).map_or(1, |second| second - first);
        Phase {
            first,
            step,
            count: taps.len(),
            offset: sees(first) / stride as isize,
            shift: step * dilation / stride,
        }
    }
}

/// Along one axis, the positions of x that lie `phase` past a multiple of the stride: `phase + stride · i`. Tap
/// `first + step · t` sees them from position `i + offset − shift · t` of y, for t in `0..count`; other taps never do.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Phase {
    /// The first tap.
    pub first: usize,
    /// The taps from one to the next.
    pub step: usize,
    /// The number of taps.
    pub count: usize,
    /// The position of y for i = 0, t = 0.
    pub offset: isize,
    /// How much further up the next tap's position lies.
    pub shift: usize,
}

impl Phase {
    /// What its taps see from position 0.
    fn offsets(&self) -> impl Iterator<Item = isize> {
        let Phase { offset, shift, .. } = *self;
        (0..self.count).map(move |t| offset - (shift * t) as isize)
    }

    /// Its taps.
    pub(in crate::ops) fn taps(&self) -> impl Iterator<Item = usize> {
        (self.first..).step_by(self.step).take(self.count)
    }
}

fn axes(name: &str, what: &str, shape: Shape) -> Result<[usize; 4]> {
    (*shape)
        .try_into()
        .map_err(|_| Error::shape(format!("{name}: {what} needs four axes, has {shape}")))
}

/// The number of positions along an axis.
fn output_length(
    name: &str,
    [length, kernel]: [usize; 2],
    conv: &Conv2d,
    axis: usize,
) -> Result<usize> {
    let (stride, padding, dilation) = (conv.stride[axis], conv.padding[axis], conv.dilation[axis]);
    if stride == 0 || dilation == 0 || stride > MOST || dilation > MOST || padding > MOST {
        return Err(Error::shape(format!(
            "{name}: stride and dilation must lie in 1 to {MOST}, padding in 0 to {MOST}: {conv:?}"
        )));
    }
    if kernel == 0 {
        return Err(Error::shape(format!("{name}: the window has no taps")));
    }
    let (padded, window) = (length + 2 * padding, dilation * (kernel - 1) + 1);
    if padded < window || padded > i32::MAX as usize {
        return Err(Error::shape(format!(
            "{name}: a window of {kernel} taps with dilation {dilation} covers {window}, the padded input {padded} rows or columns"
        )));
    }
    Ok((padded - window) / stride + 1)
}

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
            let weights = Matrix {
                slice: &weights.slice[done * taps * weights.strides[1]..],
                ..weights
            };
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

/// How the host cuts an image tensor `[N, planes, H, W]` that it computes into pieces of work: tiles of rows, counted
/// across images, times blocks of planes.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Cut {
    /// N.
    pub images: usize,
    /// Planes of an image.
    pub planes: usize,
    /// H and W.
    pub size: [usize; 2],
    /// Rows and columns that belong together; the last of an image may lack some.
    pub unit: [usize; 2],
    /// Units of rows of a tile.
    pub tile: usize,
    /// Planes of a block.
    pub block: usize,
}

/// A piece of work: the units of rows `units`, counted across images, of the planes `planes` of each image.
#[derive(Debug)]
pub(in crate::ops) struct Piece<'a> {
    /// The units.
    pub units: Range<usize>,
    /// The planes.
    pub planes: Range<usize>,
    /// For each image and each plane the memory of these rows.
    pub rows: Vec<&'a mut [f32]>,
}

impl Cut {
    /// A cut of tensors with `planes` in `groups` into tiles of `tile` units: few tiles are compensated by more blocks.
    pub(in crate::ops) fn new(
        images: usize,
        [groups, planes]: [usize; 2],
        size: [usize; 2],
        unit: [usize; 2],
        tile: usize,
    ) -> Self {
        let tiles = (images * size[0].div_ceil(unit[0])).div_ceil(tile).max(1);
        let block = if groups > 1 {
            planes * (MANY_PLANES / planes.max(1)).clamp(1, groups)
        } else {
            planes
                .div_ceil(PIECES.div_ceil(tiles))
                .next_multiple_of(8)
                .max(MANY_PLANES)
                .min(planes)
        };
        Self {
            images,
            planes: groups * planes,
            size,
            unit,
            tile,
            block: block.max(1),
        }
    }

    /// The pieces, in order of tiles, then blocks.
    pub(in crate::ops) fn pieces<'a>(
        &self,
        elements: &'a mut [f32],
    ) -> impl Iterator<Item = Piece<'a>> {
        let Cut {
            planes,
            size: [height, width],
            unit: [unit, _],
            tile,
            block,
            ..
        } = *self;
        let units = height.div_ceil(unit);
        let all = if elements.is_empty() {
            0
        } else {
            self.images * units
        };
        let blocks = planes.div_ceil(block);
        let mut rows: Vec<Vec<&mut [f32]>> = (0..all.div_ceil(tile) * blocks)
            .map(|_| Vec::new())
            .collect();
        for (index, plane) in elements.chunks_mut((height * width).max(1)).enumerate() {
            let (image, block) = (index / planes, index % planes / block);
            let (mut rest, mut at) = (plane, image * units);
            while at < (image + 1) * units {
                let next = (at / tile + 1)
                    .saturating_mul(tile)
                    .min((image + 1) * units);
                let length = ((next - at) * unit * width).min(rest.len());
                let (run, after) = rest.split_at_mut(length);
                rows[at / tile * blocks + block].push(run);
                (rest, at) = (after, next);
            }
        }
        rows.into_iter().enumerate().map(move |(piece, rows)| {
            let (first, plane) = (piece / blocks * tile, piece % blocks * block);
            Piece {
                units: first..(first + tile).min(all),
                planes: plane..(plane + block).min(planes),
                rows,
            }
        })
    }
}

impl Piece<'_> {
    /// Writes `sums`, one row for each plane with one element for each unit, to the elements that lie `at` rows and columns
    /// past the start of their unit.
    pub(in crate::ops) fn write(&mut self, cut: &Cut, at: [usize; 2], sums: &[f32]) {
        let ([_, width], [unit, step]) = (cut.size, cut.unit);
        let columns = width.div_ceil(step);
        let mut done = 0;
        // The rows of an image are as many for each plane.
        for runs in self.rows.chunks_mut(self.planes.len()) {
            let height = runs[0].len() / width;
            let units = height.div_ceil(unit);
            for (run, sums) in runs
                .iter_mut()
                .zip(sums.chunks_exact(self.units.len() * columns))
            {
                let sums = &sums[done * columns..(done + units) * columns];
                if cut.unit == [1, 1] {
                    run.copy_from_slice(sums);
                    continue;
                }
                let rows = run.chunks_exact_mut(width).skip(at[0]).step_by(unit);
                for (row, sums) in rows.zip(sums.chunks_exact(columns)) {
                    let to = row[at[1]..].iter_mut().step_by(step);
                    to.zip(sums).for_each(|(to, sum)| *to = *sum);
                }
            }
            done += units;
        }
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
