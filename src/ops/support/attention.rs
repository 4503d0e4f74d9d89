//! What the attention, its gradient and its weights share: the shape rule, the scores, and the cases.

mod cases;

pub(in crate::ops) use cases::{cases, results};

use super::exp_of_negative;
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{Launch, Tensor, expect_index, expect_reals};
use crate::ops::{Attention, ScoreMap};
use crate::product::{Accumulate, Matrix, MatrixMut, product};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;

/// The side of a tile on a device.
pub(in crate::ops) const TILE: usize = 64;
/// The queries of a piece of work on the host, at most: their scores stay in a core's cache.
const QUERIES: usize = 64;

/// The lengths of an attention, and what becomes of its scores.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Heads {
    /// N.
    pub samples: usize,
    /// Tokens that ask, in each sample.
    pub queries: usize,
    /// Tokens that are looked at.
    pub keys: usize,
    /// How many heads share the channels.
    pub heads: usize,
    /// The channels of a head.
    pub head_dim: usize,
    /// What products are multiplied by.
    pub scale: f64,
    /// What scaled products pass.
    pub score_map: ScoreMap,
}

impl Heads {
    /// The lengths for q and k whose shapes fit.
    pub(in crate::ops) fn of(op: &Attention, q: Shape, k: Shape) -> Self {
        let head_dim = q[2] / op.num_heads;
        Self {
            samples: q[0],
            queries: q[1],
            keys: k[1],
            heads: op.num_heads,
            head_dim,
            scale: op.scale.unwrap_or(1.0 / (head_dim as f64).sqrt()),
            score_map: op.score_map,
        }
    }

    /// The lengths for q `[N, T, D]`, k `[N, S, D]` and mask `[N, S]`, or why they do not fit; `name` is the operation
    /// that asks.
    pub(in crate::ops) fn expect(
        name: &str,
        op: &Attention,
        [q, k, mask]: [Spec; 3],
    ) -> Result<Self> {
        let [q, k] = expect_reals(name, &[q, k])?;
        let mask = expect_index(name, "mask", mask)?;
        let ([n, _, d], [m, s, e]) = (axes(name, "q", q)?, axes(name, "k", k)?);
        if n != m || d != e {
            return Err(Error::shape(format!(
                "{name}: q {q} and k {k} differ in samples or channels"
            )));
        }
        if *mask != [n, s] {
            return Err(Error::shape(format!(
                "{name}: the mask {mask} must have the axes [N, S] of k {k}"
            )));
        }
        if op.num_heads == 0 || d == 0 || d % op.num_heads != 0 {
            return Err(Error::shape(format!(
                "{name}: {d} channels cannot be shared among {} heads",
                op.num_heads
            )));
        }
        let heads = Self::of(op, q, k);
        if heads.scale.abs() <= 1e30 {
            Ok(heads)
        } else {
            Err(Error::shape(format!(
                "{name}: the scale must lie between −1e30 and 1e30, got {}",
                heads.scale
            )))
        }
    }

    /// The channels of a token.
    pub(in crate::ops) fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// How many pairs of a query and a key there are in all heads.
    pub(in crate::ops) fn pairs(&self) -> usize {
        self.samples * self.heads * self.queries * self.keys
    }

    /// The offset of the first number of a head, where `token` counts the tokens of all samples.
    pub(in crate::ops) fn start(&self, token: usize, head: usize) -> usize {
        token * self.width() + head * self.head_dim
    }

    /// The score of a query's head with a key's, by their offsets, and its slope in the scaled product.
    pub(in crate::ops) fn score<R: Real>(
        &self,
        [q, k]: [&[R]; 2],
        [query, key]: [usize; 2],
    ) -> [R; 2] {
        let x = self.dot([q, k], [query, key]) * R::constant(self.scale);
        match self.score_map {
            ScoreMap::Identity => [x, R::ONE],
            ScoreMap::Sigmoid => {
                let e = (-x.abs()).exp();
                let numerator = if x < R::ZERO { e } else { R::ONE };
                let sum = R::ONE + e;
                [numerator / sum, e / (sum * sum)]
            }
        }
    }

    /// The product of two heads' channels.
    pub(in crate::ops) fn dot<R: Real>(&self, [a, b]: [&[R]; 2], [i, j]: [usize; 2]) -> R {
        let mut sum = R::sum(self.head_dim);
        let pairs = a[i..i + self.head_dim].iter().zip(&b[j..]);
        pairs.for_each(|(&a, &b)| sum.add(a * b));
        sum.total()
    }

    /// The queries of a piece of work on the host: equal parts of all.
    pub(in crate::ops) fn block(&self) -> usize {
        let blocks = self.queries.div_ceil(QUERIES).max(1);
        self.queries.div_ceil(blocks).max(1)
    }

    /// Computes the products of `rows` tokens of a, from `a_start` on, with all keys of b, from `b_start` on.
    pub(in crate::ops) fn products(
        &self,
        rows: usize,
        [a, b]: [&[f32]; 2],
        [a_start, b_start]: [usize; 2],
        into: &mut [f32],
    ) {
        product(
            [rows, self.keys, self.head_dim],
            Matrix::rows(&a[a_start..], self.width()),
            Matrix::columns(&b[b_start..], self.width()),
            MatrixMut::rows(into, self.keys),
            Accumulate::Overwrite,
        );
    }

    /// Gives a launch the words and constants of `shaders/lib/attention.wgsl`, and the workgroups for tiles of `rows` ×
    /// `columns` results of every head.
    pub(in crate::ops) fn launch(&self, launch: Launch, rows: usize, columns: usize) -> Launch {
        let tiles = rows.div_ceil(TILE).max(1) * columns.div_ceil(TILE).max(1);
        launch
            .words(&[self.samples, self.queries, self.keys, self.heads])
            .word(self.head_dim)
            .float(self.scale)
            .constant(
                "SIGMOID",
                f64::from(u8::from(self.score_map == ScoreMap::Sigmoid)),
            )
            .constant("TILE_A_BY_ROWS", 0.0)
            .constant("TILE_B_BY_DEPTH", 1.0)
            .groups(self.samples * self.heads * tiles)
    }
}

fn axes(name: &str, what: &str, shape: Shape) -> Result<[usize; 3]> {
    let axes = (*shape).try_into();
    axes.map_err(|_| {
        Error::shape(format!(
            "{name}: {what} must have the axes [N, T, D], got {shape}"
        ))
    })
}

/// The mask of the keys k [N, S, D]; where none is given, one by which all take part.
#[track_caller]
pub(in crate::ops) fn mask_or_ones<'g>(
    k: Tensor<'g>,
    mask: Option<Tensor<'g>>,
) -> Result<Tensor<'g>> {
    if let Some(mask) = mask {
        return Ok(mask);
    }
    let [n, s, _] = axes("attention", "k", k.shape())?;
    Ok(k.recorder().constant(ones([n, s])))
}

/// The logistic function and its slope, without a branch or a call, so that a loop over it vectorises.
#[inline(always)]
pub(in crate::ops) fn logistic(x: f32) -> [f32; 2] {
    let e = exp_of_negative(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    let sum = 1.0 + e;
    [numerator / sum, e / (sum * sum)]
}

/// A mask by which all keys take part.
fn ones(shape: [usize; 2]) -> Array {
    super::array(shape.into(), vec![1u32; shape.iter().product()])
}
