//! The gradient with respect to the weight.

use super::algorithm::{Algorithm, Four, Two};
use super::lanes::{LANES, Vector, around, padded};
use super::lines::{Lines, Rows};
use super::{Winograd, WinogradTile, distance};
use crate::product::{Accumulate, Matrix, MatrixMut, product};
use crate::workers::{Workers, simd};
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;
use std::ops::Range;

/// The pieces of a batch, whose tiles are transformed before points are multiplied.
const PIECES: usize = 8;

/// How the work is cut, in rows of tiles, counted across images.
struct SumCut {
    /// Rows of a piece.
    piece: usize,
    /// The elements of a piece's transformed patches.
    patches: usize,
    /// The elements of a piece's transformed gradients.
    grads: usize,
}

impl Winograd {
    fn sum_cut(&self) -> SumCut {
        let piece = self.cut().tile;
        let points = |planes| self.points() * distance(piece * self.tiles()[1], planes);
        SumCut {
            piece,
            patches: points(self.channels),
            grads: points(self.maps),
        }
    }

    /// The scratch buffers of [`weight_grad`](Self::weight_grad): lines for each worker, the transformed patches and
    /// gradients of a batch, and the sums of all batches.
    pub(in crate::ops) fn weight_grad_scratch(&self, threads: usize) -> Vec<usize> {
        let (side, cut) = (self.side(), self.sum_cut());
        let read = self.lines(side + 2, 2, self.channels);
        let grads = self.lines(side, 0, self.maps);
        vec![
            threads * read.max(grads),
            PIECES * cut.patches,
            PIECES * cut.grads,
            self.points() * self.maps * padded(self.channels),
        ]
    }

    /// Computes the gradient of the weight `[maps, channels, 3, 3]`.
    pub(in crate::ops) fn weight_grad(
        &self,
        operands: [&[f32]; 2],
        weight_grad: &mut [f32],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        match self.tile {
            WinogradTile::Two => {
                self.weight_grad_by::<Two, 2, 4>(operands, weight_grad, scratch, workers);
            }
            WinogradTile::Four => {
                self.weight_grad_by::<Four, 4, 6>(operands, weight_grad, scratch, workers);
            }
        }
    }

    fn weight_grad_by<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        operands: [&[f32]; 2],
        weight_grad: &mut [f32],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let [lines, patches, grads, sums] = scratch else {
            unreachable!("four buffers")
        };
        let (cut, all) = (self.sum_cut(), self.images * self.tiles()[0]);
        for start in (0..all).step_by(PIECES * cut.piece) {
            let end = all.min(start + PIECES * cut.piece);
            let pieces = (start..end).step_by(cut.piece);
            let pieces = pieces.map(|at| at..(at + cut.piece).min(end));
            let memory = patches
                .chunks_exact_mut(cut.patches)
                .zip(grads.chunks_exact_mut(cut.grads));
            let work = pieces.clone().zip(memory);
            workers.each_with_panel(lines, work, |(units, (patches, grads)), lines| {
                simd(TransformBoth::<A, TILE, SIDE> {
                    of: self,
                    operands,
                    units,
                    patches,
                    grads,
                    lines,
                    algorithm: PhantomData,
                });
            });
            let accumulate = match start {
                0 => Accumulate::Overwrite,
                _ => Accumulate::Add,
            };
            self.sum_up([patches, grads], pieces, sums, accumulate, workers);
        }
        let sums = &**sums;
        workers.each_chunk(weight_grad, 9 * self.channels, |map, windows| {
            simd(FinishRow::<A, TILE, SIDE> {
                of: self,
                sums,
                map,
                windows,
                algorithm: PhantomData,
            });
        });
    }

    /// Adds the products over the tiles of a batch to the sums, `[points, maps, channels]`.
    fn sum_up(
        &self,
        [patches, grads]: [&[f32]; 2],
        pieces: impl Iterator<Item = Range<usize>> + Clone + Send + Sync,
        sums: &mut [f32],
        accumulate: Accumulate,
        workers: &Workers,
    ) {
        let (cut, channels) = (self.sum_cut(), padded(self.channels));
        let points = sums.chunks_exact_mut(self.maps * channels).enumerate();
        workers.each(points, |(point, sums)| {
            let mut accumulate = accumulate;
            for (index, units) in pieces.clone().enumerate() {
                let tiles = units.len() * self.tiles()[1];
                let grads = &grads[index * cut.grads + point * distance(tiles, self.maps)..];
                let patches =
                    &patches[index * cut.patches + point * distance(tiles, self.channels)..];
                product(
                    [self.maps, self.channels, tiles],
                    Matrix::columns(grads, padded(self.maps)),
                    Matrix::rows(patches, channels),
                    MatrixMut::rows(sums, channels),
                    accumulate,
                );
                accumulate = Accumulate::Add;
            }
        });
    }

    /// The transformed gradients of the rows of tiles `units`, counted across images: for each point `[tiles, maps]`.
    #[inline(always)]
    fn transform_grads<S: Simd, A, const TILE: usize, const SIDE: usize>(
        &self,
        simd: S,
        output_grad: &[f32],
        units: Range<usize>,
        lines: &mut [f32],
        grads: &mut [f32],
    ) where
        A: Algorithm<TILE, SIDE>,
    {
        let ([high, wide], pitch) = (self.tiles(), padded(self.maps));
        let distance = distance(units.len() * wide, self.maps);
        let mut lines = Lines::new(lines, TILE, TILE * wide, pitch);
        for (row, unit) in units.enumerate() {
            let (image, top) = (unit / high, TILE * (unit % high));
            for line in 0..TILE {
                let planes = image * self.maps..(image + 1) * self.maps;
                let at = Some(top + line).filter(|&at| at < self.grid[0]);
                lines.fill(
                    line,
                    0,
                    at.map(|at| Rows::new(output_grad, self.grid, planes, at)),
                );
            }
            let lines: [&[f32]; TILE] = lines.all();
            for tile in 0..wide {
                let start = (row * wide + tile) * pitch;
                for lane in (0..pitch).step_by(S::F32_LANES) {
                    around(
                        simd,
                        |i, j| Vector::read(simd, lines[i], (TILE * tile + j) * pitch + lane),
                        #[inline(always)]
                        |x| A::of_grads(x),
                        |point, values| values.write(grads, point * distance + start + lane),
                    );
                }
            }
        }
    }
}

/// The transforms of a piece's patches and gradients.
struct TransformBoth<'a, A, const TILE: usize, const SIDE: usize> {
    of: &'a Winograd,
    operands: [&'a [f32]; 2],
    units: Range<usize>,
    patches: &'a mut [f32],
    grads: &'a mut [f32],
    lines: &'a mut [f32],
    algorithm: PhantomData<A>,
}

impl<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize> WithSimd
    for TransformBoth<'_, A, TILE, SIDE>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, lines, .. } = self;
        let [x, output_grad] = self.operands;
        let units = self.units.clone();
        of.transform_patches::<S, A, TILE, SIDE>(simd, x, units, lines, self.patches);
        of.transform_grads::<S, A, TILE, SIDE>(simd, output_grad, self.units, lines, self.grads);
    }
}

/// The transform of the sums of a map back to windows of 9 elements.
struct FinishRow<'a, A, const TILE: usize, const SIDE: usize> {
    of: &'a Winograd,
    sums: &'a [f32],
    map: usize,
    windows: &'a mut [f32],
    algorithm: PhantomData<A>,
}

impl<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize> WithSimd
    for FinishRow<'_, A, TILE, SIDE>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (maps, channels) = (self.of.maps, padded(self.of.channels));
        let windows = self.windows.chunks_mut(9 * S::F32_LANES).enumerate();
        for (chunk, windows) in windows {
            let at = self.map * channels + chunk * S::F32_LANES;
            let mut taps = [0.0; 9 * LANES];
            around(
                simd,
                |i, j| Vector::read(simd, self.sums, (i * SIDE + j) * maps * channels + at),
                #[inline(always)]
                |x| A::to_window(x),
                |tap, values| values.write(&mut taps, tap * S::F32_LANES),
            );
            for (lane, window) in windows.chunks_exact_mut(9).enumerate() {
                for (to, tap) in window.iter_mut().zip(taps.chunks_exact(S::F32_LANES)) {
                    *to = tap[lane];
                }
            }
        }
    }
}
