//! The pieces of work into which the host cuts an image tensor that a convolution or a gradient computes.

use crate::ops::support::epilogue::Epilogue;
use std::ops::Range;

/// The pieces of work that a tensor is cut into at least, if it is large enough.
const PIECES: usize = 8;
/// A block is not cut below so many planes, nor inside of so many.
const MANY_PLANES: usize = 64;

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
                .next_multiple_of(MANY_PLANES)
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
    /// Applies to all that has been written what follows a product.
    #[inline(always)]
    pub(in crate::ops) fn finish(&mut self, cut: &Cut, epilogue: &Epilogue<f32>) {
        let ([height, width], units) = (cut.size, cut.size[0].div_ceil(cut.unit[0]));
        let mut unit = self.units.start;
        // The rows of an image are as many for each plane.
        for runs in self.rows.chunks_mut(self.planes.len()) {
            let (image, row) = (unit / units, unit % units * cut.unit[0]);
            for (run, plane) in runs.iter_mut().zip(self.planes.clone()) {
                let first = ((image * cut.planes + plane) * height + row) * width;
                epilogue.finish_run(run, plane, first);
            }
            unit = (image + 1) * units;
        }
    }

    /// Writes `sums`, one row for each plane with one element for each unit, to the elements that lie `at` rows and columns
    /// past the start of their unit.
    #[inline(always)]
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
