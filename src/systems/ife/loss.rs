//! The loss: two cross-entropies, and two regularisers that speak to the attention maps.
//!
//! L = CE_heavy + CE_light + λ_inner (R_heavy + R_light) + λ_inter R_inter.
//!
//! A map m of one sample has H rows. *Inner*, for each task: KL(t ‖ softmax(m)), where the target t is constant and
//! smoother, softmax(m/τ), for a sample that is negative in this task, sharper, softmax(m·τ), for a positive one.
//! *Inter*, for samples with both chains: JS(softmax(m_heavy), softmax(m_light)). Both are summed over the maps of the
//! last two stages.
//!
//! | | over the samples | inner | inter |
//! | --- | --- | --- | --- |
//! | `paper` | mean over those concerned: all for inner, those with both chains for inter | × 1 | × 1 |
//! | `released` | sum | × 0.01, negatives × 0.5 more | × 100 |
//!
//! Reference: Shi et al., MICCAI 2023, equations 2 to 6. The paper writes KL with the softened map; this is the reading
//! of its released code.

use super::config::{LossConfig, Variant};
use super::model::Outputs;
use crate::error::Result;
use crate::graph::Tensor;
use crate::ops;
use crate::shape::KeepAxes;

/// The terms of the loss, all scalars. The regularisers carry the variant's own factors, but not λ.
pub struct Loss<'g> {
    /// Cross-entropy of the heavy chain, mean over the batch.
    pub heavy: Tensor<'g>,
    /// Cross-entropy of the light chain, mean over the batch.
    pub light: Tensor<'g>,
    /// R_heavy + R_light.
    pub inner: Tensor<'g>,
    /// R_inter.
    pub inter: Tensor<'g>,
    /// The sum that is minimised.
    pub total: Tensor<'g>,
}

impl<'g> Loss<'g> {
    /// The terms with their names.
    pub fn terms(&self) -> [(&'static str, Tensor<'g>); 5] {
        [
            ("loss.heavy", self.heavy),
            ("loss.light", self.light),
            ("loss.inner", self.inner),
            ("loss.inter", self.inter),
            ("loss.total", self.total),
        ]
    }
}

/// Records the loss for labels `heavy` and `light` `[N]`, indices.
///
/// # Errors
/// The labels' length is not that of the batch.
pub fn loss<'g>(
    outputs: &Outputs<'g>,
    heavy: Tensor<'g>,
    light: Tensor<'g>,
    config: &LossConfig,
    variant: Variant,
) -> Result<Loss<'g>> {
    let scope = heavy.recorder().scope().name("loss");
    let _inside = scope.enter();
    let masks = [ops::not_equal(heavy, 0)?, ops::not_equal(light, 0)?];
    let last_two = &outputs.attention[outputs.attention.len() - 2..];
    let mut inner_terms = Vec::new();
    let mut inter_terms = Vec::new();
    for maps in last_two {
        for (map, mask) in maps.iter().zip(masks) {
            inner_terms.push(inner(*map, mask, config.tau, variant)?);
        }
        inter_terms.push(inter(*maps, masks, variant)?);
    }
    let heavy = cross_entropy(outputs.heavy, heavy)?;
    let light = cross_entropy(outputs.light, light)?;
    let (inner, inter) = (total(&inner_terms)?, total(&inter_terms)?);
    let regularisers = [
        scaled(inner, config.lambda_inner)?,
        scaled(inter, config.lambda_inter)?,
    ];
    let total = total(&[heavy, light, regularisers[0], regularisers[1]])?;
    Ok(Loss {
        heavy,
        light,
        inner,
        inter,
        total,
    })
}

fn cross_entropy<'g>(logits: Tensor<'g>, labels: Tensor<'g>) -> Result<Tensor<'g>> {
    ops::mean(ops::cross_entropy(logits, labels)?, &[0], KeepAxes::No)
}

/// One map's inner-task term, a scalar: map [N, H], positive [N].
fn inner<'g>(
    map: Tensor<'g>,
    positive: Tensor<'g>,
    tau: f64,
    variant: Variant,
) -> Result<Tensor<'g>> {
    let target = ops::stop_gradient(map)?;
    let sharper = ops::softmax_kl_divergence(target, map, 1, 1.0 / tau, 1.0)?; // [N]
    let smoother = ops::softmax_kl_divergence(target, map, 1, tau, 1.0)?;
    match variant {
        Variant::Paper => ops::mean(
            ops::select(positive, sharper, smoother)?,
            &[0],
            KeepAxes::No,
        ),
        Variant::Released => {
            let terms = ops::select(positive, sharper, scaled(smoother, 0.5)?)?;
            scaled(ops::sum(terms, &[0], KeepAxes::No)?, 0.01)
        }
    }
}

/// One stage's inter-task term, a scalar: maps [N, H] of heavy and light, masks [N] of the positives.
fn inter<'g>(
    [heavy, light]: [Tensor<'g>; 2],
    masks: [Tensor<'g>; 2],
    variant: Variant,
) -> Result<Tensor<'g>> {
    let r = heavy.recorder();
    let terms = ops::js_divergence(
        ops::softmax(heavy, 1, 1.0)?,
        ops::softmax(light, 1, 1.0)?,
        1,
    )?; // [N]
    let zero = ops::fill(r, [], 0.0)?;
    let one = ops::fill(r, [], 1.0)?;
    let of_both = |values| ops::select(masks[0], ops::select(masks[1], values, zero)?, zero);
    let sum = ops::sum(of_both(terms)?, &[0], KeepAxes::No)?;
    match variant {
        Variant::Released => scaled(sum, 100.0),
        Variant::Paper => {
            // max(count, 1), so that a batch without such samples gives 0.
            let count = ops::sum(of_both(one)?, &[0], KeepAxes::No)?;
            let at_least_one = ops::add(count, ops::relu(ops::sub(one, count)?)?)?;
            ops::div(sum, at_least_one)
        }
    }
}

fn scaled<'g>(x: Tensor<'g>, factor: f64) -> Result<Tensor<'g>> {
    ops::mul(x, ops::fill(x.recorder(), [], factor)?)
}

/// The sum of at least one term.
fn total<'g>(terms: &[Tensor<'g>]) -> Result<Tensor<'g>> {
    terms[1..]
        .iter()
        .try_fold(terms[0], |sum, &term| ops::add(sum, term))
}
