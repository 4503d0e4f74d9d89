//! The bound of the error.

use super::Winograd;
use super::algorithm::{Algorithm, Four, Two};
use crate::ops::WinogradTile;
use crate::real::{Real, UNIT};

impl Winograd {
    /// The bound of the error of the result `[image, map, i, j]`.
    pub(in crate::ops) fn error(&self, operands: [&[impl Real]; 2], at: [usize; 4]) -> f64 {
        match self.tile {
            WinogradTile::Two => self.error_by::<Two, 2, 4>(operands, at),
            WinogradTile::Four => self.error_by::<Four, 4, 6>(operands, at),
        }
    }

    fn error_by<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        [source, weight]: [&[impl Real]; 2],
        [image, map, i, j]: [usize; 4],
    ) -> f64 {
        let mut magnitude = 0.0;
        for channel in 0..self.channels {
            let start = 9 * self.window(channel, map);
            let window = square(|r, s| weight[start + self.tap(3 * r + s)].value().abs());
            let plane = image * self.channels + channel;
            let patch = self.patch::<SIDE>(source, plane, [i / TILE, j / TILE]);
            let (window, patch) = (around(&A::WINDOW, window), around(&A::PATCH, patch));
            let products = square(|r, s| window[r][s] * patch[r][s]);
            magnitude += around(&A::RESULTS, products)[i % TILE][j % TILE];
        }
        gamma(self.channels + A::STEPS) * magnitude
    }

    /// The bound of the error of the gradient of the weight `[map, channel, r, s]`.
    pub(in crate::ops) fn weight_grad_error(
        &self,
        operands: [&[impl Real]; 2],
        at: [usize; 4],
    ) -> f64 {
        match self.tile {
            WinogradTile::Two => self.weight_grad_error_by::<Two, 2, 4>(operands, at),
            WinogradTile::Four => self.weight_grad_error_by::<Four, 4, 6>(operands, at),
        }
    }

    fn weight_grad_error_by<A: Algorithm<TILE, SIDE>, const TILE: usize, const SIDE: usize>(
        &self,
        [x, output_grad]: [&[impl Real]; 2],
        [map, channel, r, s]: [usize; 4],
    ) -> f64 {
        let [high, wide] = self.tiles();
        let mut products = [[0.0; SIDE]; SIDE];
        for (image, tile) in (0..self.images).flat_map(|n| (0..high * wide).map(move |t| (n, t))) {
            let at = [tile / wide, tile % wide];
            let plane = (image * self.maps + map) * self.grid[0] * self.grid[1];
            let grads: [[f64; TILE]; TILE] = square(|i, j| {
                let [row, column] = [TILE * at[0] + i, TILE * at[1] + j];
                if row < self.grid[0] && column < self.grid[1] {
                    output_grad[plane + row * self.grid[1] + column]
                        .value()
                        .abs()
                } else {
                    0.0
                }
            });
            let patch = self.patch::<SIDE>(x, image * self.channels + channel, at);
            let grads = around(&turned(&A::RESULTS), grads);
            let patch = around(&A::PATCH, patch);
            for (i, row) in products.iter_mut().enumerate() {
                (0..SIDE).for_each(|j| row[j] += grads[i][j] * patch[i][j]);
            }
        }
        let magnitude = around(&turned(&A::WINDOW), products)[r][s];
        gamma(self.images * high * wide + A::STEPS) * magnitude
    }

    /// The absolute values that a tile sees of a plane, counted across images.
    fn patch<const SIDE: usize>(
        &self,
        source: &[impl Real],
        plane: usize,
        tile: [usize; 2],
    ) -> [[f64; SIDE]; SIDE] {
        let seen = |axis: usize, offset: usize| {
            let at = ((SIDE - 2) * tile[axis] + offset).checked_sub(self.padding[axis]);
            at.filter(|&at| at < self.source[axis])
        };
        let [height, width] = self.source;
        square(|i, j| match (seen(0, i), seen(1, j)) {
            (Some(row), Some(column)) => source[(plane * height + row) * width + column]
                .value()
                .abs(),
            _ => 0.0,
        })
    }
}

/// The error of a chain of so many roundings, relative to the sum of the terms' absolute values.
fn gamma(depth: usize) -> f64 {
    let accumulated = depth as f64 * UNIT;
    accumulated / (1.0 - accumulated)
}

fn square<const N: usize>(element: impl Fn(usize, usize) -> f64) -> [[f64; N]; N] {
    std::array::from_fn(|i| std::array::from_fn(|j| element(i, j)))
}

/// |m| · x · |m|ᵀ.
fn around<const IN: usize, const OUT: usize>(
    m: &[[f64; IN]; OUT],
    x: [[f64; IN]; IN],
) -> [[f64; OUT]; OUT] {
    let inner = |i: usize, l: usize| (0..IN).map(|k| m[i][k].abs() * x[k][l]).sum::<f64>();
    square(|i, j| (0..IN).map(|l| inner(i, l) * m[j][l].abs()).sum())
}

fn turned<const ROWS: usize, const COLUMNS: usize>(
    m: &[[f64; COLUMNS]; ROWS],
) -> [[f64; ROWS]; COLUMNS] {
    std::array::from_fn(|j| std::array::from_fn(|i| m[i][j]))
}
