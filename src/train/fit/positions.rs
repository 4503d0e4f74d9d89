//! Learned tables of positions for images of another size: the table is an image of D channels, and is resized as one.
//!
//! Both ways use cubic convolution (Keys, *Cubic convolution interpolation for digital image processing*, IEEE TASSP 1981,
//! equation 15, with the free coefficient a):
//! - [`Resampling::Antialiased`], as timm's `resample_abs_pos_embed`: a = −1/2, and where the table becomes smaller the
//!   kernel widens, so that every row counts. Weights are normalised to sum to 1, also where the border cuts the kernel.
//! - [`Resampling::Offset`], as DINOv2 does it while running: a = −3/4, no widening, the border repeated; and positions are
//!   spaced as if the new grid were 0.1 longer (its authors met rounding trouble without), also along an axis that keeps
//!   its length while the other one changes.
//!
//! Computed in f64. PyTorch rounds the positions too, to f32: for a table of 37×37 it differs by some 1e-5 of the spread.

use crate::array::Array;
use crate::error::{Error, Result};
use serde::Serialize;

/// How a table is resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Resampling {
    /// As timm.
    #[default]
    Antialiased,
    /// As DINOv2.
    Offset,
}

impl Resampling {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Resampling::Antialiased => "antialiased",
            Resampling::Offset => "with DINOv2's offset",
        }
    }
}

/// By how much DINOv2 takes the new grid for longer than it is.
const OFFSET: f64 = 0.1;

/// The table [1, prefix + h·w, D] of a grid of h × w patches, made from that of the grid `from`; the rows of the prefix stay
/// as they are, and so does the whole table where the grids are the same.
///
/// # Errors
/// The table is not of these shapes.
pub fn resize(
    table: &Array,
    prefix: usize,
    from: [usize; 2],
    to: [usize; 2],
    resampling: Resampling,
) -> Result<Array> {
    let shape = table.shape();
    let [rows, columns] = from;
    let is_grid = |all: usize| {
        let patches = rows.checked_mul(columns).filter(|&n| n > 0);
        patches.and_then(|patches| patches.checked_add(prefix)) == Some(all)
    };
    let width = match *shape {
        [1, all, width] if is_grid(all) => width,
        _ => {
            return Err(Error::checkpoint(format!(
                "a table of positions {shape} is not [1, {prefix} + {rows}·{columns}, D]: it cannot be resized"
            )));
        }
    };
    if from == to {
        return Ok(table.clone());
    }
    let values = table.to_f64();
    let (kept, patches) = values.split_at(prefix * width);
    // [H, W, D] → [h, W, D] → [h, w, D]
    let tall = along(
        patches,
        [1, rows, columns * width],
        &taps(rows, to[0], resampling),
    );
    let resized = along(
        &tall,
        [to[0], columns, width],
        &taps(columns, to[1], resampling),
    );
    let numbers = kept.iter().chain(&resized).map(|&x| x as f32);
    Array::new(
        [1, prefix + to[0] * to[1], width],
        numbers.collect::<Vec<_>>(),
    )
}

/// The rows of the old axis that a row of the new one is made of, with their weights.
type Taps = Vec<(usize, f64)>;

/// `x` [outer, n, inner] → [outer, taps, inner].
fn along(x: &[f64], [outer, n, inner]: [usize; 3], taps: &[Taps]) -> Vec<f64> {
    let mut y = vec![0.0; outer * taps.len() * inner];
    let rows = y.chunks_exact_mut(inner.max(1)).enumerate();
    for (row, sums) in rows {
        let (block, place) = (row / taps.len(), row % taps.len());
        for &(from, weight) in &taps[place] {
            let source = &x[(block * n + from) * inner..][..inner];
            for (sum, value) in sums.iter_mut().zip(source) {
                *sum += weight * value;
            }
        }
    }
    y
}

fn taps(from: usize, to: usize, resampling: Resampling) -> Vec<Taps> {
    let each = 0..to;
    match resampling {
        Resampling::Antialiased => each.map(|i| antialiased(i, from, to)).collect(),
        Resampling::Offset => each.map(|i| offset(i, from, to)).collect(),
    }
}

/// Position i of `to`, as `upsample_bicubic2d_aa` in PyTorch.
fn antialiased(i: usize, from: usize, to: usize) -> Taps {
    let ratio = from as f64 / to as f64;
    let widening = ratio.max(1.0);
    let centre = (i as f64 + 0.5) * ratio;
    let first = (centre - 2.0 * widening + 0.5).max(0.0) as usize;
    let end = ((centre + 2.0 * widening + 0.5) as usize).min(from);
    let weight = |j: usize| cubic((j as f64 + 0.5 - centre) / widening, -0.5);
    let sum: f64 = (first..end).map(weight).sum();
    (first..end).map(|j| (j, weight(j) / sum)).collect()
}

/// Position i of `to`, as `upsample_bicubic2d` in PyTorch with a scale factor of (to + 0.1) / from.
fn offset(i: usize, from: usize, to: usize) -> Taps {
    let ratio = from as f64 / (to as f64 + OFFSET);
    let place = (i as f64 + 0.5) * ratio - 0.5;
    let below = place.floor();
    let tap = |step: f64| {
        let at = (below + step).clamp(0.0, (from - 1) as f64) as usize;
        (at, cubic(place - below - step, -0.75))
    };
    [-1.0, 0.0, 1.0, 2.0].map(tap).to_vec()
}

/// Keys' kernel at distance x.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}
