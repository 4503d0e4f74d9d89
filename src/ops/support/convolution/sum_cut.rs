//! How the host cuts the gradient of a convolution's weight, a long sum for each element.

use super::{Geometry, Planes, Unfold};
use crate::product::{Accumulate, Matrix, MatrixMut, Order, WIDTH, product};
use std::ops::Range;

/// The columns of the weight, channels times taps, that a piece of work on the host computes.
const COLUMNS: usize = 576;
/// The elements of a panel at most, unless one channel has more.
const PANEL: usize = 1 << 18;
/// The pieces of work that the host makes at least, if the sum is long enough.
const PIECES: usize = 16;

/// How the host cuts the work: into parts of the sum, times blocks of channels of each group.
pub(in crate::ops) struct SumCut {
    unfold: Unfold,
    /// Rows of positions of a panel.
    tile: usize,
    /// Rows of positions of a part of the sum, a multiple of `tile`.
    rows: usize,
    /// Parts of the sum.
    pub parts: usize,
    /// Channels of a block.
    pub block: usize,
    /// Blocks of channels.
    pub blocks: usize,
    /// Elements of a piece: maps × channels of a block × taps.
    pub piece: usize,
}

impl SumCut {
    /// The cut for a convolution.
    pub(in crate::ops) fn new(geometry: &Geometry) -> Self {
        let unfold = geometry.unfold();
        let Geometry {
            groups,
            channels,
            maps,
            ..
        } = *geometry;
        let tile = unfold.rows_per_tile();
        // Panels of wide rows have fewer channels.
        let columns = (PANEL / (tile * geometry.output[1]).max(1)).min(COLUMNS) / WIDTH * WIDTH;
        let block = (columns / geometry.taps()).clamp(1, channels.max(1));
        let blocks = channels.div_ceil(block);
        let piece = maps * block * geometry.taps();
        let tiles = (geometry.images * geometry.output[0]).div_ceil(tile);
        let wanted = PIECES.div_ceil((groups * blocks).max(1));
        let most = super::PARTIAL_SUMS / (groups * blocks * piece).max(1);
        let tiles_per_part = tiles.div_ceil(wanted.min(most).max(1)).max(1);
        let parts = tiles.div_ceil(tiles_per_part).max(1);
        Self {
            unfold,
            tile,
            rows: tiles_per_part * tile,
            parts,
            block,
            blocks,
            piece,
        }
    }

    /// The scratch memory of a worker: the panel, then output_grad at the same positions.
    pub(in crate::ops) fn memory(&self, geometry: &Geometry) -> [usize; 2] {
        let width = self.tile * geometry.output[1];
        [self.block * geometry.taps() * width, geometry.maps * width]
    }

    /// Computes the piece number `index` of the sum.
    #[inline(always)]
    pub(in crate::ops) fn compute(
        &self,
        geometry: &Geometry,
        [x, output_grad]: [&[f32]; 2],
        index: usize,
        sums: &mut [f32],
        memory: &mut [f32],
    ) {
        let Geometry {
            groups,
            channels,
            maps,
            ..
        } = *geometry;
        let (block, group) = (index % self.blocks, index / self.blocks % groups);
        let part = index / self.blocks / groups;
        let first = block * self.block;
        let planes = Planes {
            elements: x,
            all: groups * channels,
            first: group * channels + first,
            count: self.block.min(channels - first),
        };
        let columns = planes.count * geometry.taps();
        let (panel, grads) = memory.split_at_mut(self.memory(geometry)[0]);
        let all = geometry.images * geometry.output[0];
        let rows = part * self.rows..((part + 1) * self.rows).min(all);
        if rows.is_empty() {
            sums.fill(0.0);
        }
        for start in rows.clone().step_by(self.tile) {
            let tile = start..(start + self.tile).min(rows.end);
            let width = tile.len() * geometry.output[1];
            let seen_x = match self.unfold.plainly(Order::Columns, planes, &tile) {
                Some(seen) => seen,
                None => {
                    self.unfold.fill(planes, tile.clone(), panel, width);
                    Matrix::columns(panel, width)
                }
            };
            let grads = seen(geometry, output_grad, group, tile, grads);
            let accumulate = if start == rows.start {
                Accumulate::Overwrite
            } else {
                Accumulate::Add
            };
            product(
                [maps, columns, width],
                grads,
                seen_x,
                MatrixMut::rows(sums, columns),
                accumulate,
            );
        }
    }
}

/// The maps of a group at the rows of positions `rows`, counted across images: one row for each map. Those of several images
/// are copied to stand side by side.
#[inline(always)]
fn seen<'a>(
    geometry: &Geometry,
    output_grad: &'a [f32],
    group: usize,
    rows: Range<usize>,
    copy: &'a mut [f32],
) -> Matrix<'a> {
    let Geometry {
        groups,
        maps,
        output: [height, width],
        ..
    } = *geometry;
    let start = |row: usize, k: usize| {
        let plane = (row / height * groups + group) * maps + k;
        (plane * height + row % height) * width
    };
    if rows.start % height + rows.len() <= height {
        return Matrix::rows(&output_grad[start(rows.start, 0)..], height * width);
    }
    let lines = copy.chunks_exact_mut(rows.len() * width).take(maps);
    for (k, line) in lines.enumerate() {
        let (mut at, mut rest) = (rows.start, line);
        while at < rows.end {
            let next = ((at / height + 1) * height).min(rows.end);
            let (run, after) = rest.split_at_mut((next - at) * width);
            run.copy_from_slice(&output_grad[start(at, k)..][..run.len()]);
            (rest, at) = (after, next);
        }
    }
    Matrix::rows(copy, rows.len() * width)
}
