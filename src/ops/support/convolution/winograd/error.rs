//! The bound of the error.

use super::{Windows, Winograd};
use crate::real::{Real, UNIT};

/// Bᵀ.
const PATCH: [[f64; 4]; 4] = [
    [1.0, 0.0, -1.0, 0.0],
    [0.0, 1.0, 1.0, 0.0],
    [0.0, -1.0, 1.0, 0.0],
    [0.0, 1.0, 0.0, -1.0],
];
/// G.
const WINDOW: [[f64; 3]; 4] = [
    [1.0, 0.0, 0.0],
    [0.5, 0.5, 0.5],
    [0.5, -0.5, 0.5],
    [0.0, 0.0, 1.0],
];
/// Aᵀ.
const TILE: [[f64; 4]; 2] = [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, -1.0]];

/// Products and additions that a term passes through on its way, beside the long sum.
const STEPS: usize = 11;

impl Winograd {
    /// The bound of the error of the result `[image, map, i, j]`.
    pub(in crate::ops) fn error(
        &self,
        [source, weight]: [&[impl Real]; 2],
        [image, map, i, j]: [usize; 4],
    ) -> f64 {
        let mut magnitude = 0.0;
        for channel in 0..self.channels {
            let start = match self.windows {
                Windows::Upright => map * self.channels + channel,
                Windows::Turned => channel * self.maps + map,
            };
            let window = square(|r, s| {
                let tap = match self.windows {
                    Windows::Upright => 3 * r + s,
                    Windows::Turned => 8 - (3 * r + s),
                };
                weight[9 * start + tap].value().abs()
            });
            let patch = self.patch(source, image * self.channels + channel, [i / 2, j / 2]);
            let (window, patch) = (around(&WINDOW, window), around(&PATCH, patch));
            let products = square(|r, s| window[r][s] * patch[r][s]);
            magnitude += around(&TILE, products)[i % 2][j % 2];
        }
        gamma(self.channels + STEPS) * magnitude
    }

    /// The bound of the error of the gradient of the weight `[map, channel, r, s]`.
    pub(in crate::ops) fn weight_grad_error(
        &self,
        [x, output_grad]: [&[impl Real]; 2],
        [map, channel, r, s]: [usize; 4],
    ) -> f64 {
        let [high, wide] = self.tiles();
        let mut products = [[0.0; 4]; 4];
        for (image, tile) in (0..self.images).flat_map(|n| (0..high * wide).map(move |t| (n, t))) {
            let at = [tile / wide, tile % wide];
            let plane = (image * self.maps + map) * self.grid[0] * self.grid[1];
            let grads: [[f64; 2]; 2] = square(|i, j| {
                let [row, column] = [2 * at[0] + i, 2 * at[1] + j];
                if row < self.grid[0] && column < self.grid[1] {
                    output_grad[plane + row * self.grid[1] + column]
                        .value()
                        .abs()
                } else {
                    0.0
                }
            });
            let patch = self.patch(x, image * self.channels + channel, at);
            let (grads, patch) = (around(&turned(&TILE), grads), around(&PATCH, patch));
            for (i, row) in products.iter_mut().enumerate() {
                (0..4).for_each(|j| row[j] += grads[i][j] * patch[i][j]);
            }
        }
        let magnitude = around(&turned(&WINDOW), products)[r][s];
        gamma(self.images * high * wide + STEPS) * magnitude
    }

    /// The absolute values that a tile sees of a plane, counted across images.
    fn patch(&self, source: &[impl Real], plane: usize, tile: [usize; 2]) -> [[f64; 4]; 4] {
        let seen = |axis: usize, offset: usize| {
            let at = (2 * tile[axis] + offset).checked_sub(self.padding[axis]);
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
