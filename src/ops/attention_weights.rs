//! The weights that an attention gives to every key, as a table: for explanations.
//!
//! **Definition.** weights[n, h, t, s] = exp(m(scale · Σ over the channels c of head h of q[n, t, c] · k[n, s, c]) −
//! log_sum_exp[n, t, h]) where mask[n, s] ≠ 0, else 0; the attributes are those of `attention`. With its log_sum_exp, the
//! weights of a query sum to 1, unless no key takes part.
//!
//! **Shape.** q [N, T, D], k [N, S, D], mask [N, S] (indices), log_sum_exp [N, T, H]; weights [N, H, T, S].
//!
//! **Gradient.** With g = ∂L/∂weights · weights: ∂L/∂log_sum_exp = −Σ over s of g; for q and k, scale · g · m′ multiplied by
//! k and q as matrices of each head.
//!
//! **Numerics.** One rounding of the exponent and those of the exponential, on top of the score's.
//!
//! **Cost.** 2 · D/H + 6 operations an element. This is the table that `attention` avoids: it takes N · H · T · S numbers.
//!
//! **Reference.** `torch.nn.MultiheadAttention(…)(…, need_weights=True, average_attn_weights=False)`.

use super::support::attention::{Heads, cases, logistic, results};
use super::support::{exp_of_negative, negate};
use super::{Attention, ScoreMap, Transpose};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_inputs, library,
};
use crate::real::Real;
use crate::shape::KeepAxes;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "attention_weights",
    text: include_str!("../../shaders/attention_weights.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::TILE,
        library::TILE_LANES,
        library::ATTENTION,
    ],
};

/// The weights of an attention, see the room's documentation.
#[derive(Clone, Debug)]
pub struct AttentionWeights(pub Attention);

/// The weights [N, H, T, S] with which [`attention`](super::attention) of the same q, k, mask and settings, which gave
/// log_sum_exp, takes the values.
///
/// ```
/// # use axenic::{eval, ops::{self, Attention, ScoreMap}};
/// let [weights] = eval(|r| {
///     let tokens = |x: [f64; 2]| ops::reshape(r.constant(x), [1, 2, 1]);
///     let (q, k) = (tokens([0.0, 9.0])?, tokens([5.0, 7.0])?);
///     let op = Attention { num_heads: 1, scale: None, score_map: ScoreMap::Identity };
///     let (_, log_sum_exp) = ops::attention(q, k, k, None, op.clone())?;
///     Ok([ops::attention_weights(q, k, None, log_sum_exp, op)?])
/// })?;
/// assert!((weights.to_f64()[1] - 0.5).abs() < 1e-15);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit.
#[track_caller]
pub fn attention_weights<'g>(
    q: Tensor<'g>,
    k: Tensor<'g>,
    mask: Option<Tensor<'g>>,
    log_sum_exp: Tensor<'g>,
    settings: Attention,
) -> Result<Tensor<'g>> {
    let mask = super::support::attention::mask_or_ones(k, mask)?;
    q.recorder()
        .apply_one(AttentionWeights(settings), &[q, k, mask, log_sum_exp])
}

/// [N, T, D] as matrices of every head [N, H, T, D/H].
fn by_heads<'g>(x: Tensor<'g>, heads: &Heads) -> Result<Tensor<'g>> {
    let split = [x.shape()[0], x.shape()[1], heads.heads, heads.head_dim];
    super::transpose(super::reshape(x, split)?, &[0, 2, 1, 3])
}

/// Undoes [`by_heads`].
fn by_tokens<'g>(x: Tensor<'g>, heads: &Heads) -> Result<Tensor<'g>> {
    let x = super::transpose(x, &[0, 2, 1, 3])?;
    super::reshape(x, [x.shape()[0], x.shape()[1], heads.width()])
}

impl AttentionWeights {
    /// What the gradient of the mapped scores becomes for scale · q · k, times scale.
    fn unmapped<'g>(&self, heads: &Heads, [q, k, grad]: [Tensor<'g>; 3]) -> Result<Tensor<'g>> {
        let scale = super::fill(grad.recorder(), [], heads.scale)?;
        let grad = match heads.score_map {
            ScoreMap::Identity => grad,
            ScoreMap::Sigmoid => {
                let products = super::matmul(q, k, Transpose::No, Transpose::Yes)?;
                super::sigmoid_grad(super::sigmoid(super::mul(products, scale)?)?, grad)?
            }
        };
        super::mul(grad, scale)
    }
}

impl Op for AttentionWeights {
    const NAME: &'static str = "attention_weights";
    const INPUTS: &'static [&'static str] = &["q", "k", "mask", "log_sum_exp"];
    const HALVES: Halves = Halves::ALWAYS.except(&[3], &[0]);

    fn attributes(&self) -> Attributes {
        self.0.attributes()
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Attention::from_attributes(attributes).map(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [q, k, mask, log_sum_exp] = expect_inputs(Self::NAME, inputs)?;
        let heads = Heads::expect(Self::NAME, &self.0, [q, k, mask])?;
        let expected = Spec::real([heads.samples, heads.queries, heads.heads]);
        if log_sum_exp != expected {
            return Err(Error::shape(format!(
                "attention_weights: log_sum_exp {log_sum_exp} must be {expected}"
            )));
        }
        let weights =
            crate::shape::Shape::new(&[heads.samples, heads.heads, heads.queries, heads.keys])?;
        Ok(vec![Spec::real(weights)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None; 4]);
        };
        let heads = Heads::of(&self.0, call.inputs[0].shape(), call.inputs[1].shape());
        let grad = super::mul(grad, call.outputs[0])?; // [N, H, T, S]
        let total = super::sum(grad, &[3], KeepAxes::No)?;
        let log_sum_exp_grad = negate(super::transpose(total, &[0, 2, 1])?)?;
        let (q, k) = (
            by_heads(call.inputs[0], &heads)?,
            by_heads(call.inputs[1], &heads)?,
        );
        let grad = self.unmapped(&heads, [q, k, grad])?;
        let q_grad = super::matmul(grad, k, Transpose::No, Transpose::No)?;
        let k_grad = super::matmul(grad, q, Transpose::Yes, Transpose::No)?;
        let (q_grad, k_grad) = (by_tokens(q_grad, &heads)?, by_tokens(k_grad, &heads)?);
        Ok(vec![
            Some(q_grad),
            Some(k_grad),
            None,
            Some(log_sum_exp_grad),
        ])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let heads = Heads::of(&self.0, inputs[0].shape, inputs[1].shape);
        let (q, k, mask, log_sum_exp) = (
            inputs[0].real(),
            inputs[1].real(),
            inputs[2].index(),
            inputs[3].real(),
        );
        for (weight, index) in outputs[0].real().iter_mut().zip(range) {
            let (row, s) = (index / heads.keys, index % heads.keys);
            let (row, t) = (row / heads.queries, row % heads.queries);
            let (sample, head) = (row / heads.heads, row % heads.heads);
            let (query, key) = (sample * heads.queries + t, sample * heads.keys + s);
            let places = [heads.start(query, head), heads.start(key, head)];
            *weight = if mask[key] == 0 {
                R::ZERO
            } else {
                let score = heads.score([q, k], places)[0];
                (score - log_sum_exp[query * heads.heads + head]).exp()
            };
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let heads = Heads::of(&self.0, inputs[0].shape, inputs[1].shape);
        let (q, k, mask, log_sum_exp) = (
            inputs[0].real(),
            inputs[1].real(),
            inputs[2].index(),
            inputs[3].real(),
        );
        let weights = outputs[0].real();
        if weights.is_empty() {
            return;
        }
        let scale = heads.scale as f32;
        // Whole heads, so that the queries and keys of each are read once.
        workers.each_chunk(
            weights,
            heads.queries * heads.keys,
            #[inline(always)]
            |i, weights| {
                let (sample, head) = (i / heads.heads, i % heads.heads);
                let (query, key) = (sample * heads.queries, sample * heads.keys);
                let places = [heads.start(query, head), heads.start(key, head)];
                heads.products(heads.queries, [q, k], places, weights);
                let mask = &mask[key..key + heads.keys];
                for (token, row) in (query..).zip(weights.chunks_exact_mut(heads.keys)) {
                    let normaliser = log_sum_exp[token * heads.heads + head];
                    for (x, &seen) in row.iter_mut().zip(mask) {
                        let score = match heads.score_map {
                            ScoreMap::Identity => *x * scale,
                            ScoreMap::Sigmoid => logistic(*x * scale)[0],
                        };
                        let weight = exp_of_negative(score - normaliser);
                        *x = if seen == 0 { 0.0 } else { weight };
                    }
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let heads = Heads::of(&self.0, inputs[0].shape, inputs[1].shape);
        let mut bindings: Vec<_> = (0..4).map(Binding::Input).collect();
        bindings.push(Binding::Output(0));
        let launch = Launch::new(&SHADER, bindings);
        Ok(vec![heads.launch(launch, heads.queries, heads.keys)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let heads = Heads::of(&self.0, inputs[0].shape, inputs[1].shape);
        let outputs = self.outputs(inputs).unwrap_or_default();
        Cost::new(heads.pairs() * (2 * heads.head_dim + 6), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |case: Case<Attention>| {
            let [_, log_sum_exp] = results(&case);
            let [q, k, _, mask] = [0, 1, 2, 3].map(|i: usize| case.inputs[i].clone());
            let inputs: Vec<Array> = vec![q, k, mask, log_sum_exp];
            Case::new(case.about, Self(case.op), inputs)
        };
        cases().into_iter().map(case).collect()
    }
}
