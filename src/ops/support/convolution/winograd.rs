//! The convolution of stride 1 with a window of 3 × 3, and its gradients, by Winograd's algorithm F(2 × 2, 3 × 3).
//!
//! A *tile* is a square of 2 × 2 results; it sees a patch d of 4 × 4 numbers. With the window g,
//!
//! y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A
//!
//! takes 16 multiplications instead of 36. Summed over channels, each of the 16 products of matrix elements becomes a
//! product of matrices, tiles × channels by channels × maps. The gradient of the window is the same equation read the
//! other way: Gᵀ [Σ over tiles (A ∂y Aᵀ) ⊙ (Bᵀ d B)] G.
//!
//! All transforms run along vectors of channels: rows of planes are turned so that the channels of a pixel are
//! neighbours, and results are turned back.
//!
//! **Numerics.** Each result is a sum of the same terms as in the definition and of others that cancel, so its error is
//! bounded by γ(C + 11) times the equation evaluated with the absolute values of all matrices: C additions of channels, and
//! one product and ten additions in the transforms on the way of a term. See [`Winograd::error`].
//!
//! **Reference.** Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR 2016; Barabasz et al., *Error
//! Analysis and Improving the Accuracy of Winograd Convolution*, ACM TOMS 2020.

mod error;
mod lines;
mod transforms;
mod weight_grad;

use super::Geometry;
use super::pieces::{Cut, Piece};
use crate::product::{Accumulate, Matrix, MatrixMut, product};
use crate::workers::{Workers, vectorised};
use lines::{Lines, Rows, turn_back};
use std::ops::Range;
use transforms::{LANES, Lanes, each_lane, of_patch, of_window, to_tile};

/// The elements of the transformed patch of a tile.
const POINTS: usize = 16;
/// The tiles below which transforming the weights costs more than it saves.
const FEW_TILES: usize = 32;
/// The planes below which lanes would mostly be empty.
const FEW_PLANES: usize = 16;
/// Tiles of a product: so many that a read of the weights pays, so few that their sums stay in a core's cache.
const TILES: usize = 128;

/// A convolution `[N, channels, source] → [N, maps, grid]` with a window of 3 × 3, stride 1.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Winograd {
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
        let tiles = images * output[0].div_ceil(2) * output[1].div_ceil(2);
        let suits = groups == 1
            && kernel == [3, 3]
            && conv.stride == [1, 1]
            && conv.dilation == [1, 1]
            && conv.padding.iter().all(|&padding| padding <= 2)
            && channels.min(maps) >= FEW_PLANES
            && tiles >= FEW_TILES;
        suits.then_some(Self {
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
            images: self.images,
            channels: self.maps,
            maps: self.channels,
            source: self.grid,
            grid: self.source,
            padding: self.padding.map(|padding| 2 - padding),
            windows: Windows::Turned,
        }
    }

    /// Tiles above each other and side by side.
    fn tiles(&self) -> [usize; 2] {
        self.grid.map(|length| length.div_ceil(2))
    }

    /// The rows of tiles that go into one product.
    fn rows_per_product(&self) -> usize {
        let [high, wide] = self.tiles();
        let most = (TILES / wide).max(1);
        let all = self.images * high;
        all.div_ceil(all.div_ceil(most))
    }

    fn cut(&self) -> Cut {
        Cut::new(
            self.images,
            [1, self.maps],
            self.grid,
            [2, 2],
            self.rows_per_product(),
        )
    }

    /// The elements of the scratch memory of a worker: lines of the source, patches, sums, lines of results.
    fn memory(&self, cut: &Cut) -> [usize; 4] {
        let [_, wide] = self.tiles();
        let (channels, maps) = (padded(self.channels), padded(cut.block));
        let tiles = cut.tile * wide;
        [
            4 * (2 * wide + 2) * channels,
            POINTS * tiles * channels,
            POINTS * tiles * maps,
            2 * 2 * wide * maps,
        ]
    }

    /// The scratch buffers of [`convolve`](Self::convolve): a panel for each worker, and the transformed weight.
    pub(in crate::ops) fn scratch(&self, threads: usize) -> Vec<usize> {
        let panel: usize = self.memory(&self.cut()).iter().sum();
        vec![threads * panel, POINTS * self.channels * self.maps]
    }

    /// Computes the convolution of `source` with `weight` `[K, C, 3, 3]`.
    pub(in crate::ops) fn convolve(
        &self,
        [source, weight]: [&[f32]; 2],
        results: &mut [f32],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let [panels, windows] = scratch else {
            unreachable!("two buffers")
        };
        self.transform_windows(weight, windows, workers);
        let (cut, windows) = (self.cut(), &**windows);
        let memory = self.memory(&cut);
        workers.each_with_panel(panels, cut.pieces(results), |piece, panel| {
            let [lines, patches, sums, results] = parts(panel, memory);
            let planes = 0..self.channels;
            let units = piece.units.clone();
            vectorised(
                #[inline(always)]
                || self.transform_patches(source, planes, units, lines, patches),
            );
            self.multiply(patches, windows, &piece, sums);
            vectorised(
                #[inline(always)]
                || self.finish(piece, sums, results),
            );
        });
    }

    /// The transformed weight: `[points, channels, maps]`.
    fn transform_windows(&self, weight: &[f32], windows: &mut [f32], workers: &Workers) {
        let (channels, maps) = (self.channels, self.maps);
        let points = windows.chunks_exact_mut(channels * maps);
        let mut rows: Vec<Vec<&mut [f32]>> = (0..channels).map(|_| Vec::new()).collect();
        for point in points {
            let own = point.chunks_exact_mut(maps).zip(&mut rows);
            own.for_each(|(row, rows)| rows.push(row));
        }
        workers.each(rows.into_iter().enumerate(), |(channel, rows)| {
            vectorised(
                #[inline(always)]
                || self.transform_channel(weight, channel, rows),
            );
        });
    }

    /// The transformed windows of a channel, one row of all maps for each point.
    #[inline(always)]
    fn transform_channel(&self, weight: &[f32], channel: usize, mut rows: Vec<&mut [f32]>) {
        let (channels, maps) = (self.channels, self.maps);
        let window = |map: usize| {
            let start = match self.windows {
                Windows::Upright => map * channels + channel,
                Windows::Turned => channel * maps + map,
            };
            &weight[9 * start..9 * start + 9]
        };
        for first in (0..maps).step_by(LANES) {
            let count = LANES.min(maps - first);
            let mut taps = [[0.0; LANES]; 9];
            for (lane, map) in (first..first + count).enumerate() {
                for (tap, &w) in window(map).iter().enumerate() {
                    let tap = match self.windows {
                        Windows::Upright => tap,
                        Windows::Turned => 8 - tap,
                    };
                    taps[tap][lane] = w;
                }
            }
            let mut points = [[0.0; LANES]; POINTS];
            each_lane(taps.each_ref(), &mut points, of_window);
            for (row, point) in rows.iter_mut().zip(&points) {
                row[first..first + count].copy_from_slice(&point[..count]);
            }
        }
    }

    /// The transformed patches of the rows of tiles `units`, counted across images: `[points, tiles, planes]`.
    #[inline(always)]
    fn transform_patches(
        &self,
        source: &[f32],
        planes: Range<usize>,
        units: Range<usize>,
        lines: &mut [f32],
        patches: &mut [f32],
    ) {
        let ([high, wide], pitch) = (self.tiles(), padded(planes.len()));
        let area = units.len() * wide * pitch;
        let mut lines = Lines::new(lines, 4, 2 * wide + 2, pitch);
        for (row, unit) in units.clone().enumerate() {
            let (image, top) = (unit / high, 2 * (unit % high));
            // The next row of tiles sees two rows of the last.
            let kept = if row > 0 && top > 0 {
                lines.keep_last(2)
            } else {
                0
            };
            for line in kept..4 {
                let at = (top + line).checked_sub(self.padding[0]);
                let at = at.filter(|&at| at < self.source[0]);
                let first = image * self.channels;
                let planes = first + planes.start..first + planes.end;
                lines.fill(
                    line,
                    self.padding[1],
                    at.map(|at| Rows::new(source, self.source, planes, at)),
                );
            }
            for tile in 0..wide {
                let start = (row * wide + tile) * pitch;
                for lane in (0..pitch).step_by(LANES) {
                    let mut transformed = [[0.0; LANES]; POINTS];
                    let mut patch = [&[0.0; LANES]; POINTS];
                    for (i, own) in patch.iter_mut().enumerate() {
                        *own = lines.at(i / 4, 2 * tile + i % 4, lane);
                    }
                    each_lane(patch, &mut transformed, of_patch);
                    for (point, values) in transformed.iter().enumerate() {
                        let at = point * area + start + lane;
                        patches[at..at + LANES].copy_from_slice(values);
                    }
                }
            }
        }
    }

    /// The products, one for each point: `sums [points, tiles, maps] = patches · windows`.
    fn multiply(&self, patches: &[f32], windows: &[f32], piece: &Piece, sums: &mut [f32]) {
        let tiles = piece.units.len() * self.tiles()[1];
        let (channels, maps) = (padded(self.channels), padded(piece.planes.len()));
        for point in 0..POINTS {
            let patches = Matrix::rows(&patches[point * tiles * channels..], channels);
            let start = point * self.channels * self.maps + piece.planes.start;
            let windows = Matrix::rows(&windows[start..], self.maps);
            let sums = MatrixMut::rows(&mut sums[point * tiles * maps..], maps);
            let size = [tiles, piece.planes.len(), self.channels];
            product(size, patches, windows, sums, Accumulate::Overwrite);
        }
    }

    /// Transforms the sums back, and writes them to the piece.
    #[inline(always)]
    fn finish(&self, mut piece: Piece, sums: &[f32], results: &mut [f32]) {
        let ([_, wide], width) = (self.tiles(), self.grid[1]);
        let pitch = padded(piece.planes.len());
        let area = piece.units.len() * wide * pitch;
        let mut row = 0;
        // The rows of an image are as many for each plane.
        for runs in piece.rows.chunks_mut(piece.planes.len()) {
            let height = runs[0].len() / width;
            for top in (0..height).step_by(2) {
                for tile in 0..wide {
                    let start = (row * wide + tile) * pitch;
                    for lane in (0..pitch).step_by(LANES) {
                        let mut squares = [[0.0; LANES]; 4];
                        let mut own = [&[0.0; LANES]; POINTS];
                        for (point, own) in own.iter_mut().enumerate() {
                            *own = lanes(&sums[point * area + start + lane..]);
                        }
                        each_lane(own, &mut squares, to_tile);
                        for (i, square) in squares.iter().enumerate() {
                            let column = i / 2 * 2 * wide + 2 * tile + i % 2;
                            let at = column * pitch + lane;
                            results[at..at + LANES].copy_from_slice(square);
                        }
                    }
                }
                for (i, line) in results.chunks_exact(2 * wide * pitch).enumerate() {
                    if top + i < height {
                        turn_back(line, pitch, runs, (top + i) * width..(top + i + 1) * width);
                    }
                }
                row += 1;
            }
        }
    }
}

/// As many lanes as full vectors have.
fn padded(planes: usize) -> usize {
    planes.next_multiple_of(LANES)
}

/// The vector at the start of a slice, which holds one.
#[inline(always)]
fn lanes(slice: &[f32]) -> &Lanes {
    slice
        .first_chunk()
        .unwrap_or_else(|| unreachable!("{} elements left", slice.len()))
}

/// Cuts memory into consecutive parts of the given lengths.
fn parts<const N: usize>(mut memory: &mut [f32], lengths: [usize; N]) -> [&mut [f32]; N] {
    lengths.map(|length| {
        let (part, rest) = std::mem::take(&mut memory).split_at_mut(length);
        memory = rest;
        part
    })
}
