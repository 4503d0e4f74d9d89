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
//! The work is cut into pieces whose numbers stay in the cache of a core, from the transform of their patches through the
//! products of points until their sums are transformed back. All transforms run along vectors of channels: rows of
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
use crate::ops::support::epilogue::Epilogue;
use crate::product::square::{ZEROS, gather, turned};
use crate::product::{Accumulate, Matrix, MatrixMut, Next, WIDTH, product_before};
use crate::workers::{Workers, simd};
use algorithm::{Algorithm, Four, Two};
use lanes::{LANES, Vector, around, distance, padded};
use lines::{Source, turn_back};
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;
use std::ops::Range;

/// The results below which transforming the weights costs more than it saves.
const FEW_RESULTS: usize = 64;
/// The planes below which lanes would mostly be empty.
const FEW_PLANES: usize = 16;
/// The elements of a piece's transformed patches and sums: both should fit into the second-level cache.
const PIECE: usize = 1 << 17;
/// The tiles of a piece at least: fewer would not be worth reading the weights.
const TILES: usize = 48;
/// The elements of a row of tiles, the least that a piece has, beyond which it would be too far from any cache.
const LONGEST: usize = 1 << 22;
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
        let winograd = Self {
            tile: conv.winograd,
            images,
            channels,
            maps,
            source: input,
            grid: output,
            padding: conv.padding,
            windows: Windows::Upright,
        };
        let row = input[1].max(output[1]).div_ceil(winograd.side()) * winograd.tile_elements();
        (suits && row <= LONGEST).then_some(winograd)
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

    /// The elements of a tile's transformed patch and sums.
    fn tile_elements(&self) -> usize {
        self.points() * (padded(self.channels) + padded(self.maps))
    }

    /// Tiles above each other and side by side.
    fn tiles(&self) -> [usize; 2] {
        self.grid.map(|length| length.div_ceil(self.side()))
    }

    /// Which window of the weight is that of a channel and a map.
    #[inline(always)]
    fn window(&self, channel: usize, map: usize) -> usize {
        match self.windows {
            Windows::Upright => map * self.channels + channel,
            Windows::Turned => channel * self.maps + map,
        }
    }

    /// Which of a window's nine numbers is a tap.
    #[inline(always)]
    fn tap(&self, tap: usize) -> usize {
        match self.windows {
            Windows::Upright => tap,
            Windows::Turned => 8 - tap,
        }
    }

    /// How the results are cut into pieces of work, in rows of tiles.
    fn cut(&self) -> Cut {
        let [high, wide] = self.tiles();
        let all = (self.images * high).max(1);
        let tiles = (PIECE / self.tile_elements()).max(TILES);
        let rows = all.div_ceil(all.div_ceil((tiles / wide.max(1)).max(1)));
        Cut::new(
            self.images,
            [1, self.maps],
            self.grid,
            [self.side(); 2],
            rows,
        )
    }

    /// The elements of a few lines of pixels.
    fn lines(&self, lines: usize, columns: usize, planes: usize) -> usize {
        lines * (self.side() * self.tiles()[1] + columns) * padded(planes)
    }

    /// The scratch buffer of [`convolve`](Self::convolve): for each worker lines, the transformed patches of a piece and their
    /// sums.
    pub(in crate::ops) fn scratch(&self, threads: usize) -> usize {
        threads * self.panel(&self.cut()).iter().sum::<usize>()
    }

    /// The elements of the transformed weight.
    pub(in crate::ops) fn windows(&self) -> usize {
        let panels = self.points() * self.maps.div_ceil(self.width());
        panels * distance(self.channels, self.width())
    }

    /// The scratch memory of a piece: lines, transformed patches, sums.
    fn panel(&self, cut: &Cut) -> [usize; 3] {
        let (side, tiles) = (self.side(), cut.tile * self.tiles()[1]);
        let read = self.lines(side + 2, 2, self.channels);
        let written = self.lines(side, 0, cut.block);
        let points = |planes| self.points() * distance(tiles, planes);
        [read.max(written), points(self.channels), points(cut.block)]
    }

    /// The maps whose transformed windows stand together.
    fn width(&self) -> usize {
        padded(self.maps).min(WIDTH)
    }

    /// Transforms the weight `[K, C, 3, 3]`.
    pub(in crate::ops) fn transform(&self, weight: &[f32], windows: &mut [f32], workers: &Workers) {
        match self.tile {
            WinogradTile::Two => {
                self.transform_by::<Two, 2, 4>(weight, windows, workers);
            }
            WinogradTile::Four => {
                self.transform_by::<Four, 4, 6>(weight, windows, workers);
            }
        }
    }

    /// For each point and each [`width`](Self::width) of maps `[channels, width]`.
    fn transform_by<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        weight: &[f32],
        windows: &mut [f32],
        workers: &Workers,
    ) {
        let (channels, width) = (self.channels, self.width());
        let (high, wide) = (channels.div_ceil(BLOCK), self.maps.div_ceil(width));
        let mut blocks: Vec<Vec<&mut [f32]>> = (0..high * wide).map(|_| Vec::new()).collect();
        let panels = windows
            .chunks_exact_mut(distance(channels, width))
            .enumerate();
        for (index, panel) in panels.take(self.points() * wide) {
            let own = &mut blocks[index % wide * high..][..high];
            let rows = panel[..channels * width].chunks_mut(BLOCK * width);
            rows.zip(own).for_each(|(rows, block)| block.push(rows));
        }
        workers.each(blocks.into_iter().enumerate(), |(block, points)| {
            let first = block % high * BLOCK;
            simd(TransformWindows::<A, TILE, SIDE> {
                of: self,
                algorithm: PhantomData,
                weight,
                channels: first..(first + BLOCK).min(channels),
                maps: block / high * width..(block / high + 1) * width,
                points,
            });
        });
    }

    /// Computes the convolution of `source` with the transformed weight, and what follows it.
    pub(in crate::ops) fn convolve(
        &self,
        operands: [&[f32]; 2],
        epilogue: Epilogue<f32>,
        results: &mut [f32],
        memory: &mut [f32],
        workers: &Workers,
    ) {
        match self.tile {
            WinogradTile::Two => {
                self.convolve_by::<Two, 2, 4>(operands, epilogue, results, memory, workers);
            }
            WinogradTile::Four => {
                self.convolve_by::<Four, 4, 6>(operands, epilogue, results, memory, workers);
            }
        }
    }

    fn convolve_by<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        [source, windows]: [&[f32]; 2],
        epilogue: Epilogue<f32>,
        results: &mut [f32],
        memory: &mut [f32],
        workers: &Workers,
    ) {
        let cut = self.cut();
        workers.each_with_panel(memory, cut.pieces(results), |piece, memory| {
            simd(Convolve::<A, TILE, SIDE> {
                of: self,
                algorithm: PhantomData,
                cut: &cut,
                source,
                windows,
                epilogue,
                piece,
                memory,
            });
        });
    }

    /// The planes that are read.
    fn read<'a>(&self, elements: &'a [f32]) -> Source<'a> {
        Source {
            elements,
            count: self.channels,
            size: self.source,
            padding: self.padding,
        }
    }

    /// The rows of tiles after these: as many, or what is left. The next piece has them, or, if there are several blocks of maps, one
    /// of the next.
    fn after(&self, units: &Range<usize>) -> Range<usize> {
        units.end..(units.end + units.len()).min(self.images * self.tiles()[0])
    }

    /// The products, one for each point and each width of the piece's maps: `sums [points, tiles, maps] = patches · windows`. What
    /// is `next` is asked for bit by bit with the points.
    fn multiply<'a>(
        &self,
        patches: &[f32],
        windows: &[f32],
        piece: &Piece,
        sums: &mut [f32],
        next: impl Fn(usize) -> Next<'a>,
    ) {
        let (channels, width) = (padded(self.channels), self.width());
        let tiles = piece.units.len() * self.tiles()[1];
        let Range { start, end } = piece.planes;
        let pitch = padded(end - start);
        let wide = self.maps.div_ceil(width);
        for point in 0..self.points() {
            let patches = &patches[point * distance(tiles, self.channels)..];
            let sums = &mut sums[point * distance(tiles, end - start)..];
            let mut next = next(point);
            for panel in start / width..end.div_ceil(width) {
                let windows = &windows[(point * wide + panel) * distance(self.channels, width)..];
                let first = panel * width - start;
                product_before(
                    [tiles, width.min(end - start - first), self.channels],
                    Matrix::rows(patches, channels),
                    Matrix::rows(windows, width),
                    MatrixMut::rows(&mut sums[first..], pitch),
                    Accumulate::Overwrite,
                    std::mem::replace(&mut next, Next::NOTHING),
                );
            }
        }
    }

    /// Transforms the sums of a piece back, and writes them.
    #[inline(always)]
    fn finish<S: Simd, A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        simd: S,
        piece: &mut Piece,
        sums: &[f32],
        lines: &mut [f32],
    ) {
        let ([_, wide], width) = (self.tiles(), self.grid[1]);
        let (maps, pitch) = (piece.planes.len(), padded(piece.planes.len()));
        let distance = distance(piece.units.len() * wide, maps);
        let line = TILE * wide * pitch;
        let mut row = 0;
        // The rows of an image are as many for each plane.
        for runs in piece.rows.chunks_mut(maps) {
            let height = runs[0].len() / width;
            for top in (0..height).step_by(TILE) {
                for tile in 0..wide {
                    let start = (row * wide + tile) * pitch;
                    for lane in (0..pitch).step_by(S::F32_LANES) {
                        around(
                            simd,
                            |i, j| {
                                let point = (i * SIDE + j) * distance;
                                Vector::read(simd, sums, point + start + lane)
                            },
                            #[inline(always)]
                            |x| A::to_tile(x),
                            |place, values| {
                                let column = TILE * tile + place % TILE;
                                let at = place / TILE * line + column * pitch + lane;
                                values.write(lines, at);
                            },
                        );
                    }
                }
                let rows = lines.chunks_exact(line).take(TILE.min(height - top));
                turn_back(rows, pitch, runs, [top * width, width]);
                row += 1;
            }
        }
    }
}

/// The transform of the windows of some channels and maps: for each point a row of maps for each channel.
struct TransformWindows<'a, A, const TILE: usize, const SIDE: usize> {
    of: &'a Winograd,
    algorithm: PhantomData<A>,
    weight: &'a [f32],
    channels: Range<usize>,
    maps: Range<usize>,
    points: Vec<&'a mut [f32]>,
}

impl<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize> WithSimd
    for TransformWindows<'_, A, TILE, SIDE>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (of, weight, width) = (self.of, self.weight, self.maps.len());
        let mut windows = ZEROS;
        for (row, channel) in self.channels.enumerate() {
            for first in (0..width).step_by(LANES) {
                let map = self.maps.start + first;
                let count = LANES.min(of.maps.saturating_sub(map));
                // What is read behind the nine is not used.
                gather(&mut windows, count, |i| {
                    &weight[9 * of.window(channel, map + i)..]
                });
                let taps = turned(&windows);
                for lane in (0..LANES).step_by(S::F32_LANES) {
                    let start = row * width + first + lane;
                    around(
                        simd,
                        |i, j| Vector::read(simd, &taps[of.tap(3 * i + j)], lane),
                        #[inline(always)]
                        |x| A::of_window(x),
                        |point, values| values.write(self.points[point], start),
                    );
                }
            }
        }
    }
}

/// A piece of a convolution.
struct Convolve<'a, 'b, A, const TILE: usize, const SIDE: usize> {
    of: &'a Winograd,
    algorithm: PhantomData<A>,
    cut: &'a Cut,
    source: &'a [f32],
    windows: &'a [f32],
    epilogue: Epilogue<'a, f32>,
    piece: Piece<'b>,
    memory: &'a mut [f32],
}

impl<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize> WithSimd
    for Convolve<'_, '_, A, TILE, SIDE>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            of,
            mut piece,
            memory,
            ..
        } = self;
        let [lines, patches, _] = of.panel(self.cut);
        let (lines, memory) = memory.split_at_mut(lines);
        let (patches, sums) = memory.split_at_mut(patches);
        let units = piece.units.clone();
        let source = of.read(self.source);
        source.transform::<S, TILE, SIDE, SIDE>(
            simd,
            of,
            units.clone(),
            #[inline(always)]
            |x| A::of_patch(x),
            [lines, patches],
        );
        let next = of.after(&units);
        of.multiply(patches, self.windows, &piece, sums, |point| {
            source.next::<TILE, SIDE>(of, next.clone(), [point, of.points()])
        });
        of.finish::<S, A, TILE, SIDE>(simd, &mut piece, sums, lines);
        piece.finish(self.cut, &self.epilogue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;
    use crate::ops::Conv2d;

    #[test]
    fn images_without_columns_and_very_wide_ones_are_no_trouble() -> Result<()> {
        let conv = Conv2d {
            padding: [1, 2],
            ..Conv2d::default()
        };
        let weight = [16, 16, 3, 3].into();
        let empty = Geometry::new("conv2d", &conv, [1, 16, 64, 0].into(), weight)?;
        let winograd = Winograd::new(&empty).map(|winograd| winograd.input_grad());
        assert!(winograd.is_some_and(|winograd| winograd.windows() > 0));
        let wide = Geometry::new("conv2d", &conv, [1, 16, 1, 1 << 20].into(), weight)?;
        assert!(Winograd::new(&wide).is_none());
        Ok(())
    }
}
