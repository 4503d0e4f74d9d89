//! The gradient of the attention, from weights that are computed a second time.
//!
//! **Definition.** For every sample n and head h of `attention`, with x = scale · q · k, the weights p[t, s] = exp(m(x[t, s]) −
//! log_sum_exp[t]) (0 where the mask is 0), and row[t] = Σ over the head's channels of output_grad[t, c] · y[t, c] −
//! log_sum_exp_grad[t]:
//! g[t, s] = scale · p[t, s] · (Σ over c of output_grad[t, c] · v[s, c] − row[t]) · m′(x[t, s]),
//! q_grad[t] = Σ over s of g[t, s] · k[s], k_grad[s] = Σ over t of g[t, s] · q[t], v_grad[s] = Σ over t of p[t, s] ·
//! output_grad[t].
//!
//! **Shape.** The inputs of `attention` (q [N, T, D], k and v [N, S, D], mask [N, S]), its results y [N, T, D] and log_sum_exp
//! [N, T, H], and their gradients; the results are shaped as q, k and v. log_sum_exp is that of the attention: exponents must
//! not exceed 0 by more than its rounding.
//!
//! **Gradient.** No second derivative.
//!
//! **Numerics.** Sums over tokens have at most as many additions as there are tokens, and a fixed order.
//!
//! **Cost.** 10 · D/H + 12 operations for each head and pair of a query and a key on the host; a device computes scores and
//! output_grad · v for the queries and again for the keys, 14 · D/H. It adds the queries' gradients over the keys and the keys'
//! over the queries, so that no two invocations add to the same number.
//!
//! **Reference.** T. Dao et al., "FlashAttention", 2022, appendix B.

use super::support::attention::{Heads, cases, logistic, results};
use super::support::{Rows, exp_of_negative, lane_sum, normal};
use super::{Attention, ScoreMap};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Target, Tensor,
    View, ViewMut, expect_inputs, library,
};
use crate::product::{Accumulate, Matrix, MatrixMut, product};
use crate::real::{Real, Sum as _};
use crate::workers::{Workers, vectorised};
use std::ops::Range;

static ROWS: Shader = Shader {
    name: "attention_grad.rows",
    text: include_str!("../../shaders/attention_grad.rows.wgsl"),
    uses: &[library::STORE, library::INDEX, library::ROWS],
};

static QUERIES: Shader = Shader {
    name: "attention_grad.queries",
    text: include_str!("../../shaders/attention_grad.queries.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::TILE,
        library::TILE_LANES,
        library::TILE_CHAIN,
        library::ATTENTION,
    ],
};

static KEYS: Shader = Shader {
    name: "attention_grad.keys",
    text: include_str!("../../shaders/attention_grad.keys.wgsl"),
    uses: QUERIES.uses,
};

/// The gradient of [`Attention`], see the room's documentation.
#[derive(Clone, Debug)]
pub struct AttentionGrad(pub Attention);

/// The gradients of q, k and v for [`attention`](super::attention) with inputs q, k, v and mask, results y and log_sum_exp,
/// and the results' gradients.
///
/// ```
/// # use axenic::{Array, eval, ops::{self, Attention, ScoreMap}};
/// let [v_grad] = eval(|r| {
///     let (one, zero) = (ops::fill(r, [1, 1, 1], 1.0)?, ops::fill(r, [1, 1, 1], 0.0)?);
///     let op = Attention { num_heads: 1, scale: None, score_map: ScoreMap::Identity };
///     let inputs = [one, zero, one, r.constant(Array::new([1, 1], vec![1u32])?)];
///     Ok([ops::attention_grad(inputs, [one, zero], [one, zero], op)?[2]])
/// })?;
/// assert_eq!(v_grad.to_f64()[0], 1.0);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit.
#[track_caller]
pub fn attention_grad<'g>(
    [q, k, v, mask]: [Tensor<'g>; 4],
    [y, log_sum_exp]: [Tensor<'g>; 2],
    [output_grad, log_sum_exp_grad]: [Tensor<'g>; 2],
    settings: Attention,
) -> Result<[Tensor<'g>; 3]> {
    let inputs = [q, k, v, mask, y, log_sum_exp, output_grad, log_sum_exp_grad];
    let grads = q.recorder().apply(AttentionGrad(settings), &inputs)?;
    Ok([grads[0], grads[1], grads[2]])
}

/// The inputs of a host formula.
struct Inputs<'a, R> {
    q: &'a [R],
    k: &'a [R],
    v: &'a [R],
    mask: &'a [u32],
    y: &'a [R],
    log_sum_exp: &'a [R],
    output_grad: &'a [R],
    log_sum_exp_grad: &'a [R],
}

impl<'a, R: Real> Inputs<'a, R> {
    fn new(inputs: &[View<'a, R>]) -> Self {
        let real = |i: usize| inputs[i].real();
        Self {
            q: real(0),
            k: real(1),
            v: real(2),
            mask: inputs[3].index(),
            y: real(4),
            log_sum_exp: real(5),
            output_grad: real(6),
            log_sum_exp_grad: real(7),
        }
    }

    /// row[t] of a head.
    fn row(&self, heads: &Heads, token: usize, head: usize) -> R {
        let at = heads.start(token, head);
        heads.dot([self.output_grad, self.y], [at, at])
            - self.log_sum_exp_grad[token * heads.heads + head]
    }

    /// Computes q_grad of the head `head` of `sample`, which is number `place` of those that q_grad holds, and the sums for
    /// k_grad and v_grad.
    fn head_sums(
        &self,
        heads: &Heads,
        [place, sample, head]: [usize; 3],
        q_grad: &mut [R],
    ) -> Vec<[R::Sum; 2]> {
        let length = heads.head_dim;
        let new = |depth| move |_| R::sum(depth);
        let both = |_| [R::sum(heads.queries), R::sum(heads.queries)];
        let mut sums: Vec<_> = (0..heads.keys * length).map(both).collect();
        for t in 0..heads.queries {
            let query = sample * heads.queries + t;
            let (row, at) = (self.row(heads, query, head), heads.start(query, head));
            let mut q_sums: Vec<_> = (0..length).map(new(heads.keys)).collect();
            for s in (0..heads.keys).filter(|s| self.mask[sample * heads.keys + s] != 0) {
                let key = sample * heads.keys + s;
                let [weight, grad] = self.pair(heads, [query, key], head, row);
                let key = heads.start(key, head);
                for c in 0..length {
                    q_sums[c].add(grad * self.k[key + c]);
                    let [k_sum, v_sum] = &mut sums[s * length + c];
                    k_sum.add(grad * self.q[at + c]);
                    v_sum.add(weight * self.output_grad[at + c]);
                }
            }
            let own = heads.start(place * heads.queries + t, head);
            let q_grad = q_grad[own..own + length].iter_mut();
            q_grad
                .zip(q_sums)
                .for_each(|(q_grad, sum)| *q_grad = sum.total());
        }
        sums
    }

    /// p[t, s] and g[t, s] of a head, for a key that takes part; tokens count those of all samples.
    fn pair(&self, heads: &Heads, [query, key]: [usize; 2], head: usize, row: R) -> [R; 2] {
        let places = [heads.start(query, head), heads.start(key, head)];
        let [score, slope] = heads.score([self.q, self.k], places);
        let weight = (score - self.log_sum_exp[query * heads.heads + head]).exp();
        let grad = heads.dot([self.output_grad, self.v], places) - row;
        [weight, weight * grad * slope * R::constant(heads.scale)]
    }
}

/// The gradients' numbers of one head of one sample: a slice for each token.
struct HeadGrads<'a> {
    q: Vec<&'a mut [f32]>,
    k: Vec<&'a mut [f32]>,
    v: Vec<&'a mut [f32]>,
}

/// What a worker needs beside the gradients.
struct Panel<'a> {
    /// p and g of a block of queries with all keys.
    pairs: [&'a mut [f32]; 2],
    q_grad: &'a mut [f32],
    k_grad: &'a mut [f32],
    v_grad: &'a mut [f32],
}

impl<'a> Panel<'a> {
    /// The elements of p or g, of q_grad for a block of queries, and of k_grad or v_grad.
    fn lengths(heads: &Heads) -> [usize; 3] {
        let block = heads.block();
        [
            block * heads.keys,
            block * heads.head_dim,
            heads.keys * heads.head_dim,
        ]
    }

    fn new(heads: &Heads, panel: &'a mut [f32]) -> Self {
        let [pairs, queries, keys] = Self::lengths(heads);
        let (weights, rest) = panel.split_at_mut(pairs);
        let (grads, rest) = rest.split_at_mut(pairs);
        let (q_grad, rest) = rest.split_at_mut(queries);
        let (k_grad, rest) = rest.split_at_mut(keys);
        Self {
            pairs: [weights, grads],
            q_grad,
            k_grad,
            v_grad: &mut rest[..keys],
        }
    }
}

/// Cuts a gradient of `tokens` tokens a sample into the heads of all samples.
fn cut<'a>(heads: &Heads, grad: &'a mut [f32], tokens: usize) -> Vec<Vec<&'a mut [f32]>> {
    let mut cut: Vec<Vec<_>> = (0..heads.samples * heads.heads)
        .map(|_| Vec::with_capacity(tokens))
        .collect();
    for (i, part) in grad.chunks_mut(heads.head_dim).enumerate() {
        let sample = i / heads.heads / tokens;
        cut[sample * heads.heads + i % heads.heads].push(part);
    }
    cut
}

/// Writes the rows of a matrix.
fn write(rows: &mut [&mut [f32]], from: &[f32], length: usize) {
    let from = from.chunks_exact(length);
    let pairs = rows.iter_mut().zip(from);
    pairs.for_each(|(row, from)| row.copy_from_slice(from));
}

impl Inputs<'_, f32> {
    /// The gradients of head number `index`, counted over all samples.
    fn head(&self, heads: &Heads, index: usize, grads: &mut HeadGrads, panel: &mut [f32]) {
        let (sample, head) = (index / heads.heads, index % heads.heads);
        let mask = &self.mask[sample * heads.keys..][..heads.keys];
        if mask.iter().all(|&seen| seen == 0) {
            let all = grads.q.iter_mut().chain(&mut grads.k).chain(&mut grads.v);
            return all.for_each(|row| row.fill(0.0));
        }
        let (keys, width, length) = (heads.keys, heads.width(), heads.head_dim);
        let mut panel = Panel::new(heads, panel);
        panel.k_grad.fill(0.0);
        panel.v_grad.fill(0.0);
        let key = heads.start(sample * keys, head);
        for (block, q_rows) in grads.q.chunks_mut(heads.block()).enumerate() {
            let first = sample * heads.queries + block * heads.block();
            let (query, rows) = (heads.start(first, head), q_rows.len());
            self.pairs(heads, [first, head, key], mask, &mut panel.pairs, rows);
            let [weights, inner] = &panel.pairs;
            product(
                [rows, length, keys],
                Matrix::rows(inner, keys),
                Matrix::rows(&self.k[key..], width),
                MatrixMut::rows(panel.q_grad, length),
                Accumulate::Overwrite,
            );
            write(q_rows, panel.q_grad, length);
            let over_queries = |pairs: &[f32], of: &[f32], sum: &mut [f32]| {
                let (pairs, of) = (
                    Matrix::columns(pairs, keys),
                    Matrix::rows(&of[query..], width),
                );
                let sum = MatrixMut::rows(sum, length);
                product([keys, length, rows], pairs, of, sum, Accumulate::Add);
            };
            over_queries(inner, self.q, panel.k_grad);
            over_queries(weights, self.output_grad, panel.v_grad);
        }
        write(&mut grads.k, panel.k_grad, length);
        write(&mut grads.v, panel.v_grad, length);
    }

    /// Computes p and g of `rows` queries, from the token `first` of all samples on, with all keys, which start at `key`.
    fn pairs(
        &self,
        heads: &Heads,
        [first, head, key]: [usize; 3],
        mask: &[u32],
        [weights, inner]: &mut [&mut [f32]; 2],
        rows: usize,
    ) {
        let places = [heads.start(first, head), key];
        heads.products(rows, [self.q, self.k], places, weights);
        heads.products(rows, [self.output_grad, self.v], places, inner);
        let scale = heads.scale as f32;
        let both = weights.chunks_exact_mut(heads.keys);
        let both = both.zip(inner.chunks_exact_mut(heads.keys));
        vectorised(
            #[inline(always)]
            || {
                for (token, (weights, inner)) in (first..first + rows).zip(both) {
                    let log_sum_exp = self.log_sum_exp[token * heads.heads + head];
                    let of_row = [log_sum_exp, self.row_of_lanes(heads, token, head)];
                    match heads.score_map {
                        ScoreMap::Identity => {
                            row_grads(weights, inner, mask, of_row, scale, |x| [x, 1.0]);
                        }
                        ScoreMap::Sigmoid => {
                            row_grads(weights, inner, mask, of_row, scale, logistic);
                        }
                    }
                }
            },
        );
    }

    /// row[t] of a head, as [`row`](Self::row).
    #[inline(always)]
    fn row_of_lanes(&self, heads: &Heads, token: usize, head: usize) -> f32 {
        let at = heads.start(token, head);
        let [grad, y] = [self.output_grad, self.y].map(|of| &of[at..][..heads.head_dim]);
        let dot = lane_sum(grad, y, |grad, y| grad * y) as f32;
        dot - self.log_sum_exp_grad[token * heads.heads + head]
    }
}

/// For one query, turns products q · k into p and products output_grad · v into g; `of_row` is log_sum_exp and row.
#[inline(always)]
fn row_grads(
    weights: &mut [f32],
    inner: &mut [f32],
    mask: &[u32],
    [log_sum_exp, row]: [f32; 2],
    scale: f32,
    map: impl Fn(f32) -> [f32; 2],
) {
    for ((weight, inner), &seen) in weights.iter_mut().zip(inner).zip(mask) {
        let [score, slope] = map(*weight * scale);
        let power = exp_of_negative(score - log_sum_exp);
        *weight = if seen == 0 { 0.0 } else { power };
        *inner = *weight * (*inner - row) * slope * scale;
    }
}

impl Op for AttentionGrad {
    const NAME: &'static str = "attention_grad";
    const INPUTS: &'static [&'static str] = &[
        "q",
        "k",
        "v",
        "mask",
        "y",
        "log_sum_exp",
        "output_grad",
        "log_sum_exp_grad",
    ];
    const HALVES: Halves = Halves::ALWAYS.except(&[5, 7], &[]);

    fn attributes(&self) -> Attributes {
        self.0.attributes()
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Attention::from_attributes(attributes).map(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [q, k, v, mask, results @ ..] = expect_inputs::<8>(Self::NAME, inputs)?;
        let expected = self
            .0
            .outputs(&[q, k, v, mask])
            .map_err(|e| e.within(Self::NAME))?;
        if results[..2] == expected[..] && results[2..] == expected[..] {
            Ok(vec![q, k, v])
        } else {
            Err(Error::shape(format!(
                "attention_grad: y {} and log_sum_exp {} and their gradients {} and {} must be {} and {}",
                results[0], results[1], results[2], results[3], expected[0], expected[1]
            )))
        }
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Err(Error::shape("attention_grad: no second derivative"))
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        // Without queries or without keys a result has no elements, and cannot be cut; the others are zero.
        let samples = outputs[0].shape[0];
        let is_empty = |output: &Spec| output.shape.elements() == 0;
        if outputs.iter().any(is_empty) {
            samples.min(1)
        } else {
            samples
        }
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let heads = Heads::of(&self.0, inputs[0].shape, inputs[1].shape);
        let inputs = Inputs::new(inputs);
        let [q_grad, k_grad, v_grad] = outputs else {
            unreachable!("there are three outputs")
        };
        let (q_grad, k_grad, v_grad) = (q_grad.real(), k_grad.real(), v_grad.real());
        for grad in [&mut *q_grad, &mut *k_grad, &mut *v_grad] {
            grad.fill(R::ZERO);
        }
        for (i, sample) in range.enumerate() {
            for head in 0..heads.heads {
                let mut sums = inputs.head_sums(&heads, [i, sample, head], q_grad);
                for s in 0..heads.keys {
                    let at = heads.start(i * heads.keys + s, head);
                    for c in 0..heads.head_dim {
                        let [k_sum, v_sum] = &mut sums[s * heads.head_dim + c];
                        (k_grad[at + c], v_grad[at + c]) = (k_sum.total(), v_sum.total());
                    }
                }
            }
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let heads = Heads::of(&self.0, inputs[0].shape, inputs[1].shape);
        let inputs = Inputs::new(inputs);
        let [q_grad, k_grad, v_grad] = outputs else {
            unreachable!("there are three outputs")
        };
        let q_grad = cut(&heads, q_grad.real(), heads.queries);
        let k_grad = cut(&heads, k_grad.real(), heads.keys);
        let v_grad = cut(&heads, v_grad.real(), heads.keys);
        let grads = q_grad.into_iter().zip(k_grad).zip(v_grad);
        let grads = grads.map(|((q, k), v)| HeadGrads { q, k, v });
        let grads = grads.enumerate();
        workers.each_with_panel(scratch[0], grads, |(index, mut grads), panel| {
            inputs.head(&heads, index, &mut grads, panel);
        });
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        let heads = Heads::of(&self.0, inputs[0].shape, inputs[1].shape);
        match target {
            Target::Reference => Vec::new(),
            Target::Cpu { threads } => {
                let [pairs, queries, keys] = Panel::lengths(&heads);
                vec![threads * (2 * pairs + queries + 2 * keys)]
            }
            Target::Gpu(_) => vec![2 * heads.samples * heads.queries * heads.heads],
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let heads = Heads::of(&self.0, inputs[0].shape, inputs[1].shape);
        let rows = Rows {
            length: heads.head_dim,
            inner: 1,
            count: heads.samples * heads.queries * heads.heads,
        };
        let launch = |shader, inputs: &[usize], rest: &[Binding]| {
            let inputs = inputs.iter().map(|&i| Binding::Input(i));
            let bindings: Vec<_> = inputs.chain(rest.iter().copied()).collect();
            Launch::new(shader, bindings)
        };
        let (of_rows, [q, k, v]) = (Binding::Scratch(0), [0, 1, 2].map(Binding::Output));
        let queries = launch(&QUERIES, &[0, 1, 2, 3, 6], &[of_rows, q]);
        let keys = launch(&KEYS, &[0, 1, 2, 3, 6], &[of_rows, k, v]);
        Ok(vec![
            rows.launch(launch(&ROWS, &[4, 5, 6, 7], &[of_rows])),
            heads.launch(queries, heads.queries, heads.head_dim),
            heads.launch(keys, heads.keys, heads.head_dim),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let heads = Heads::of(&self.0, inputs[0].shape, inputs[1].shape);
        let flops = heads.pairs() * (10 * heads.head_dim + 12);
        Cost::new(flops, inputs, &inputs[..3])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |case: Case<Attention>| {
            let [y, log_sum_exp] = results(&case);
            let seed = 7 + case.inputs[0].shape().elements() as u64;
            let grads = [
                normal(y.shape(), seed),
                normal(log_sum_exp.shape(), seed + 1),
            ];
            let inputs = [case.inputs, vec![y, log_sum_exp], grads.into()].concat();
            Case::new(case.about, Self(case.op), inputs)
        };
        cases().into_iter().map(case).collect()
    }
}
