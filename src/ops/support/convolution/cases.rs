//! What is worth checking of a convolution and its gradients.

use super::{Geometry, Winograd};
use crate::ops::{Conv2d, WinogradTile};

type Case = (
    &'static str,
    [usize; 2],
    [usize; 2],
    [usize; 2],
    usize,
    [usize; 4],
    [usize; 4],
);

/// What it is about; stride, padding, dilation, groups; x [N, C, H, W]; the weight [K, C/G, R, S].
#[rustfmt::skip]
const CASES: &[Case] = &[
    ("3 × 3, padded", [1, 1], [1, 1], [1, 1], 1, [2, 3, 5, 7], [4, 3, 3, 3]),
    ("3 × 3, bare", [1, 1], [0, 0], [1, 1], 1, [1, 2, 6, 5], [3, 2, 3, 3]),
    ("1 × 1", [1, 1], [0, 0], [1, 1], 1, [3, 5, 4, 4], [6, 5, 1, 1]),
    ("half size, even", [2, 2], [1, 1], [1, 1], 1, [2, 3, 8, 6], [4, 3, 3, 3]),
    ("half size, odd", [2, 2], [1, 1], [1, 1], 1, [2, 3, 7, 9], [4, 3, 3, 3]),
    ("1 × 1, half size", [2, 2], [0, 0], [1, 1], 1, [2, 4, 7, 6], [5, 4, 1, 1]),
    ("a stem", [2, 2], [3, 3], [1, 1], 1, [1, 3, 15, 14], [8, 3, 7, 7]),
    ("a stride longer than the window", [5, 4], [2, 1], [1, 2], 1, [2, 2, 17, 14], [3, 2, 2, 3]),
    ("a stride longer than the image", [60_000, 9], [0, 3], [1, 1], 1, [2, 2, 7, 5], [3, 2, 2, 1]),
    ("dilated", [1, 1], [2, 2], [2, 2], 1, [1, 2, 7, 8], [3, 2, 3, 3]),
    ("every pair unequal", [3, 2], [0, 2], [2, 3], 1, [2, 2, 11, 13], [3, 2, 2, 4]),
    ("dilation and stride share a factor", [4, 2], [1, 2], [2, 4], 1, [1, 2, 13, 15], [2, 2, 3, 3]),
    ("two groups", [1, 1], [1, 1], [1, 1], 2, [2, 4, 5, 4], [6, 2, 3, 3]),
    ("depthwise, half size", [2, 2], [1, 1], [1, 1], 67, [1, 67, 5, 6], [67, 1, 3, 3]),
    ("depthwise, three maps each", [1, 1], [1, 1], [1, 1], 5, [2, 5, 6, 7], [15, 1, 3, 3]),
    ("depthwise, a large window", [1, 1], [3, 3], [1, 1], 17, [2, 17, 9, 11], [17, 1, 7, 7]),
    ("depthwise, every pair unequal", [3, 2], [0, 2], [2, 3], 5, [2, 5, 11, 13], [10, 1, 2, 4]),
    ("1 × 1, two groups, several tiles", [1, 1], [0, 0], [1, 1], 2, [5, 6, 4, 7], [70, 3, 1, 1]),
    ("many groups of some channels", [1, 1], [1, 1], [1, 1], 130, [1, 260, 4, 5], [390, 2, 3, 3]),
    ("signals, dilated", [1, 2], [0, 6], [1, 3], 1, [2, 3, 1, 41], [4, 3, 1, 5]),
    ("padding beyond the window", [1, 1], [2, 3], [1, 1], 1, [1, 2, 3, 4], [3, 2, 1, 2]),
    ("positions that no tap sees", [3, 4], [0, 0], [1, 1], 1, [1, 2, 8, 9], [3, 2, 2, 1]),
    ("a window of the size of x", [1, 1], [0, 0], [1, 1], 1, [2, 3, 4, 5], [7, 3, 4, 5]),
    ("one more than tiles", [1, 1], [1, 1], [1, 1], 1, [1, 65, 5, 13], [65, 65, 1, 1]),
    ("wide", [1, 1], [1, 1], [1, 1], 1, [2, 2, 3, 300], [2, 2, 3, 3]),
    ("a long sum over positions", [1, 1], [1, 1], [1, 1], 1, [5, 2, 13, 17], [3, 2, 3, 3]),
    ("groups over many tiles of positions", [1, 1], [1, 1], [1, 1], 2, [3, 6, 17, 19], [6, 3, 3, 3]),
    ("groups over many tiles of maps", [1, 1], [0, 0], [1, 1], 2, [1, 4, 3, 11], [260, 2, 1, 2]),
    ("groups over many tiles of channels", [2, 1], [0, 1], [1, 1], 2, [1, 134, 7, 5], [4, 67, 2, 3]),
    ("long sums, half size", [2, 2], [1, 1], [1, 1], 1, [2, 23, 9, 13], [66, 23, 3, 3]),
    ("long sums of two groups, dilated", [1, 1], [2, 2], [2, 2], 2, [1, 32, 9, 11], [140, 16, 3, 3]),
    ("long sums over vectors", [1, 1], [0, 0], [1, 1], 1, [3, 72, 8, 6], [65, 72, 1, 1]),
    ("long sums, bare, unequal", [1, 2], [0, 3], [1, 1], 1, [2, 17, 7, 15], [70, 17, 2, 5]),
    ("one element", [1, 1], [0, 0], [1, 1], 1, [1, 1, 1, 1], [1, 1, 1, 1]),
    ("no maps", [1, 1], [1, 1], [1, 1], 1, [2, 3, 4, 4], [0, 3, 3, 3]),
    ("no images", [1, 1], [1, 1], [1, 1], 1, [0, 3, 4, 4], [2, 3, 3, 3]),
    ("no channels", [1, 1], [1, 1], [1, 1], 1, [1, 0, 4, 4], [2, 0, 3, 3]),
    ("more channels than a panel holds", [1, 1], [1, 1], [1, 1], 1, [1, 70, 16, 17], [2, 70, 3, 3]),
    ("more maps than a panel holds", [1, 1], [1, 1], [1, 1], 1, [1, 2, 16, 17], [70, 2, 3, 3]),
    ("by Winograd's algorithm", [1, 1], [1, 1], [1, 1], 1, [2, 18, 9, 13], [17, 18, 3, 3]),
    ("by Winograd's algorithm, bare, tall", [1, 1], [0, 0], [1, 1], 1, [1, 16, 67, 5], [20, 16, 3, 3]),
    ("by Winograd's algorithm, unequal padding", [1, 1], [2, 0], [1, 1], 1, [7, 33, 4, 6], [16, 33, 3, 3]),
    ("by Winograd's algorithm, many maps", [1, 1], [1, 1], [1, 1], 1, [3, 16, 7, 7], [131, 16, 3, 3]),
    ("by Winograd's algorithm, many channels", [1, 1], [1, 1], [1, 1], 1, [2, 131, 8, 8], [16, 131, 3, 3]),
];

/// The cases: what they are about, the attributes, the geometry.
pub(in crate::ops) fn cases() -> Vec<(&'static str, Conv2d, Geometry)> {
    let case = |&(about, stride, padding, dilation, groups, x, weight): &Case| {
        let conv = Conv2d {
            stride,
            padding,
            dilation,
            groups,
            ..Conv2d::default()
        };
        let geometry = Geometry::new("conv2d", &conv, x.into(), weight.into());
        (
            about,
            conv,
            geometry.unwrap_or_else(|e| unreachable!("{e}")),
        )
    };
    let cases: Vec<_> = CASES.iter().map(case).collect();
    let in_large_tiles = |(about, conv, geometry): &(_, Conv2d, Geometry)| {
        let winograd = WinogradTile::Four;
        let (conv, geometry) = (Conv2d { winograd, ..*conv }, *geometry);
        (*about, conv, Geometry { conv, ..geometry })
    };
    let by_winograd = |(_, _, geometry): &&(_, _, Geometry)| Winograd::new(geometry).is_some();
    let large: Vec<_> = cases
        .iter()
        .filter(by_winograd)
        .map(in_large_tiles)
        .collect();
    [cases, large].concat()
}
