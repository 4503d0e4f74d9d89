//! How a convolution moves its window, and how the host computes it.

use crate::error::Result;
use crate::graph::Attributes;

/// The tiles of results in which the host computes convolutions of 3 × 3 windows with stride 1, by Winograd's algorithm
/// F(t × t, 3 × 3). Other convolutions and other executors take no notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WinogradTile {
    /// 2 × 2: 2.25 times fewer multiplications than by the definition.
    #[default]
    Two,
    /// 4 × 4: 4 times fewer, and rounding errors two to three times as large.
    Four,
}

impl WinogradTile {
    /// Their names, as attributes.
    pub const WORDS: [(&'static str, WinogradTile); 2] =
        [("2x2", WinogradTile::Two), ("4x4", WinogradTile::Four)];
}

/// A convolution: how the window moves. See the room `conv2d`. Pairs are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Rows and columns from one position of the window to the next.
    pub stride: [usize; 2],
    /// Rows and columns of nothing around x.
    pub padding: [usize; 2],
    /// Rows and columns from one tap of the window to the next.
    pub dilation: [usize; 2],
    /// Into how many groups the channels of x and y are cut; each sees its own only.
    pub groups: usize,
    /// How the host computes, where the window allows a choice.
    pub winograd: WinogradTile,
}

impl Default for Conv2d {
    /// Stride 1, no padding, no dilation, one group, tiles of 2 × 2.
    fn default() -> Self {
        Self {
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
            winograd: WinogradTile::Two,
        }
    }
}

impl Conv2d {
    /// How it is written.
    pub(in crate::ops) fn attributes(&self) -> Attributes {
        let attributes = Attributes::none()
            .with("stride", self.stride.as_slice())
            .with("padding", self.padding.as_slice())
            .with("dilation", self.dilation.as_slice())
            .with("groups", self.groups);
        match self.winograd {
            WinogradTile::Two => attributes,
            WinogradTile::Four => attributes.with("winograd", "4x4"),
        }
    }

    /// The convolution with the given attributes; those left out take their defaults.
    pub(in crate::ops) fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            stride: attributes.pair("stride", [1; 2])?,
            padding: attributes.pair("padding", [0; 2])?,
            dilation: attributes.pair("dilation", [1; 2])?,
            groups: attributes.int("groups", 1)?,
            winograd: attributes.choice("winograd", WinogradTile::Two, &WinogradTile::WORDS)?,
        })
    }
}
