//! What the convolution and its two gradients share: the shape rule, and the panels from which the host multiplies.
//!
//! All three are products with a *panel*: a matrix with one column for each position of a grid, and one row for each
//! channel and each tap of the window, that holds the number which this tap sees from this position ("im2col"). Panels
//! are unfolded for a few rows of positions and a few channels at a time, so that they stay in a core's cache.

mod cases;
mod panels;
mod pieces;
mod settings;
mod sum_cut;
mod winograd;

pub(in crate::ops) use cases::cases;
pub(in crate::ops) use panels::{Planes, Unfold};
pub(in crate::ops) use pieces::Cut;
pub use settings::{Conv2d, WinogradTile};
pub(in crate::ops) use sum_cut::SumCut;
pub(in crate::ops) use winograd::Winograd;

use crate::error::{Error, Result};
use crate::graph::Launch;
use crate::shape::Shape;
use std::collections::BTreeSet;

/// The largest stride, padding, dilation.
const MOST: usize = 65_535;

/// The most elements of the partial sums into which a gradient of a weight is cut.
pub(in crate::ops) const PARTIAL_SUMS: usize = 12 << 20;

/// The lengths of a convolution: `[N, G·channels, input] * [G·maps, channels, kernel] → [N, G·maps, output]`.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Geometry {
    /// N.
    pub images: usize,
    /// G.
    pub groups: usize,
    /// C / G.
    pub channels: usize,
    /// K / G.
    pub maps: usize,
    /// Height and width of x.
    pub input: [usize; 2],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Height and width of y.
    pub output: [usize; 2],
    /// Stride, padding and dilation.
    pub conv: Conv2d,
}

impl Geometry {
    /// The geometry of x `[N, C, H, W]` and weight `[K, C/G, R, S]`; `name` is the operation that asks.
    pub(in crate::ops) fn new(name: &str, conv: &Conv2d, x: Shape, weight: Shape) -> Result<Self> {
        let ([images, c, h, w], [k, channels, r, s]) =
            (axes(name, "x", x)?, axes(name, "weight", weight)?);
        let groups = conv.groups;
        if groups == 0 || k % groups != 0 || c != groups.saturating_mul(channels) {
            return Err(Error::shape(format!(
                "{name}: the weight {weight} does not fit {c} channels in {groups} groups: it must be [K, C / groups, R, S], and groups must divide C and K"
            )));
        }
        let output = [
            output_length(name, [h, r], conv, 0)?,
            output_length(name, [w, s], conv, 1)?,
        ];
        Ok(Self {
            images,
            groups,
            channels,
            maps: k / groups,
            input: [h, w],
            kernel: [r, s],
            output,
            conv: *conv,
        })
    }

    /// The shape of x.
    pub(in crate::ops) fn x(&self) -> Result<Shape> {
        Shape::new(&[
            self.images,
            self.groups * self.channels,
            self.input[0],
            self.input[1],
        ])
    }

    /// The shape of the weight.
    pub(in crate::ops) fn weight(&self) -> Result<Shape> {
        Shape::new(&[
            self.groups * self.maps,
            self.channels,
            self.kernel[0],
            self.kernel[1],
        ])
    }

    /// The shape of y.
    pub(in crate::ops) fn y(&self) -> Result<Shape> {
        Shape::new(&[
            self.images,
            self.groups * self.maps,
            self.output[0],
            self.output[1],
        ])
    }

    /// Taps of the window.
    pub(in crate::ops) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Multiplications and additions of the convolution, and of either gradient.
    pub(in crate::ops) fn flops(&self) -> usize {
        let maps = self.images * self.groups * self.maps;
        2 * maps * self.output[0] * self.output[1] * self.channels * self.taps()
    }

    /// Appends the lengths to a launch as 12 words, and sets the constants: see `shaders/lib/convolution.wgsl`.
    pub(in crate::ops) fn describe(&self, launch: Launch) -> Launch {
        let Conv2d {
            stride,
            padding,
            dilation,
            ..
        } = self.conv;
        launch
            .words(&[self.images, self.groups, self.channels, self.maps])
            .words(&[self.input, self.output, self.kernel, padding].concat())
            .constant("KERNEL_H", self.kernel[0] as f64)
            .constant("KERNEL_W", self.kernel[1] as f64)
            .constant("STRIDE_H", stride[0] as f64)
            .constant("STRIDE_W", stride[1] as f64)
            .constant("DILATION_H", dilation[0] as f64)
            .constant("DILATION_W", dilation[1] as f64)
    }

    /// Whether groups are so small (depthwise convolutions) that a device computes without tiles, which would be as good as
    /// empty.
    pub(in crate::ops) fn is_direct(&self) -> bool {
        self.groups > 1 && self.channels * self.maps <= 4
    }

    /// 1 where a window of one tap moves by one over planes without padding whose area is a multiple of 4, else 0: four
    /// neighbouring positions are then four neighbouring elements, and a vector of the buffer.
    pub(in crate::ops) fn quads(&self) -> f64 {
        let Conv2d {
            stride, padding, ..
        } = self.conv;
        let is_bare = self.taps() == 1 && stride == [1; 2] && padding == [0; 2];
        f64::from(u8::from(
            is_bare && (self.input[0] * self.input[1]).is_multiple_of(4),
        ))
    }

    /// The row (axis 0) or column (axis 1) of x that tap `tap` sees from position `position`, unless it is padding.
    pub(in crate::ops) fn seen(&self, axis: usize, position: usize, tap: usize) -> Option<usize> {
        let conv = &self.conv;
        let padded = position * conv.stride[axis] + tap * conv.dilation[axis];
        padded
            .checked_sub(conv.padding[axis])
            .filter(|&at| at < self.input[axis])
    }

    /// The position from which tap `tap` sees the row or column `at` of x, if there is one.
    pub(in crate::ops) fn seen_from(&self, axis: usize, at: usize, tap: usize) -> Option<usize> {
        let conv = &self.conv;
        let scaled = (at + conv.padding[axis]).checked_sub(tap * conv.dilation[axis])?;
        let position = scaled / conv.stride[axis];
        (scaled % conv.stride[axis] == 0 && position < self.output[axis]).then_some(position)
    }

    /// How the positions of y see x.
    pub(in crate::ops) fn unfold(&self) -> Unfold {
        let conv = &self.conv;
        let offset = |axis: usize, tap: usize| {
            (tap * conv.dilation[axis]) as isize - conv.padding[axis] as isize
        };
        let taps = |r: usize| (0..self.kernel[1]).map(move |s| [offset(0, r), offset(1, s)]);
        Unfold {
            images: self.images,
            source: self.input,
            grid: self.output,
            step: conv.stride,
            taps: (0..self.kernel[0]).flat_map(taps).collect(),
        }
    }

    /// How the positions of x that lie `rows` and `columns` past a multiple of the stride see y. The grid is that of the
    /// multiples, so its last row and column may lie outside of x.
    pub(in crate::ops) fn unfold_phase(&self, rows: &Phase, columns: &Phase) -> Unfold {
        let taps = |row: isize| columns.offsets().map(move |column| [row, column]);
        Unfold {
            images: self.images,
            source: self.output,
            grid: [0, 1].map(|axis| self.input[axis].div_ceil(self.conv.stride[axis])),
            step: [1, 1],
            taps: rows.offsets().flat_map(taps).collect(),
        }
    }

    /// The remainders modulo the stride of those rows (axis 0) or columns (axis 1) of x that some tap sees, in order.
    pub(in crate::ops) fn seen_remainders(&self, axis: usize) -> BTreeSet<usize> {
        let [stride, padding, dilation] =
            [self.conv.stride, self.conv.padding, self.conv.dilation].map(|pair| pair[axis]);
        (0..self.kernel[axis])
            .map(|tap| (tap * dilation + padding * (stride - 1)) % stride)
            .filter(|&remainder| remainder < self.input[axis])
            .collect()
    }

    /// The rows and columns of x that are `phase` modulo the stride, along one axis: which taps see them, and from where.
    pub(in crate::ops) fn phase(&self, axis: usize, phase: usize) -> Phase {
        let (stride, dilation) = (self.conv.stride[axis], self.conv.dilation[axis]);
        let sees =
            |tap: usize| (phase + self.conv.padding[axis]) as isize - (tap * dilation) as isize;
        let taps: Vec<usize> = (0..self.kernel[axis])
            .filter(|&tap| sees(tap) % stride as isize == 0)
            .collect();
        let first = taps.first().copied().unwrap_or(0);
        let step = taps.get(1).map_or(1, |second| second - first);
        Phase {
            first,
            step,
            count: taps.len(),
            offset: sees(first) / stride as isize,
            shift: step * dilation / stride,
        }
    }
}

/// Along one axis, the positions of x that lie `phase` past a multiple of the stride: `phase + stride · i`. Tap
/// `first + step · t` sees them from position `i + offset − shift · t` of y, for t in `0..count`; other taps never do.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Phase {
    /// The first tap.
    pub first: usize,
    /// The taps from one to the next.
    pub step: usize,
    /// The number of taps.
    pub count: usize,
    /// The position of y for i = 0, t = 0.
    pub offset: isize,
    /// How much further up the next tap's position lies.
    pub shift: usize,
}

impl Phase {
    /// What its taps see from position 0.
    fn offsets(&self) -> impl Iterator<Item = isize> {
        let Phase { offset, shift, .. } = *self;
        (0..self.count).map(move |t| offset - (shift * t) as isize)
    }

    /// Its taps.
    pub(in crate::ops) fn taps(&self) -> impl Iterator<Item = usize> {
        (self.first..).step_by(self.step).take(self.count)
    }
}

fn axes(name: &str, what: &str, shape: Shape) -> Result<[usize; 4]> {
    (*shape)
        .try_into()
        .map_err(|_| Error::shape(format!("{name}: {what} needs four axes, has {shape}")))
}

/// The number of positions along an axis.
fn output_length(
    name: &str,
    [length, kernel]: [usize; 2],
    conv: &Conv2d,
    axis: usize,
) -> Result<usize> {
    let (stride, padding, dilation) = (conv.stride[axis], conv.padding[axis], conv.dilation[axis]);
    if stride == 0 || dilation == 0 || stride > MOST || dilation > MOST || padding > MOST {
        return Err(Error::shape(format!(
            "{name}: stride and dilation must lie in 1 to {MOST}, padding in 0 to {MOST}: {conv:?}"
        )));
    }
    if kernel == 0 {
        return Err(Error::shape(format!("{name}: the window has no taps")));
    }
    let padded = length.saturating_add(2 * padding);
    if padded > i32::MAX as usize {
        return Err(Error::shape(format!(
            "{name}: {length} rows or columns are too many; with the padding there may be {}",
            i32::MAX
        )));
    }
    let window = dilation * (kernel - 1) + 1;
    if padded < window {
        return Err(Error::shape(format!(
            "{name}: a window of {kernel} taps with dilation {dilation} covers {window} rows or columns, more than the {padded} of the padded input: the image is too small"
        )));
    }
    Ok((padded - window) / stride + 1)
}
