//! The gradient with respect to the weight.

use super::lines::{Lines, Rows};
use super::transforms::{LANES, each_lane, of_grads, to_window};
use super::{POINTS, Winograd, lanes, padded, parts};
use crate::product::{Accumulate, Matrix, MatrixMut, product};
use crate::workers::{Workers, vectorised};
use std::ops::Range;

/// The pieces of work at least, if the tensors are large enough.
const PIECES: usize = 8;
/// The channels of a piece of work.
const BLOCK: usize = 64;
/// The elements of all partial sums together, beyond which the work is not cut finer.
const PARTIAL_SUMS: usize = 8 << 20;

/// How the work is cut: parts of the sum over tiles, times blocks of channels.
struct Shares {
    /// Rows of tiles of a part.
    rows: usize,
    parts: usize,
    /// Channels of a block.
    block: usize,
    blocks: usize,
    /// Elements of a piece: points × maps × channels of a block.
    piece: usize,
}

impl Winograd {
    fn shares(&self) -> Shares {
        let block = padded(self.channels).min(BLOCK);
        let blocks = self.channels.div_ceil(block);
        let piece = POINTS * self.maps * block;
        let most = (PARTIAL_SUMS / (blocks * piece)).max(1);
        let step = self.rows_per_product();
        let steps = (self.images * self.tiles()[0]).div_ceil(step);
        let steps_per_part = steps.div_ceil(PIECES.div_ceil(blocks).min(most));
        Shares {
            rows: steps_per_part * step,
            parts: steps.div_ceil(steps_per_part),
            block,
            blocks,
            piece,
        }
    }

    /// The elements of the scratch memory of a worker: lines and patches of x, lines and patches of the output's gradient.
    fn grad_memory(&self, shares: &Shares) -> [usize; 4] {
        let ([_, wide], maps) = (self.tiles(), padded(self.maps));
        let tiles = self.rows_per_product() * wide;
        [
            4 * (2 * wide + 2) * shares.block,
            POINTS * tiles * shares.block,
            2 * 2 * wide * maps,
            POINTS * tiles * maps,
        ]
    }

    /// The scratch buffers of [`weight_grad`](Self::weight_grad): a panel for each worker, and the partial sums.
    pub(in crate::ops) fn weight_grad_scratch(&self, threads: usize) -> Vec<usize> {
        let shares = self.shares();
        let panel: usize = self.grad_memory(&shares).iter().sum();
        vec![threads * panel, shares.parts * shares.blocks * shares.piece]
    }

    /// Computes the gradient of the weight `[maps, channels, 3, 3]`.
    pub(in crate::ops) fn weight_grad(
        &self,
        operands: [&[f32]; 2],
        weight_grad: &mut [f32],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let [panels, sums] = scratch else {
            unreachable!("two buffers")
        };
        let shares = self.shares();
        let pieces = sums.chunks_exact_mut(shares.piece).enumerate();
        workers.each_with_panel(panels, pieces, |(index, sums), panel| {
            self.sum_up(&shares, operands, index, sums, panel);
        });
        let sums = &**sums;
        workers.each_chunk(weight_grad, 9 * self.channels, |map, row| {
            for (block, row) in row.chunks_mut(9 * shares.block).enumerate() {
                let pieces = (0..shares.parts).map(|part| part * shares.blocks + block);
                vectorised(
                    #[inline(always)]
                    || self.finish_row(&shares, sums, pieces, map, row),
                );
            }
        });
    }

    /// Computes the piece number `index` of the sums: `[points, maps, channels of the block]`.
    fn sum_up(
        &self,
        shares: &Shares,
        [x, output_grad]: [&[f32]; 2],
        index: usize,
        sums: &mut [f32],
        panel: &mut [f32],
    ) {
        let [lines, patches, grad_lines, grads] = parts(panel, self.grad_memory(shares));
        let (part, block) = (index / shares.blocks, index % shares.blocks);
        let first = block * shares.block;
        let planes = first..(first + shares.block).min(self.channels);
        let all = self.images * self.tiles()[0];
        let rows = part * shares.rows..((part + 1) * shares.rows).min(all);
        let (pitch, maps) = (padded(planes.len()), padded(self.maps));
        for start in rows.clone().step_by(self.rows_per_product()) {
            let units = start..(start + self.rows_per_product()).min(rows.end);
            let tiles = units.len() * self.tiles()[1];
            vectorised(
                #[inline(always)]
                || {
                    self.transform_patches(x, planes.clone(), units.clone(), lines, patches);
                    self.transform_grads(output_grad, units, grad_lines, grads);
                },
            );
            let accumulate = if start == rows.start {
                Accumulate::Overwrite
            } else {
                Accumulate::Add
            };
            for (point, sums) in sums.chunks_exact_mut(self.maps * shares.block).enumerate() {
                let grads = Matrix::columns(&grads[point * tiles * maps..], maps);
                let patches = Matrix::rows(&patches[point * tiles * pitch..], pitch);
                let size = [self.maps, planes.len(), tiles];
                product(
                    size,
                    grads,
                    patches,
                    MatrixMut::rows(sums, shares.block),
                    accumulate,
                );
            }
        }
    }

    /// The transformed gradients of the rows of tiles `units`, counted across images: `[points, tiles, maps]`.
    #[inline(always)]
    fn transform_grads(
        &self,
        output_grad: &[f32],
        units: Range<usize>,
        lines: &mut [f32],
        grads: &mut [f32],
    ) {
        let ([high, wide], pitch) = (self.tiles(), padded(self.maps));
        let area = units.len() * wide * pitch;
        let mut lines = Lines::new(lines, 2, 2 * wide, pitch);
        for (row, unit) in units.enumerate() {
            let (image, top) = (unit / high, 2 * (unit % high));
            for line in 0..2 {
                let planes = image * self.maps..(image + 1) * self.maps;
                let at = Some(top + line).filter(|&at| at < self.grid[0]);
                lines.fill(
                    line,
                    0,
                    at.map(|at| Rows::new(output_grad, self.grid, planes, at)),
                );
            }
            for tile in 0..wide {
                let start = (row * wide + tile) * pitch;
                for lane in (0..pitch).step_by(LANES) {
                    let mut transformed = [[0.0; LANES]; POINTS];
                    let mut own = [&[0.0; LANES]; 4];
                    for (i, own) in own.iter_mut().enumerate() {
                        *own = lines.at(i / 2, 2 * tile + i % 2, lane);
                    }
                    each_lane(own, &mut transformed, of_grads);
                    for (point, values) in transformed.iter().enumerate() {
                        let at = point * area + start + lane;
                        grads[at..at + LANES].copy_from_slice(values);
                    }
                }
            }
        }
    }

    /// Adds the parts of the sum for a map and a block of channels, and transforms them back: windows of 9 elements.
    #[inline(always)]
    fn finish_row(
        &self,
        shares: &Shares,
        sums: &[f32],
        pieces: impl Iterator<Item = usize> + Clone,
        map: usize,
        windows: &mut [f32],
    ) {
        for (chunk, windows) in windows.chunks_mut(9 * LANES).enumerate() {
            let mut totals = [[0.0; LANES]; POINTS];
            for piece in pieces.clone() {
                for (point, total) in totals.iter_mut().enumerate() {
                    let row = (piece * POINTS + point) * self.maps + map;
                    let part = lanes(&sums[row * shares.block + chunk * LANES..]);
                    for (total, part) in total.iter_mut().zip(part) {
                        *total += part;
                    }
                }
            }
            let mut taps = [[0.0; LANES]; 9];
            each_lane(totals.each_ref(), &mut taps, to_window);
            for (lane, window) in windows.chunks_exact_mut(9).enumerate() {
                for (to, tap) in window.iter_mut().zip(&taps) {
                    *to = tap[lane];
                }
            }
        }
    }
}
