//! Products by cooperative matrices: what a device offers, how numbers become half precision, and what that may cost.
//!
//! A device with units for small matrices (tensor cores) multiplies f16 by f16 and sums in f32. [`Parts`] says what of
//! reals they are given: it follows from their [`Storage`]. Either way results repeat bit for bit on one device, but they are
//! other bits than those of [`Products::Lanes`]: the products are summed sixteen or eight at a time.
//!
//! # The error of an operand
//!
//! *Halves*: x lies in memory as f16 already, and stays what it is: no error.
//! *Split*: a conversion of t to f16 may round to either neighbour; the spacing of f16 is at most 2⁻¹⁰ |t|, and at least 2⁻²⁴.
//! Here t = s x (Ootomo and Yokota), where the power of two s brings the largest finite magnitude X of the whole
//! tensor to 2¹⁴ ≤ s X < 2¹⁵, or s = 2¹²⁶ where that needs more. high is t rounded to the nearest number of eleven bits, which
//! f16 holds exactly, unless it is subnormal there, and then it is off by 2⁻²⁴ at most. What it leaves, t − high ≤ 2⁻¹¹ |t|, f32
//! holds exactly; low = f16(2¹¹ (t − high)) is finite and off by 2⁻²¹ |t| + 2⁻³⁵ at most in units of t. Of the four products
//! of parts the smallest, low · low ≤ 2⁻²² |t u|, is left out. All this is less than an error of each operand of
//!
//! |δx| ≤ 1.25 · 2⁻²¹ |x| + max(2⁻³⁷ X, 2⁻¹⁴⁹)
//!
//! would cost, and an audit bounds it as such. (What is subnormal in single precision a device may take for zero, here as
//! in its lanes.)
//!
//! # The error of the sums
//!
//! Products of f16 are exact in f32. A matrix unit adds the 16 (or 8) products of a step in blocks of four or more,
//! aligned to the largest and cut off instead of rounded (Fasi et al.), or one after the other. Each addend loses less than
//! 2⁻²³ of the sum of magnitudes M of the step, and so does each block's total: 24 times at most, or 48 units u = 2⁻²⁴.
//! The steps are added outside of the unit, one rounding each, as the paper does: K/16 u. The products with low parts are
//! summed inside of the unit; they are 2⁻¹⁰ times as large, and cutting off 2 · 24 times a step costs less than
//! K/64 u. Joining the two sums takes two roundings. Together 50 + 5 K / 64 units of Σ |a b|, less than the K units that the
//! definition's bound grants, from [`DEPTH`] terms on: below it a device's lanes multiply.
//!
//! # What is not finite
//!
//! *Split*: the scale follows from the finite numbers. An infinity keeps to its high part, and where the high parts give a
//! sum that is not finite, it is the result; all others are as if the infinity were not there. Where lanes would give an
//! infinity, so does this, but for a factor so far below its tensor's largest (2⁻³⁹) that its high part is zero: then the
//! result is no number. Sums that overflow on the way but not in the end are finite here. *Halves*: what was
//! beyond 65,504 when it was stored is infinite, for a loss scale to notice.
//!
//! **Reference.** Ootomo and Yokota, *Recovering single precision accuracy from Tensor Cores while surpassing the FP32
//! theoretical peak performance*, IJHPCA 2022; Fasi, Higham, Mikaitis, Pranesh, *Numerical behavior of NVIDIA tensor
//! cores*, PeerJ CS 2021.

use super::launch::library;
use super::precision::Storage;

/// The terms of a sum from which on matrices may multiply: see the error of the sums.
pub const DEPTH: usize = 64;

/// Matrices that the invocations of a subgroup hold and multiply together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matrices {
    /// Their rows and columns.
    pub side: Side,
    /// The invocations of a subgroup: 8, 16 or 32.
    pub subgroup: u32,
}

/// The rows and columns of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// 8 × 8.
    Eight,
    /// 16 × 16.
    Sixteen,
}

impl Side {
    /// As a number.
    pub fn length(self) -> u32 {
        match self {
            Side::Eight => 8,
            Side::Sixteen => 16,
        }
    }
}

/// What the operands of a product are given to matrices as: it follows from how they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parts {
    /// Single precision, as the sum of two halves: three products, with the error of single precision.
    Split,
    /// The halves that they are: one product.
    Halves,
}

impl Parts {
    /// All there are.
    pub const ALL: [Parts; 2] = [Parts::Split, Parts::Halves];

    /// Of operands that are stored so.
    pub fn of(storage: Storage) -> Self {
        match storage {
            Storage::Full => Parts::Split,
            Storage::Half => Parts::Halves,
        }
    }

    /// How far an operand may be off, which is `x` in a tensor whose largest finite magnitude is `largest`.
    pub fn operand_error(self, x: f64, largest: f64) -> f64 {
        match self {
            _ if !x.is_finite() => 0.0,
            Parts::Split => {
                1.25 * (-21f64).exp2() * x.abs() + ((-37f64).exp2() * largest).max((-149f64).exp2())
            }
            Parts::Halves => 0.0,
        }
    }
}

/// What multiplies the tiles of a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Products {
    /// Every invocation its own numbers, in single precision.
    #[default]
    Lanes,
    /// Matrices, with operands in half precision.
    Matrices(Matrices, Parts),
}

impl Products {
    /// How the operands become half precision, if they do.
    pub fn parts(self) -> Option<Parts> {
        match self {
            Products::Lanes => None,
            Products::Matrices(_, parts) => Some(parts),
        }
    }

    /// The library text that goes in front of all others.
    pub(super) fn side_text(self) -> &'static str {
        match self {
            Products::Lanes => "",
            Products::Matrices(matrices, _) => match matrices.side {
                Side::Eight => library::MATRIX_OF_EIGHT,
                Side::Sixteen => library::MATRIX_OF_SIXTEEN,
            },
        }
    }

    /// The library texts that take the place of [`library::TILE_LANES`].
    pub(super) fn texts(self) -> &'static [&'static str] {
        match self.parts() {
            None => &[library::TILE_LANES],
            Some(Parts::Split) => &[library::TILE_SPLIT, library::TILE_MATRIX],
            Some(Parts::Halves) => &[library::TILE_HALVES, library::TILE_MATRIX],
        }
    }
}

#[cfg(test)]
mod tests;
