//! The gradient with respect to the weight.

use super::Winograd;
use super::algorithm::{Algorithm, Four, Two};
use super::lanes::{LANES, Vector, around, distance, padded};
use super::lines::Source;
use crate::ops::WinogradTile;
use crate::product::{Accumulate, Matrix, MatrixMut, Next, product_before};
use crate::workers::{Workers, simd};
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;
use std::ops::Range;

/// The pieces of a batch, whose tiles are transformed before points are multiplied.
const PIECES: usize = 8;
/// The parts of the tiles that have sums of their own, where these are small: more of them occupy more cores, and take longer to
/// add up.
const PARTS: usize = 8;
/// The elements of small sums.
const SMALL: usize = 1 << 18;

/// How the work is cut, in rows of tiles, counted across images.
///
/// Where sums are small each part of the tiles has its own, which are added up at the end: no worker waits for another. Where
/// they are large there is one part, which goes in batches: workers share out a batch's pieces, then its points.
struct Parts {
    /// Rows of a piece.
    piece: usize,
    /// Pieces of a part.
    pieces: usize,
    /// Parts.
    parts: usize,
    /// The memory of a piece: lines, its transformed patches and its transformed gradients.
    memory: [usize; 3],
    /// The sums of a part: `[points, maps, channels]`.
    sums: usize,
}

impl Parts {
    /// The parts of a piece's memory.
    fn split<'a>(&self, memory: &'a mut [f32]) -> [&'a mut [f32]; 3] {
        let [lines, patches, _] = self.memory;
        let (lines, memory) = memory.split_at_mut(lines);
        let (patches, grads) = memory.split_at_mut(patches);
        [lines, patches, grads]
    }
}

impl Winograd {
    fn parts(&self) -> Parts {
        let (side, piece) = (self.side(), self.cut().tile);
        let read = self.lines(side + 2, 2, self.channels);
        let grads = self.lines(side, 0, self.maps);
        let points = |planes| self.points() * distance(piece * self.tiles()[1], planes);
        let all = (self.images * self.tiles()[0]).div_ceil(piece);
        let sums = self.points() * self.maps * padded(self.channels);
        let pieces = all.div_ceil(if sums <= SMALL { PARTS } else { 1 });
        Parts {
            piece,
            pieces,
            parts: all.div_ceil(pieces),
            memory: [read.max(grads), points(self.channels), points(self.maps)],
            sums,
        }
    }

    /// The scratch buffers of [`weight_grad`](Self::weight_grad): memory for a piece of each worker, or for those of a batch;
    /// the sums of all parts.
    pub(in crate::ops) fn weight_grad_scratch(&self, threads: usize) -> Vec<usize> {
        let cut = self.parts();
        let pieces = if cut.parts > 1 {
            threads
        } else {
            PIECES.min(cut.pieces)
        };
        let memory: usize = cut.memory.iter().sum();
        vec![pieces * memory, cut.parts * cut.sums]
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
        let [memory, sums] = scratch else {
            unreachable!("two buffers")
        };
        let cut = self.parts();
        let transform = |units, memory: &mut [f32]| {
            simd(TransformBoth::<A, TILE, SIDE> {
                of: self,
                operands,
                units,
                memory: cut.split(memory),
                algorithm: PhantomData,
            });
        };
        if cut.parts > 1 {
            let parts = sums.chunks_exact_mut(cut.sums).enumerate().take(cut.parts);
            workers.each_with_panel(memory, parts, |(part, sums), memory| {
                let mut accumulate = Accumulate::Overwrite;
                for units in self.pieces(&cut, part * cut.pieces, cut.pieces) {
                    transform(units.clone(), memory);
                    let [x, grads] = self.sources(operands);
                    let (next, half) = (self.after(&units), self.points() / 2);
                    let points = sums.chunks_exact_mut(cut.sums / self.points());
                    for (point, sums) in points.enumerate() {
                        let share = [point / 2, half];
                        let next = match point % 2 {
                            0 => x.next::<TILE, SIDE>(self, next.clone(), share),
                            _ => grads.next::<TILE, TILE>(self, next.clone(), share),
                        };
                        let piece = [point, units.len()];
                        self.add(&cut, piece, memory, (sums, accumulate), next);
                    }
                    accumulate = Accumulate::Add;
                }
            });
        } else {
            self.sum_batches(&cut, memory, sums, workers, transform);
        }
        let sums = &**sums;
        workers.each_chunk(weight_grad, 9 * self.channels, |map, windows| {
            simd(FinishRow::<A, TILE, SIDE> {
                of: self,
                cut: &cut,
                sums,
                map,
                windows,
                algorithm: PhantomData,
            });
        });
    }

    /// Computes the sums of a single part, batch by batch. `transform` is given the rows of a piece and its memory.
    fn sum_batches(
        &self,
        cut: &Parts,
        memory: &mut [f32],
        sums: &mut [f32],
        workers: &Workers,
        transform: impl Fn(Range<usize>, &mut [f32]) + Send + Sync,
    ) {
        let each: usize = cut.memory.iter().sum();
        for first in (0..cut.pieces).step_by(PIECES) {
            let pieces = self.pieces(cut, first, PIECES);
            let work = pieces.clone().zip(memory.chunks_exact_mut(each));
            workers.each(work, |(units, memory)| transform(units, memory));
            let memory = &*memory;
            let points = sums.chunks_exact_mut(cut.sums / self.points());
            workers.each(points.enumerate(), |(point, sums)| {
                for (index, units) in pieces.clone().enumerate() {
                    let accumulate = match first + index {
                        0 => Accumulate::Overwrite,
                        _ => Accumulate::Add,
                    };
                    let memory = &memory[index * each..];
                    let piece = [point, units.len()];
                    self.add(cut, piece, memory, (sums, accumulate), Next::NOTHING);
                }
            });
        }
    }

    /// The rows of `count` pieces from number `first` on, or of as many as there are.
    fn pieces(
        &self,
        cut: &Parts,
        first: usize,
        count: usize,
    ) -> impl Iterator<Item = Range<usize>> + Clone + Send + Sync + use<> {
        let (piece, all) = (cut.piece, self.images * self.tiles()[0]);
        let starts = (first * piece..all).step_by(piece).take(count);
        starts.map(move |at| at..(at + piece).min(all))
    }

    /// Adds the product of a point over the tiles of a piece of so many rows to its sums, `[maps, channels]`.
    fn add(
        &self,
        cut: &Parts,
        [point, rows]: [usize; 2],
        memory: &[f32],
        (sums, accumulate): (&mut [f32], Accumulate),
        next: Next,
    ) {
        let [lines, patches, _] = cut.memory;
        let tiles = rows * self.tiles()[1];
        let channels = padded(self.channels);
        let of_x = &memory[lines + point * distance(tiles, self.channels)..];
        let of_y = &memory[lines + patches + point * distance(tiles, self.maps)..];
        product_before(
            [self.maps, self.channels, tiles],
            Matrix::columns(of_y, padded(self.maps)),
            Matrix::rows(of_x, channels),
            MatrixMut::rows(sums, channels),
            accumulate,
            next,
        );
    }

    /// What is read: x and the gradients of the results.
    fn sources<'a>(&self, [x, output_grad]: [&'a [f32]; 2]) -> [Source<'a>; 2] {
        let grads = Source {
            elements: output_grad,
            count: self.maps,
            size: self.grid,
            padding: [0, 0],
        };
        [self.read(x), grads]
    }
}

/// The transforms of a piece's patches and gradients.
struct TransformBoth<'a, A, const TILE: usize, const SIDE: usize> {
    of: &'a Winograd,
    operands: [&'a [f32]; 2],
    units: Range<usize>,
    memory: [&'a mut [f32]; 3],
    algorithm: PhantomData<A>,
}

impl<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize> WithSimd
    for TransformBoth<'_, A, TILE, SIDE>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, units, .. } = self;
        let [lines, patches, grads] = self.memory;
        let [x, grads_of_results] = of.sources(self.operands);
        x.transform::<S, TILE, SIDE, SIDE>(
            simd,
            of,
            units.clone(),
            #[inline(always)]
            |x| A::of_patch(x),
            [lines, patches],
        );
        grads_of_results.transform::<S, TILE, TILE, SIDE>(
            simd,
            of,
            units,
            #[inline(always)]
            |grads| A::of_grads(grads),
            [lines, grads],
        );
    }
}

/// The transform of the sums of a map, over all parts, back to windows of 9 elements.
struct FinishRow<'a, A, const TILE: usize, const SIDE: usize> {
    of: &'a Winograd,
    cut: &'a Parts,
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
                |i, j| {
                    let place = (i * SIDE + j) * maps * channels + at;
                    let of = |part| Vector::read(simd, self.sums, part * self.cut.sums + place);
                    (1..self.cut.parts).fold(of(0), |sum, part| sum + of(part))
                },
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
