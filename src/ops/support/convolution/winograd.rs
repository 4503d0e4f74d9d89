//! The convolution of stride 1 with a window of 3 × 3, and its gradients, by Winograd's algorithm F(t × t, 3 × 3).
//!
//! A *tile* is a square of t × t results; it sees a patch d of (t + 2) × (t + 2) numbers. With the window g,
//!
//! y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A
//!
//! takes 16 multiplications instead of 36 where t is 2, and 36 instead of 144 where t is 4. Summed over channels, each of
//! the products of matrix elements (each *point*) becomes a product of matrices, tiles × channels by channels × maps. The
//! gradient of the window is the same equation read the other way: Gᵀ [Σ over tiles (A ∂y Aᵀ) ⊙ (Bᵀ d B)] G.
//!
//! The work goes in batches of tiles whose numbers stay in the cache that cores share, each in three stages: patches are
//! transformed, points are multiplied, sums are transformed back. All transforms run along vectors of channels: rows of
//! planes are turned so that the channels of a pixel are neighbours, and results are turned back.
//!
//! **Numerics.** Each result is a sum of the same terms as in the definition and of others that cancel, so its error is
//! bounded by γ(C + s) times the equation evaluated with the absolute values of all matrices: C additions of channels, and s
//! roundings in the transforms on the way of a term ([`algorithm`]). See [`Winograd::error`]. On normally distributed
//! numbers the error of t = 4 is two to three times that of t = 2.
//!
//! **Reference.** Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR 2016; Barabasz et al., *Error
//! Analysis and Improving the Accuracy of Winograd Convolution*, ACM TOMS 2020.

mod algorithm;
mod error;
mod lanes;
mod lines;
mod weight_grad;

use super::Geometry;
use super::pieces::{Cut, Piece};
use crate::ops::WinogradTile;
use crate::product::square::write;
use crate::product::{Accumulate, Matrix, MatrixMut, product};
use crate::workers::{Workers, vectorised};
use algorithm::{Algorithm, Four, Two};
use lanes::{Half, LANES, around, lanes, padded};
use lines::{Lines, Rows, turn_back};
use std::ops::Range;

/// The results below which transforming the weights costs more than it saves.
const FEW_RESULTS: usize = 128;
/// The planes below which lanes would mostly be empty.
const FEW_PLANES: usize = 16;
/// The elements of a batch: of its transformed patches, and of their sums.
const BATCH: usize = 1 << 20;
/// The tiles of a batch at least: fewer would not be worth reading the weights.
const TILES: usize = 256;
/// The pieces into which a stage of a batch is cut, if there is enough.
const PIECES: usize = 8;
/// The channels whose windows are transformed together: neighbours in the weight.
const BLOCK: usize = 8;

/// A convolution `[N, channels, source] → [N, maps, grid]` with a window of 3 × 3, stride 1.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Winograd {
    /// t.
    tile: WinogradTile,
    /// N.
    images: usize,
    /// Planes that are read.
    channels: usize,
    /// Planes that are computed.
    maps: usize,
    /// Height and width of what is read.
    source: [usize; 2],
    /// Height and width of what is computed.
    grid: [usize; 2],
    /// Rows and columns of nothing around what is read.
    padding: [usize; 2],
    /// How the window of a channel and a map stands in the weight.
    windows: Windows,
}

/// How the window of a channel and a map stands in the weight `[K, C, 3, 3]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Windows {
    /// The convolution reads channels C and computes maps K.
    Upright,
    /// The gradient of the input reads maps K and computes channels C, through the window turned by half a circle.
    Turned,
}

/// How the work is cut, in rows of tiles, counted across images.
#[derive(Clone, Copy, Debug)]
struct Batches {
    /// Of a piece of the stages that transform.
    piece: usize,
    /// Pieces of a batch.
    pieces: usize,
}

impl Winograd {
    /// The convolution, if it is one that this algorithm makes faster.
    pub(in crate::ops) fn new(geometry: &Geometry) -> Option<Self> {
        let Geometry {
            images,
            groups,
            channels,
            maps,
            input,
            kernel,
            output,
            conv,
        } = *geometry;
        let suits = groups == 1
            && kernel == [3, 3]
            && conv.stride == [1, 1]
            && conv.dilation == [1, 1]
            && conv.padding.iter().all(|&padding| padding <= 2)
            && channels.min(maps) >= FEW_PLANES
            && images * output[0] * output[1] >= FEW_RESULTS;
        suits.then_some(Self {
            tile: conv.winograd,
            images,
            channels,
            maps,
            source: input,
            grid: output,
            padding: conv.padding,
            windows: Windows::Upright,
        })
    }

    /// The gradient of this convolution with respect to what it reads: a convolution itself.
    pub(in crate::ops) fn input_grad(&self) -> Self {
        Self {
            tile: self.tile,
            images: self.images,
            channels: self.maps,
            maps: self.channels,
            source: self.grid,
            grid: self.source,
            padding: self.padding.map(|padding| 2 - padding),
            windows: Windows::Turned,
        }
    }

    /// t.
    fn side(&self) -> usize {
        match self.tile {
            WinogradTile::Two => 2,
            WinogradTile::Four => 4,
        }
    }

    /// The elements of a transformed patch.
    fn points(&self) -> usize {
        (self.side() + 2) * (self.side() + 2)
    }

    /// Tiles above each other and side by side.
    fn tiles(&self) -> [usize; 2] {
        self.grid.map(|length| length.div_ceil(self.side()))
    }

    /// Where the window of a channel and a map stands in the weight, and which of its taps is which.
    #[inline(always)]
    fn window(&self, channel: usize, map: usize) -> (usize, impl Fn(usize) -> usize + use<>) {
        let windows = self.windows;
        let start = match windows {
            Windows::Upright => map * self.channels + channel,
            Windows::Turned => channel * self.maps + map,
        };
        let tap = move |tap| match windows {
            Windows::Upright => tap,
            Windows::Turned => 8 - tap,
        };
        (start, tap)
    }

    fn batches(&self) -> Batches {
        let [high, wide] = self.tiles();
        let all = (self.images * high).max(1);
        let tile = self.points() * (padded(self.channels) + padded(self.maps));
        let tiles = (BATCH / tile).max(TILES);
        let batch = all.div_ceil(all.div_ceil((tiles / wide).max(1)));
        let piece = batch.div_ceil(PIECES);
        Batches {
            piece,
            pieces: batch.div_ceil(piece),
        }
    }

    fn cut(&self, batches: &Batches) -> Cut {
        Cut {
            images: self.images,
            planes: self.maps,
            size: self.grid,
            unit: [self.side(); 2],
            tile: batches.piece,
            block: self.maps,
        }
    }

    /// The elements of a few lines of pixels.
    fn lines(&self, lines: usize, columns: usize, planes: usize) -> usize {
        lines * (self.side() * self.tiles()[1] + columns) * padded(planes)
    }

    /// The scratch buffers of [`convolve`](Self::convolve): lines for each worker, the transformed weight, the
    /// transformed patches of a batch, and their sums.
    pub(in crate::ops) fn scratch(&self, threads: usize) -> Vec<usize> {
        let (side, batches) = (self.side(), self.batches());
        let read = self.lines(side + 2, 2, self.channels);
        let written = self.lines(side, 0, self.maps);
        let tiles = batches.piece * batches.pieces * self.tiles()[1] * self.points();
        vec![
            threads * read.max(written),
            self.points() * self.channels * self.maps,
            tiles * padded(self.channels),
            tiles * padded(self.maps),
        ]
    }

    /// Computes the convolution of `source` with `weight` `[K, C, 3, 3]`.
    pub(in crate::ops) fn convolve(
        &self,
        operands: [&[f32]; 2],
        results: &mut [f32],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        match self.tile {
            WinogradTile::Two => self.convolve_by::<Two, 2, 4>(operands, results, scratch, workers),
            WinogradTile::Four => {
                self.convolve_by::<Four, 4, 6>(operands, results, scratch, workers);
            }
        }
    }

    fn convolve_by<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        [source, weight]: [&[f32]; 2],
        results: &mut [f32],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let [lines, windows, patches, sums] = scratch else {
            unreachable!("four buffers")
        };
        self.transform_windows::<A, TILE, SIDE>(weight, windows, workers);
        let (batches, windows) = (self.batches(), &**windows);
        let mut pieces: Vec<Piece> = self.cut(&batches).pieces(results).collect();
        let wide = self.tiles()[1];
        for pieces in pieces.chunks_mut(batches.pieces) {
            let units = pieces.iter().map(|piece| piece.units.clone());
            let tiles = units.clone().map(|units| units.len() * wide).sum();
            let shares = self.shares(
                patches,
                tiles * padded(self.channels),
                units.clone(),
                self.channels,
            );
            workers.each_with_panel(lines, units.zip(shares), |(units, mut points), lines| {
                vectorised(
                    #[inline(always)]
                    || self.transform_patches::<A, TILE, SIDE>(source, units, lines, &mut points),
                );
            });
            self.multiply(patches, windows, tiles, sums, workers);
            let mut first = 0;
            let pieces = pieces.iter_mut().map(|piece| {
                let start = first;
                first += piece.units.len() * wide;
                (start, piece)
            });
            let sums = &**sums;
            workers.each_with_panel(lines, pieces, |(first, piece), line| {
                vectorised(
                    #[inline(always)]
                    || self.finish::<A, TILE, SIDE>(piece, sums, [first, tiles], line),
                );
            });
        }
    }

    /// Shares out the transformed patches of a batch, `[points, tiles, planes]`: to each of its pieces its part of every
    /// point, which has `length` elements.
    fn shares<'a>(
        &self,
        patches: &'a mut [f32],
        length: usize,
        pieces: impl Iterator<Item = Range<usize>> + Clone,
        planes: usize,
    ) -> Vec<Vec<&'a mut [f32]>> {
        let mut shares: Vec<Vec<&mut [f32]>> = pieces.clone().map(|_| Vec::new()).collect();
        let row = self.tiles()[1] * padded(planes);
        for mut point in patches.chunks_exact_mut(length.max(1)).take(self.points()) {
            for (share, units) in shares.iter_mut().zip(pieces.clone()) {
                let (own, rest) = point.split_at_mut(units.len() * row);
                share.push(own);
                point = rest;
            }
        }
        shares
    }

    /// The transformed weight: `[points, channels, maps]`.
    fn transform_windows<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        weight: &[f32],
        windows: &mut [f32],
        workers: &Workers,
    ) {
        let (channels, maps) = (self.channels, self.maps);
        let mut blocks: Vec<Vec<&mut [f32]>> =
            (0..channels.div_ceil(BLOCK)).map(|_| Vec::new()).collect();
        for point in windows.chunks_exact_mut(channels * maps) {
            let own = point.chunks_mut(BLOCK * maps).zip(&mut blocks);
            own.for_each(|(rows, block)| block.push(rows));
        }
        workers.each(blocks.into_iter().enumerate(), |(block, mut points)| {
            let some = BLOCK * block..(BLOCK * (block + 1)).min(channels);
            vectorised(
                #[inline(always)]
                || self.transform_channels::<A, TILE, SIDE>(weight, some, &mut points),
            );
        });
    }

    /// The transformed windows of some channels: for each point a row of all maps for each channel.
    #[inline(always)]
    fn transform_channels<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        weight: &[f32],
        channels: Range<usize>,
        points: &mut [&mut [f32]],
    ) {
        let mut half: Half<3, SIDE> = [[[0.0; LANES]; SIDE]; 3];
        for map in (0..self.maps).step_by(LANES) {
            let count = LANES.min(self.maps - map);
            for (row, channel) in channels.clone().enumerate() {
                let mut taps = [[0.0; LANES]; 9];
                for (lane, map) in (map..map + count).enumerate() {
                    let (start, tap) = self.window(channel, map);
                    for (i, &w) in weight[9 * start..9 * start + 9].iter().enumerate() {
                        taps[tap(i)][lane] = w;
                    }
                }
                around(
                    &mut half,
                    |i, j| &taps[3 * i + j],
                    A::of_window,
                    |point, values| {
                        let start = row * self.maps + map;
                        write(values, &mut points[point][start..start + count]);
                    },
                );
            }
        }
    }

    /// The transformed patches of the rows of tiles `units`, counted across images: for each point `[tiles, planes]`.
    #[inline(always)]
    fn transform_patches<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        source: &[f32],
        units: Range<usize>,
        lines: &mut [f32],
        points: &mut [&mut [f32]],
    ) {
        let ([high, wide], pitch) = (self.tiles(), padded(self.channels));
        let mut lines = Lines::new(lines, SIDE, TILE * wide + 2, pitch);
        let mut half: Half<SIDE, SIDE> = [[[0.0; LANES]; SIDE]; SIDE];
        for (row, unit) in units.clone().enumerate() {
            let (image, top) = (unit / high, TILE * (unit % high));
            // The next row of tiles sees two rows of the last.
            let kept = if row > 0 && top > 0 {
                lines.keep_last(2)
            } else {
                0
            };
            for line in kept..SIDE {
                let at = (top + line).checked_sub(self.padding[0]);
                let at = at.filter(|&at| at < self.source[0]);
                let planes = image * self.channels..(image + 1) * self.channels;
                lines.fill(
                    line,
                    self.padding[1],
                    at.map(|at| Rows::new(source, self.source, planes, at)),
                );
            }
            let lines: [&[f32]; SIDE] = lines.all();
            for tile in 0..wide {
                let start = (row * wide + tile) * pitch;
                for lane in (0..pitch).step_by(LANES) {
                    around(
                        &mut half,
                        |i, j| lanes(&lines[i][(TILE * tile + j) * pitch + lane..]),
                        A::of_patch,
                        |point, values| {
                            points[point][start + lane..start + lane + LANES]
                                .copy_from_slice(values);
                        },
                    );
                }
            }
        }
    }

    /// The products, one for each point: `sums [points, tiles, maps] = patches · windows`.
    fn multiply(
        &self,
        patches: &[f32],
        windows: &[f32],
        tiles: usize,
        sums: &mut [f32],
        workers: &Workers,
    ) {
        let (channels, maps) = (padded(self.channels), padded(self.maps));
        let points = sums.chunks_exact_mut(tiles * maps).take(self.points());
        workers.each(points.enumerate(), |(point, sums)| {
            product(
                [tiles, self.maps, self.channels],
                Matrix::rows(&patches[point * tiles * channels..], channels),
                Matrix::rows(&windows[point * self.channels * self.maps..], self.maps),
                MatrixMut::rows(sums, maps),
                Accumulate::Overwrite,
            );
        });
    }

    /// Transforms the sums of a piece back, and writes them. Its tiles are those from `first` on, of so many of a batch.
    #[inline(always)]
    fn finish<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        piece: &mut Piece,
        sums: &[f32],
        [first, tiles]: [usize; 2],
        lines: &mut [f32],
    ) {
        let ([_, wide], width) = (self.tiles(), self.grid[1]);
        let pitch = padded(self.maps);
        let line = TILE * wide * pitch;
        let mut half: Half<SIDE, TILE> = [[[0.0; LANES]; TILE]; SIDE];
        let mut row = 0;
        // The rows of an image are as many for each plane.
        for runs in piece.rows.chunks_mut(self.maps) {
            let height = runs[0].len() / width;
            for top in (0..height).step_by(TILE) {
                for tile in 0..wide {
                    let start = (first + row * wide + tile) * pitch;
                    for lane in (0..pitch).step_by(LANES) {
                        around(
                            &mut half,
                            |i, j| {
                                let point = (i * SIDE + j) * tiles * pitch;
                                lanes(&sums[point + start + lane..])
                            },
                            A::to_tile,
                            |place, values| {
                                let column = TILE * tile + place % TILE;
                                let at = place / TILE * line + column * pitch + lane;
                                lines[at..at + LANES].copy_from_slice(values);
                            },
                        );
                    }
                }
                for (i, line) in lines.chunks_exact(line).enumerate().take(height - top) {
                    turn_back(line, pitch, runs, (top + i) * width..(top + i + 1) * width);
                }
                row += 1;
            }
        }
    }
}
