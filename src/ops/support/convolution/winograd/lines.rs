//! Rows of planes turned into lines of pixels, whose channels are neighbours, to be transformed square by square; and lines
//! turned back into rows.

use super::Winograd;
use super::lanes::{LANES, Vector, around, distance, padded};
use crate::product::Next;
use crate::product::square::{ZEROS, gather, turned, write};
use pulp::Simd;
use std::ops::Range;

/// A few lines of pixels: `[lines, columns, channels]`, from line `first` on and round.
struct Lines<'a> {
    elements: &'a mut [f32],
    count: usize,
    first: usize,
    columns: usize,
    pitch: usize,
}

impl Lines<'_> {
    /// Where a line starts.
    fn start(&self, line: usize) -> usize {
        (self.first + line) % self.count * self.columns * self.pitch
    }

    /// A line.
    fn line(&mut self, line: usize) -> &mut [f32] {
        let start = self.start(line);
        &mut self.elements[start..start + self.columns * self.pitch]
    }

    /// The lines.
    fn all<const COUNT: usize>(&self) -> [&[f32]; COUNT] {
        std::array::from_fn(|line| &self.elements[self.start(line)..][..self.columns * self.pitch])
    }
}

/// The planes of images that are cut into squares of numbers, one for each tile.
pub(super) struct Source<'a> {
    /// `[N, count, height, width]`.
    pub(super) elements: &'a [f32],
    /// Planes of an image.
    pub(super) count: usize,
    /// Height and width.
    pub(super) size: [usize; 2],
    /// Rows and columns of nothing before them.
    pub(super) padding: [usize; 2],
}

impl Source<'_> {
    /// The transformed squares of `IN` × `IN` numbers, `TILE` rows and columns apart, of the rows of tiles `units`, counted
    /// across images: for each point `[tiles, planes]`.
    #[inline(always)]
    pub(super) fn transform<S: Simd, const TILE: usize, const IN: usize, const SIDE: usize>(
        &self,
        simd: S,
        of: &Winograd,
        units: Range<usize>,
        along: impl Fn([Vector<S>; IN]) -> [Vector<S>; SIDE] + Copy,
        [lines, points]: [&mut [f32]; 2],
    ) {
        let ([high, wide], pitch) = (of.tiles(), padded(self.count));
        let distance = distance(units.len() * wide, self.count);
        let mut lines = Lines {
            elements: lines,
            count: IN,
            first: 0,
            columns: TILE * wide + IN - TILE,
            pitch,
        };
        for (row, unit) in units.enumerate() {
            let (image, top) = (unit / high, TILE * (unit % high));
            let mut kept = 0;
            if row > 0 && top > 0 {
                // Squares see the last rows of those above.
                kept = IN - TILE;
                lines.first = (lines.first + TILE) % IN;
            }
            self.turn([image, top], kept, &mut lines);
            let lines: [&[f32]; IN] = lines.all();
            for tile in 0..wide {
                let start = (row * wide + tile) * pitch;
                for lane in (0..pitch).step_by(S::F32_LANES) {
                    around(
                        simd,
                        |i, j| Vector::read(simd, lines[i], (TILE * tile + j) * pitch + lane),
                        along,
                        |point, values| values.write(points, point * distance + start + lane),
                    );
                }
            }
        }
    }

    /// What the rows of tiles `units` see and the row before them has not seen, as far as they lie in one image: of all planes
    /// the part number `share` of `shares`.
    pub(super) fn next<const TILE: usize, const IN: usize>(
        &self,
        of: &Winograd,
        units: Range<usize>,
        [share, shares]: [usize; 2],
    ) -> Next<'_> {
        let ([height, width], high) = (self.size, of.tiles()[0]);
        // The first row that is not seen before a row of tiles.
        let unseen = |unit: usize| match unit {
            0 => 0,
            _ => (TILE * unit + IN - TILE).saturating_sub(self.padding[0]),
        };
        let (image, top) = (units.start / high, units.start % high);
        let bottom = (top + units.len()).min(high);
        let rows = unseen(top).min(height)..unseen(bottom).min(height);
        let each = self.count.div_ceil(shares);
        let first = (share * each).min(self.count);
        let start = ((image * self.count + first) * height + rows.start) * width;
        Next {
            slice: self.elements.get(start..).unwrap_or_default(),
            pitch: height * width,
            size: [each.min(self.count - first), rows.len() * width],
        }
    }

    /// Turns the rows from `top` on into the lines from `kept` on: plane by plane, as rows of a plane are neighbours in
    /// memory.
    #[inline(always)]
    fn turn(&self, [image, top]: [usize; 2], kept: usize, lines: &mut Lines) {
        let ([height, width], pitch) = (self.size, lines.pitch);
        let mut square = ZEROS;
        for first in (0..self.count).step_by(LANES) {
            let count = LANES.min(self.count - first);
            for line in kept..lines.count {
                let at = (top + line).checked_sub(self.padding[0]);
                let at = at.filter(|&at| at < height);
                let line = lines.line(line);
                let mut inside = 0..0;
                if let Some(at) = at {
                    inside = self.padding[1]..self.padding[1] + width;
                    for left in (0..width).step_by(LANES) {
                        let plane = image * self.count + first;
                        let start = (plane * height + at) * width + left;
                        gather(&mut square, count, |i| {
                            &self.elements[start + i * height * width..]
                        });
                        // What is left of the vectors is arbitrary, as are pixels until those behind are written.
                        let pixels = line.chunks_exact_mut(pitch).skip(self.padding[1] + left);
                        for (pixel, row) in pixels.zip(&turned(&square)) {
                            write(row, &mut pixel[first..]);
                        }
                    }
                }
                for (column, pixel) in line.chunks_exact_mut(pitch).enumerate() {
                    if !inside.contains(&column) {
                        pixel[first..first + LANES].fill(0.0);
                    }
                }
            }
        }
    }
}

/// Turns lines of pixels back: the channels go to the rows of the planes from element `start` on, and arbitrary numbers to some
/// elements behind them. Lines come in order: what belongs there is written later.
#[inline(always)]
pub(super) fn turn_back<'a>(
    lines: impl Iterator<Item = &'a [f32]> + Clone,
    pitch: usize,
    planes: &mut [&mut [f32]],
    [start, width]: [usize; 2],
) {
    let mut square = ZEROS;
    for (block, planes) in planes.chunks_mut(LANES).enumerate() {
        for (row, line) in lines.clone().enumerate() {
            for left in (0..width).step_by(LANES) {
                let from = &line[left * pitch + block * LANES..];
                gather(&mut square, LANES.min(width - left), |i| &from[i * pitch..]);
                for (plane, row_of_plane) in planes.iter_mut().zip(&turned(&square)) {
                    write(row_of_plane, &mut plane[start + row * width + left..]);
                }
            }
        }
    }
}
