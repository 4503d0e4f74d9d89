//! Scaled dot-product attention of several heads, without the table of scores.
//!
//! **Definition.** For every sample n and head h, which owns the channels c = h · D/H … (h + 1) · D/H − 1 of all values:
//! y[n, t, c] = Σ over keys s of p[t, s] · v[n, s, c], p[t, ·] = softmax over the keys with mask[n, s] ≠ 0 of
//! m(scale · Σ over the head's c of q[n, t, c] · k[n, s, c]), and p = 0 for the other keys. `score_map` is m: the `identity`,
//! or the logistic function (`sigmoid`). The second result, log_sum_exp[n, t, h], is the logarithm of the softmax's
//! denominator, from which p can be computed again. Where no key takes part, both results are 0.
//!
//! **Shape.** q [N, T, D], k and v [N, S, D], mask [N, S] (indices); y [N, T, D] and log_sum_exp [N, T, H], where the
//! attribute `num_heads` is H and divides D. `scale` is 1/√(D/H) unless it is given. Tokens stay outermost, as linear layers
//! make them: nothing is transposed.
//!
//! **Gradient.** See `attention_grad`, which computes p again; none for the mask.
//!
//! **Numerics.** The largest score is subtracted first. A device meets the keys in tiles of 64 and rescales its sums whenever a
//! larger score appears: the exponents of the factors add up to that of the definition, whose error is counted once, and each
//! rescaling counts as eight further additions. The numbers of a masked key have no weight, but must be finite.
//!
//! **Cost.** 4 · D/H + 8 operations for each head and pair of a query and a key. The T × S scores are never stored: the host
//! holds those of some 64 queries, a device a tile of 64 × 64 in registers; heads of more than 64 channels compute them once
//! for each 64.
//!
//! **Reference.** A. Vaswani et al., "Attention is all you need", 2017; T. Dao et al., "FlashAttention", 2022;
//! `torch.nn.functional.scaled_dot_product_attention`.

use super::support::attention::{Heads, TILE, cases, logistic, mask_or_ones};
use super::support::{exp_of_negative, max_of_run, sum_of_run};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attribute, Attributes, Binding, Call, Case, Cost, DEFAULT, Halves, Launch, Limits, Op, Shader,
    Target, Tensor, View, ViewMut, expect_inputs, library,
};
use crate::product::{Accumulate, Matrix, MatrixMut, product};
use crate::real::{Real, Sum as _};
use crate::workers::{Workers, vectorised};
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "attention",
    text: include_str!("../../shaders/attention.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::TILE,
        library::TILE_LANES,
        library::TILE_CHAIN,
        library::ATTENTION,
    ],
};

/// What scaled products pass before the softmax.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScoreMap {
    /// Nothing.
    Identity,
    /// The logistic function.
    Sigmoid,
}

impl ScoreMap {
    const WORDS: [(&'static str, ScoreMap); 2] = [
        ("identity", ScoreMap::Identity),
        ("sigmoid", ScoreMap::Sigmoid),
    ];

    fn word(self) -> &'static str {
        match self {
            ScoreMap::Identity => "identity",
            ScoreMap::Sigmoid => "sigmoid",
        }
    }
}

/// Attention, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Among how many heads the channels are shared.
    pub num_heads: usize,
    /// What products of queries and keys are multiplied by; 1/√(channels of a head) unless it is given.
    pub scale: Option<f64>,
    /// What scaled products pass before the softmax.
    pub score_map: ScoreMap,
}

/// The attention of the queries q [N, T, D] to the keys k [N, S, D] with values v [N, S, D], and the logarithms of the
/// softmaxes' denominators [N, T, H]. Keys where mask [N, S] is 0 take no part; without a mask, all do.
///
/// ```
/// # use axenic::{eval, ops::{self, Attention, ScoreMap}};
/// let [y] = eval(|r| {
///     let tokens = |x: [f64; 2]| ops::reshape(r.constant(x), [1, 2, 1]);
///     let (q, k, v) = (tokens([0.0, 9.0])?, tokens([5.0, 7.0])?, tokens([1.0, 3.0])?);
///     let op = Attention { num_heads: 1, scale: None, score_map: ScoreMap::Identity };
///     Ok([ops::attention(q, k, v, None, op)?.0])
/// })?;
/// assert_eq!(y.to_f64()[0], 2.0);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit, or the heads do not divide the channels.
#[track_caller]
pub fn attention<'g>(
    q: Tensor<'g>,
    k: Tensor<'g>,
    v: Tensor<'g>,
    mask: Option<Tensor<'g>>,
    settings: Attention,
) -> Result<(Tensor<'g>, Tensor<'g>)> {
    let mask = mask_or_ones(k, mask)?;
    let outputs = q.recorder().apply(settings, &[q, k, v, mask])?;
    Ok((outputs[0], outputs[1]))
}

impl Attention {
    /// How many additions a term of a sum over keys counts for: one a key, eight a rescaling, and those that join the
    /// sums of a row's invocations.
    fn depth(heads: &Heads) -> usize {
        heads.keys + 8 * heads.keys.div_ceil(TILE) + 16
    }

    /// One head of one query: y's numbers, and the log-sum-exp.
    fn head<R: Real>(
        heads: &Heads,
        [q, k, v]: [&[R]; 3],
        mask: &[u32],
        [token, head]: [usize; 2],
        y: &mut [R],
    ) -> R {
        let sample = token / heads.queries;
        let keys: Vec<usize> = (0..heads.keys)
            .filter(|s| mask[sample * heads.keys + s] != 0)
            .map(|s| heads.start(sample * heads.keys + s, head))
            .collect();
        let query = heads.start(token, head);
        let scores: Vec<R> = keys
            .iter()
            .map(|&key| heads.score([q, k], [query, key])[0])
            .collect();
        let Some(top) = scores.iter().copied().reduce(R::max) else {
            y.fill(R::ZERO);
            return R::ZERO;
        };
        let depth = Self::depth(heads);
        let mut total = R::sum(depth);
        let powers: Vec<R> = scores.iter().map(|&score| (score - top).exp()).collect();
        powers.iter().for_each(|&power| total.add(power));
        let total = total.total();
        for (c, y) in y.iter_mut().enumerate() {
            let mut sum = R::sum(depth);
            keys.iter()
                .zip(&powers)
                .for_each(|(&key, &power)| sum.add(power * v[key + c]));
            *y = sum.total() / total;
        }
        top + total.ln()
    }
}

/// Some queries of one sample, and what they get.
struct Block<'a> {
    sample: usize,
    /// The first query of the sample.
    first: usize,
    y: &'a mut [f32],
    log_sums: &'a mut [f32],
}

impl Block<'_> {
    /// Computes all heads, by way of a panel for the scores of one.
    fn attend(self, heads: &Heads, [q, k, v]: [&[f32]; 3], mask: &[u32], panel: &mut [f32]) {
        let mask = &mask[self.sample * heads.keys..][..heads.keys];
        if mask.iter().all(|&seen| seen == 0) {
            self.y.fill(0.0);
            return self.log_sums.fill(0.0);
        }
        let (width, scale) = (heads.width(), heads.scale as f32);
        let rows = self.y.len() / width;
        let scores = &mut panel[..rows * heads.keys];
        for head in 0..heads.heads {
            let query = heads.start(self.sample * heads.queries + self.first, head);
            let key = heads.start(self.sample * heads.keys, head);
            heads.products(rows, [q, k], [query, key], scores);
            let log_sums = self.log_sums[head..].iter_mut().step_by(heads.heads);
            let rows_of_scores = log_sums.zip(scores.chunks_exact_mut(heads.keys));
            vectorised(
                #[inline(always)]
                || match heads.score_map {
                    ScoreMap::Identity => softmax_rows(rows_of_scores, mask, scale, |x| x),
                    ScoreMap::Sigmoid => softmax_rows(
                        rows_of_scores,
                        mask,
                        scale,
                        #[inline(always)]
                        |x| logistic(x)[0],
                    ),
                },
            );
            product(
                [rows, heads.head_dim, heads.keys],
                Matrix::rows(scores, heads.keys),
                Matrix::rows(&v[key..], width),
                MatrixMut::rows(&mut self.y[head * heads.head_dim..], width),
                Accumulate::Overwrite,
            );
        }
    }
}

/// Turns rows of products into weights that sum to 1, each beside the logarithm of its softmax's denominator. Some key
/// takes part.
#[inline(always)]
fn softmax_rows<'a>(
    rows: impl Iterator<Item = (&'a mut f32, &'a mut [f32])>,
    mask: &[u32],
    scale: f32,
    map: impl Fn(f32) -> f32,
) {
    for (log_sum, row) in rows {
        for (x, &seen) in row.iter_mut().zip(mask) {
            let score = map(*x * scale);
            *x = if seen == 0 { f32::NEG_INFINITY } else { score };
        }
        let top = max_of_run(row);
        for x in row.iter_mut() {
            *x = exp_of_negative(*x - top);
        }
        let total = sum_of_run(row);
        let inverse = (1.0 / total) as f32;
        for x in row.iter_mut() {
            *x *= inverse;
        }
        *log_sum = top + total.ln() as f32;
    }
}

impl Op for Attention {
    const NAME: &'static str = "attention";
    const INPUTS: &'static [&'static str] = &["q", "k", "v", "mask"];
    const HALVES: Halves = Halves::ALWAYS.except(&[], &[1]);

    fn attributes(&self) -> Attributes {
        let scale = self.scale.map_or(Attribute::from(DEFAULT), Attribute::from);
        Attributes::none()
            .with("num_heads", self.num_heads)
            .with("scale", scale)
            .with("score_map", self.score_map.word())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            num_heads: attributes.int("num_heads", 1)?,
            scale: attributes.float_if_given("scale")?,
            score_map: attributes.choice("score_map", ScoreMap::Identity, &ScoreMap::WORDS)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [q, k, v, mask] = expect_inputs(Self::NAME, inputs)?;
        let heads = Heads::expect(Self::NAME, self, [q, k, mask])?;
        if v != k {
            return Err(Error::shape(format!("attention: k {k} and v {v} differ")));
        }
        let log_sum_exp = [heads.samples, heads.queries, heads.heads];
        Ok(vec![q, Spec::real(log_sum_exp)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        if output_grads.iter().all(Option::is_none) {
            return Ok(vec![None; 4]);
        }
        let grad = |i: usize| match output_grads[i] {
            Some(grad) => Ok(grad),
            None => super::fill(call.outputs[i].recorder(), call.outputs[i].shape(), 0.0),
        };
        let (inputs, outputs) = (&call.inputs, &call.outputs);
        let grads = super::attention_grad(
            [inputs[0], inputs[1], inputs[2], inputs[3]],
            [outputs[0], outputs[1]],
            [grad(0)?, grad(1)?],
            self.clone(),
        )?;
        Ok(grads.map(Some).into_iter().chain([None]).collect())
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outputs[0].shape[0] * outputs[0].shape[1]
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let heads = Heads::of(self, inputs[0].shape, inputs[1].shape);
        let values = [0, 1, 2].map(|i| inputs[i].real());
        let mask = inputs[3].index();
        let [y, log_sums] = outputs else {
            unreachable!("there are two outputs")
        };
        let y = y.real().chunks_mut(heads.head_dim);
        for (i, (y, log_sum)) in y.zip(log_sums.real()).enumerate() {
            let place = [range.start + i / heads.heads, i % heads.heads];
            *log_sum = Self::head(&heads, values, mask, place, y);
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let heads = Heads::of(self, inputs[0].shape, inputs[1].shape);
        let values = [0, 1, 2].map(|i| inputs[i].real());
        let mask = inputs[3].index();
        let [y, log_sums] = outputs else {
            unreachable!("there are two outputs")
        };
        let (width, block) = (heads.width(), heads.block());
        let (y, log_sums) = (y.real(), log_sums.real());
        if y.is_empty() {
            return;
        }
        let samples = y.chunks_mut(heads.queries * width);
        let samples = samples.zip(log_sums.chunks_mut(heads.queries * heads.heads));
        let blocks = samples.enumerate().flat_map(|(sample, (y, log_sums))| {
            let log_sums = log_sums.chunks_mut(block * heads.heads);
            let blocks = y.chunks_mut(block * width).zip(log_sums).enumerate();
            blocks.map(move |(i, (y, log_sums))| Block {
                sample,
                first: i * block,
                y,
                log_sums,
            })
        });
        workers.each_with_panel(scratch[0], blocks, |block, panel| {
            block.attend(&heads, values, mask, panel);
        });
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        let heads = Heads::of(self, inputs[0].shape, inputs[1].shape);
        match target {
            Target::Cpu { threads } => vec![threads * heads.block() * heads.keys],
            Target::Reference | Target::Gpu(_) => Vec::new(),
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let heads = Heads::of(self, inputs[0].shape, inputs[1].shape);
        let mut bindings: Vec<_> = (0..4).map(Binding::Input).collect();
        bindings.extend([Binding::Output(0), Binding::Output(1)]);
        let launch = Launch::new(&SHADER, bindings);
        Ok(vec![heads.launch(launch, heads.queries, heads.head_dim)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let heads = Heads::of(self, inputs[0].shape, inputs[1].shape);
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(heads.pairs() * (4 * heads.head_dim + 8), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        cases()
    }
}
