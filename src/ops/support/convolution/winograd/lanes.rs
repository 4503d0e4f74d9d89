//! Vectors of channels, and transforms of squares of them.

use super::algorithm::Number;
use crate::product::square::SIDE;
use pulp::Simd;
use std::ops::{Add, Mul, Neg, Sub};

/// The lanes that the channels of a pixel are padded to: those of the widest machines.
pub(super) const LANES: usize = SIDE;

/// As many lanes as full vectors have.
pub(super) fn padded(planes: usize) -> usize {
    planes.next_multiple_of(LANES)
}

/// The elements from one point of a piece to the next: as far apart that neighbours do not share a place in the first-level
/// cache.
pub(super) fn distance(tiles: usize, planes: usize) -> usize {
    const WAY: usize = 1024;
    (tiles * padded(planes)).next_multiple_of(WAY) + 5 * LANES
}

/// A vector of neighbouring channels, as wide as this machine's are.
#[derive(Clone, Copy)]
pub(super) struct Vector<S: Simd> {
    simd: S,
    lanes: S::f32s,
}

impl<S: Simd> Vector<S> {
    /// A vector of zeros.
    #[inline(always)]
    pub(super) fn zero(simd: S) -> Self {
        let lanes = simd.splat_f32s(0.0);
        Self { simd, lanes }
    }

    /// The vector that stands at a place.
    #[inline(always)]
    pub(super) fn read(simd: S, from: &[f32], at: usize) -> Self {
        let lanes = S::as_simd_f32s(&from[at..at + S::F32_LANES]).0[0];
        Self { simd, lanes }
    }

    /// Writes the vector to a place.
    #[inline(always)]
    pub(super) fn write(self, to: &mut [f32], at: usize) {
        S::as_mut_simd_f32s(&mut to[at..at + S::F32_LANES]).0[0] = self.lanes;
    }
}

impl<S: Simd> Add for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let lanes = self.simd.add_f32s(self.lanes, other.lanes);
        Self { lanes, ..self }
    }
}

impl<S: Simd> Sub for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let lanes = self.simd.sub_f32s(self.lanes, other.lanes);
        Self { lanes, ..self }
    }
}

impl<S: Simd> Mul<f32> for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, factor: f32) -> Self {
        let factor = self.simd.splat_f32s(factor);
        let lanes = self.simd.mul_f32s(self.lanes, factor);
        Self { lanes, ..self }
    }
}

impl<S: Simd> Neg for Vector<S> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        let lanes = self.simd.neg_f32s(self.lanes);
        Self { lanes, ..self }
    }
}

impl<S: Simd> Number for Vector<S> {}

/// Transforms a square of `IN` × `IN` vectors along its rows, then along its columns, to one of `OUT` × `OUT`: gives each
/// with its place, row by row.
#[inline(always)]
pub(super) fn around<S: Simd, const IN: usize, const OUT: usize>(
    simd: S,
    square: impl Fn(usize, usize) -> Vector<S>,
    along: impl Fn([Vector<S>; IN]) -> [Vector<S>; OUT],
    mut put: impl FnMut(usize, Vector<S>),
) {
    let mut half = [[Vector::zero(simd); OUT]; IN];
    for (i, row) in half.iter_mut().enumerate() {
        let mut own = [Vector::zero(simd); IN];
        for (j, own) in own.iter_mut().enumerate() {
            *own = square(i, j);
        }
        *row = along(own);
    }
    for j in 0..OUT {
        let mut own = [Vector::zero(simd); IN];
        for (own, row) in own.iter_mut().zip(&half) {
            *own = row[j];
        }
        for (i, values) in along(own).into_iter().enumerate() {
            put(i * OUT + j, values);
        }
    }
}
