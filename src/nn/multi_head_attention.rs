//! Attention between tokens, with its projections.

use super::{Linear, default_uniform, linear, truncated_normal, xavier_uniform};
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops::{self, ScoreMap};
use std::panic::Location;

/// How the parameters are called, and how they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionNames {
    /// `in_proj_weight`, `in_proj_bias`, `out_proj.weight`, `out_proj.bias`, as `torch.nn.MultiheadAttention` has them.
    Torch,
    /// `qkv.weight`, `qkv.bias`, `proj.weight`, `proj.bias`, as the vision transformers of timm and DINOv2 have them.
    Timm,
}

/// Settings of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiHeadAttention {
    /// Among how many heads the channels are shared.
    pub num_heads: usize,
    /// What scaled products pass before the softmax.
    pub score_map: ScoreMap,
    /// How the parameters are called.
    pub names: AttentionNames,
}

/// What an attention layer gives.
#[derive(Clone, Debug)]
pub struct Attended<'g> {
    /// The tokens [N, T, D].
    pub y: Tensor<'g>,
    q: Tensor<'g>,
    k: Tensor<'g>,
    mask: Option<Tensor<'g>>,
    log_sum_exp: Tensor<'g>,
    settings: ops::Attention,
}

impl<'g> Attended<'g> {
    /// Records the weights [N, heads, T, S] that every query gave to every key: a large table, for explanations.
    ///
    /// # Errors
    /// The table has too many elements.
    #[track_caller]
    pub fn weights(&self) -> Result<Tensor<'g>> {
        let (q, k) = (self.q, self.k);
        ops::attention_weights(q, k, self.mask, self.log_sum_exp, self.settings.clone())
    }
}

/// Attention of the tokens x [N, T, D] to the tokens `memory` [N, S, D] (for self-attention x itself), of which those take
/// part whose `mask` [N, S] is not 0: queries, keys and values are linear in the tokens, and so is y in what the heads give.
///
/// The projections share one weight [3·D, D] and bias `[3·D]`, of queries, keys and values in this order; `AttentionNames`
/// says what they are called. It is the weight that is cut, not the tokens. Under the scope's path are to be found the
/// queries, keys and values [N, T, D] (`qkv.q`, …, or `in_proj.q`, …) and the `weights` of the queries for the keys, unless
/// that table has more elements than a value may have.
///
/// Reference: Vaswani et al. 2017; `torch.nn.MultiheadAttention(batch_first=True)`; `timm.layers.Attention`.
///
/// ```
/// # use axenic::{eval, nn::{self, AttentionNames, MultiHeadAttention}, ops::{self, ScoreMap}};
/// let [y] = eval(|r| {
///     let names = AttentionNames::Timm;
///     let settings = MultiHeadAttention { num_heads: 2, score_map: ScoreMap::Identity, names };
///     let x = ops::fill(r, [1, 5, 8], 1.0)?;
///     Ok([nn::multi_head_attention(&r.scope().name("attn"), x, x, None, settings)?.y])
/// })?;
/// assert_eq!(y.shape(), [1, 5, 8].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes do not fit, or the heads do not divide the channels.
#[track_caller]
pub fn multi_head_attention<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    memory: Tensor<'g>,
    mask: Option<Tensor<'g>>,
    settings: MultiHeadAttention,
) -> Result<Attended<'g>> {
    let _layer = scope.enter_layer(Location::caller());
    let width = x.shape().last().copied().unwrap_or(0);
    let zero = Init::Constant(0.0);
    let normal = truncated_normal(0.02);
    let (input, [weight, bias], output) = match settings.names {
        AttentionNames::Torch => (
            scope.name("in_proj"),
            [
                scope.parameter(
                    "in_proj_weight",
                    [3 * width, width],
                    xavier_uniform(width, 3 * width),
                )?,
                scope.parameter("in_proj_bias", [3 * width], zero)?,
            ],
            scope.name("out_proj"),
        ),
        AttentionNames::Timm => {
            let qkv = scope.name("qkv");
            let weight = qkv.parameter("weight", [3 * width, width], normal)?;
            let bias = qkv.parameter("bias", [3 * width], zero)?;
            (qkv, [weight, bias], scope.name("proj"))
        }
    };
    let project = |part: usize, name: &str, tokens| {
        let own = input.name(name);
        let _inside = own.enter();
        let weight = ops::slice(weight, 0, part * width, width)?;
        let bias = ops::slice(bias, 0, part * width, width)?;
        Ok(own.tap(ops::linear(tokens, weight, bias)?))
    };
    let (q, k, v) = (
        project(0, "q", x)?,
        project(1, "k", memory)?,
        project(2, "v", memory)?,
    );
    let attention = ops::Attention {
        num_heads: settings.num_heads,
        scale: None,
        score_map: settings.score_map,
    };
    let (heads, log_sum_exp) = ops::attention(q, k, v, mask, attention.clone())?;
    let start = match settings.names {
        AttentionNames::Torch => default_uniform(width),
        AttentionNames::Timm => normal,
    };
    let projection = Linear {
        out_features: width,
        weight_init: Some(start),
        bias_init: Some(zero),
    };
    let attended = Attended {
        y: scope.tap(linear(&output, heads, projection)?),
        q,
        k,
        mask,
        log_sum_exp,
        settings: attention,
    };
    // Where nobody asks for the table, its node is removed. The only reason why it cannot be recorded is its size.
    if let Ok(weights) = attended.weights() {
        scope.name("weights").tap(weights);
    }
    Ok(attended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Array;
    use crate::array::Spec;
    use crate::exec::{Executor, Reference};
    use crate::graph::Graph;
    use crate::plan::Plan;
    use crate::shape::Shape;
    use std::sync::Arc;

    /// sin(first), sin(first + 1), …
    fn sines(first: usize, shape: impl Into<Shape>) -> Array {
        let shape = shape.into();
        let numbers = first..first + shape.elements();
        let numbers: Vec<f64> = numbers.map(|i| (i as f64).sin()).collect();
        Array::new(shape, numbers).expect("the length fits")
    }

    /// Two heads of two channels, two queries, three keys of which the last is masked.
    fn run(names: AttentionNames, parameters: [&str; 4]) -> Vec<Array> {
        let graph = Graph::record(|r| {
            let settings = MultiHeadAttention {
                num_heads: 2,
                score_map: ScoreMap::Identity,
                names,
            };
            let x = r.input("x", Spec::real([1, 2, 4]))?;
            let memory = r.input("memory", Spec::real([1, 3, 4]))?;
            let mask = r.constant(Array::new([1, 3], vec![1u32, 1, 0])?);
            let scope = r.scope().name("attn");
            let attended = multi_head_attention(&scope, x, memory, Some(mask), settings)?;
            r.output("y", attended.y)?;
            r.output("weights", attended.weights()?)
        });
        let mut host = Reference::new(1).expect("an executor");
        let plan = Plan::new(Arc::new(graph.expect("it records")), host.target());
        let plan = host
            .prepare(Arc::new(plan.expect("a plan")))
            .expect("it prepares");
        let shapes: [Shape; 4] = [[12, 4].into(), [12].into(), [4, 4].into(), [4].into()];
        for (i, (name, shape)) in parameters.into_iter().zip(shapes).enumerate() {
            let name = format!("attn.{name}");
            host.write(&name, sines(i + 1, shape)).expect("a parameter");
        }
        let (x, memory) = (sines(5, [1, 2, 4]), sines(6, [1, 3, 4]));
        host.run(plan, &[("x", &x), ("memory", &memory)], None)
            .expect("it runs")
    }

    /// The numbers are those of `torch.nn.MultiheadAttention` with the same parameters, in double precision.
    #[test]
    fn agrees_with_the_layer_it_is_named_after() {
        let expected = [
            vec![
                -0.5720197942243497,
                -2.0748748655103717,
                0.9946697705300409,
                0.10734177288404279,
                0.855922651527738,
                -3.2956626387483547,
                1.1626476055885557,
                1.1085342654570696,
            ],
            vec![
                0.22930320041343805,
                0.770696799586562,
                0.0,
                0.5138711429058198,
                0.48612885709418013,
                0.0,
                0.1707963261556313,
                0.8292036738443687,
                0.0,
                0.9934779882119074,
                0.006522011788092609,
                0.0,
            ],
        ];
        let torch = [
            "in_proj_weight",
            "in_proj_bias",
            "out_proj.weight",
            "out_proj.bias",
        ];
        let timm = ["qkv.weight", "qkv.bias", "proj.weight", "proj.bias"];
        for (names, parameters) in [(AttentionNames::Torch, torch), (AttentionNames::Timm, timm)] {
            for (got, expected) in run(names, parameters).iter().zip(&expected) {
                for (got, expected) in got.to_f64().iter().zip(expected) {
                    assert!(
                        (got - expected).abs() < 1e-14,
                        "{got} instead of {expected}"
                    );
                }
            }
        }
    }
}
