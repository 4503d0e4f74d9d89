//! What is worth checking of a product of matrices.

use super::epilogue::Activation::{self, Gelu, Identity, Relu};
use crate::ops::Transpose::{self, No, Yes};

/// What a case is about; whether a and b are transposed; the lengths of a and b.
pub(in crate::ops) type Lengths = (
    &'static str,
    Transpose,
    Transpose,
    &'static [usize],
    &'static [usize],
);

/// The cases of two operands.
#[rustfmt::skip]
pub(in crate::ops) const CASES: &[Lengths] = &[
    ("a few", No, No, &[5, 7], &[7, 3]),
    ("a transposed", Yes, No, &[7, 5], &[7, 3]),
    ("b transposed", No, Yes, &[5, 7], &[3, 7]),
    ("both transposed", Yes, Yes, &[7, 5], &[3, 7]),
    ("a tile", No, No, &[64, 16], &[16, 64]),
    ("a tile and one", No, Yes, &[65, 17], &[65, 17]),
    ("a tile less one", Yes, No, &[15, 63], &[15, 63]),
    ("one row, many columns", No, No, &[1, 33], &[33, 515]),
    ("seventeen rows", No, Yes, &[17, 19], &[300, 19]),
    ("one column", No, No, &[130, 9], &[9, 1]),
    ("one number", No, No, &[1, 1], &[1, 1]),
    ("a batch", No, No, &[2, 3, 5, 7], &[2, 3, 7, 4]),
    ("a batch, transposed", Yes, Yes, &[3, 7, 5], &[3, 4, 7]),
    ("one b for the batch", No, Yes, &[3, 5, 7], &[4, 7]),
    ("one b, a transposed", Yes, No, &[3, 7, 5], &[7, 4]),
    ("one a for the batch", No, No, &[5, 7], &[3, 7, 4]),
    ("a batch of tiles", No, No, &[2, 65, 5], &[2, 5, 66]),
    ("a batch of tiles, transposed", Yes, Yes, &[2, 5, 66], &[2, 129, 5]),
    ("one b for a batch of tiles", No, Yes, &[3, 66, 5], &[65, 5]),
    ("vectors of both", Yes, No, &[2, 17, 132], &[2, 17, 260]),
    ("vectors of few", Yes, No, &[3, 5, 8], &[3, 5, 12]),
    ("three tiles of rows", No, No, &[130, 3], &[3, 2]),
    ("three tiles of columns", No, No, &[2, 3], &[3, 130]),
    ("depths around a step of tiles", No, Yes, &[3, 33], &[5, 33]),
    ("rows enough that the host turns b", No, Yes, &[2, 67, 37], &[41, 37]),
    ("long sums", No, No, &[67, 131], &[131, 70]),
    ("long sums, a transposed", Yes, No, &[97, 65], &[97, 129]),
    ("long sums, b transposed", No, Yes, &[130, 64], &[66, 64]),
    ("long sums, few results", Yes, Yes, &[2, 200, 5], &[2, 3, 200]),
    ("long sums over vectors", Yes, No, &[2, 80, 132], &[2, 80, 68]),
    ("long sums, one b for all", No, No, &[3, 43, 65], &[65, 72]),
    ("long sums, one a for all", No, Yes, &[9, 70], &[3, 135, 70]),
    ("a sum of a thousand", No, No, &[2, 1000], &[1000, 33]),
    ("an empty sum", No, No, &[3, 0], &[0, 4]),
    ("no rows", No, No, &[0, 3], &[3, 4]),
    ("no batch", No, No, &[0, 2, 3], &[0, 3, 4]),
];

/// The same with how many further inputs, a bias of as many elements as the product has columns and a residual; the activation.
#[rustfmt::skip]
pub(in crate::ops) const FOLLOWED: &[(Lengths, usize, Activation)] = &[
    (("a bias", No, No, &[5, 7], &[7, 3]), 1, Identity),
    (("tiles and a bias", No, Yes, &[2, 67, 19], &[131, 19]), 1, Identity),
    (("long sums and a bias", No, Yes, &[97, 131], &[67, 131]), 1, Identity),
    (("a batch and a bias", Yes, No, &[3, 7, 5], &[3, 7, 4]), 1, Identity),
    (("a sum of a thousand and a bias", No, No, &[2, 1000], &[1000, 33]), 1, Identity),
    (("an empty sum and a bias", No, No, &[3, 0], &[0, 4]), 1, Identity),
    (("no rows and a bias", No, No, &[0, 3], &[3, 4]), 1, Identity),
    (("several runs of columns and depth, and a bias", No, No, &[3, 520], &[520, 133]), 1, Identity),
    (("only rectified", No, No, &[5, 7], &[7, 3]), 0, Relu),
    (("tiles, only GELU", Yes, No, &[19, 67], &[19, 131]), 0, Gelu),
    (("a bias, rectified", No, No, &[5, 7], &[7, 3]), 1, Relu),
    (("tiles, a bias, GELU", No, Yes, &[2, 67, 19], &[131, 19]), 1, Gelu),
    (("tiles and a residual", No, Yes, &[2, 67, 19], &[131, 19]), 2, Identity),
    (("long sums, a residual, rectified", No, Yes, &[97, 131], &[67, 131]), 2, Relu),
    (("a batch, a residual, GELU", Yes, No, &[3, 7, 5], &[3, 7, 4]), 2, Gelu),
    (("several runs of columns and depth, a residual, rectified", No, No, &[3, 520], &[520, 133]), 2, Relu),
    (("an empty sum, a residual, GELU", No, No, &[3, 0], &[0, 4]), 2, Gelu),
];
