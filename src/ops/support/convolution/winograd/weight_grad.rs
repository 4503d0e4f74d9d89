//! The gradient with respect to the weight.

use super::algorithm::{Algorithm, Four, Two};
use super::lanes::{Half, LANES, around, lanes, padded};
use super::lines::{Lines, Rows};
use super::{Winograd, WinogradTile};
use crate::product::{Accumulate, Matrix, MatrixMut, product};
use crate::workers::{Workers, vectorised};
use std::ops::Range;

impl Winograd {
    /// The scratch buffers of [`weight_grad`](Self::weight_grad): lines for each worker, the transformed patches and
    /// gradients of a batch, and the sums of all batches.
    pub(in crate::ops) fn weight_grad_scratch(&self, threads: usize) -> Vec<usize> {
        let (side, batches) = (self.side(), self.batches());
        let read = self.lines(side + 2, 2, self.channels);
        let grads = self.lines(side, 0, self.maps);
        let tiles = batches.piece * batches.pieces * self.tiles()[1] * self.points();
        vec![
            threads * read.max(grads),
            tiles * padded(self.channels),
            tiles * padded(self.maps),
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
        [x, output_grad]: [&[f32]; 2],
        weight_grad: &mut [f32],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let [lines, patches, grads, sums] = scratch else {
            unreachable!("four buffers")
        };
        let ([high, wide], batches) = (self.tiles(), self.batches());
        let (all, batch) = (self.images * high, batches.piece * batches.pieces);
        for start in (0..all).step_by(batch) {
            let end = (start + batch).min(all);
            let pieces = (start..end).step_by(batches.piece);
            let pieces = pieces.map(|at| at..(at + batches.piece).min(end));
            let tiles = (end - start) * wide;
            let of_x = self.shares(
                patches,
                tiles * padded(self.channels),
                pieces.clone(),
                self.channels,
            );
            let of_y = self.shares(grads, tiles * padded(self.maps), pieces.clone(), self.maps);
            let work = pieces.zip(of_x.into_iter().zip(of_y));
            workers.each_with_panel(lines, work, |(units, (mut of_x, mut of_y)), lines| {
                vectorised(
                    #[inline(always)]
                    || {
                        self.transform_patches::<A, TILE, SIDE>(x, units.clone(), lines, &mut of_x);
                        self.transform_grads::<A, TILE, SIDE>(output_grad, units, lines, &mut of_y);
                    },
                );
            });
            let accumulate = if start == 0 {
                Accumulate::Overwrite
            } else {
                Accumulate::Add
            };
            self.sum_up([patches, grads], tiles, sums, accumulate, workers);
        }
        let sums = &**sums;
        workers.each_chunk(weight_grad, 9 * self.channels, |map, row| {
            vectorised(
                #[inline(always)]
                || self.finish_row::<A, TILE, SIDE>(sums, map, row),
            );
        });
    }

    /// Adds the products over the tiles of a batch to the sums, `[points, maps, channels]`.
    fn sum_up(
        &self,
        [patches, grads]: [&[f32]; 2],
        tiles: usize,
        sums: &mut [f32],
        accumulate: Accumulate,
        workers: &Workers,
    ) {
        let (channels, maps) = (padded(self.channels), padded(self.maps));
        let points = sums.chunks_exact_mut(self.maps * channels).enumerate();
        workers.each(points, |(point, sums)| {
            product(
                [self.maps, self.channels, tiles],
                Matrix::columns(&grads[point * tiles * maps..], maps),
                Matrix::rows(&patches[point * tiles * channels..], channels),
                MatrixMut::rows(sums, channels),
                accumulate,
            );
        });
    }

    /// The transformed gradients of the rows of tiles `units`, counted across images: for each point `[tiles, maps]`.
    #[inline(always)]
    fn transform_grads<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        output_grad: &[f32],
        units: Range<usize>,
        lines: &mut [f32],
        points: &mut [&mut [f32]],
    ) {
        let ([high, wide], pitch) = (self.tiles(), padded(self.maps));
        let mut lines = Lines::new(lines, TILE, TILE * wide, pitch);
        let mut half: Half<TILE, SIDE> = [[[0.0; LANES]; SIDE]; TILE];
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
                for lane in (0..pitch).step_by(LANES) {
                    around(
                        &mut half,
                        |i, j| lanes(&lines[i][(TILE * tile + j) * pitch + lane..]),
                        A::of_grads,
                        |point, values| {
                            points[point][start + lane..start + lane + LANES]
                                .copy_from_slice(values);
                        },
                    );
                }
            }
        }
    }

    /// Transforms the sums of a map back: windows of 9 elements.
    #[inline(always)]
    fn finish_row<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        sums: &[f32],
        map: usize,
        windows: &mut [f32],
    ) {
        let channels = padded(self.channels);
        let mut half: Half<SIDE, 3> = [[[0.0; LANES]; 3]; SIDE];
        for (chunk, windows) in windows.chunks_mut(9 * LANES).enumerate() {
            let mut taps = [[0.0; LANES]; 9];
            around(
                &mut half,
                |i, j| {
                    let point = i * SIDE + j;
                    lanes(&sums[(point * self.maps + map) * channels + chunk * LANES..])
                },
                A::to_window,
                |tap, values| taps[tap] = *values,
            );
            for (lane, window) in windows.chunks_exact_mut(9).enumerate() {
                for (to, tap) in window.iter_mut().zip(&taps) {
                    *to = tap[lane];
                }
            }
        }
    }
}
