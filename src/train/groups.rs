//! Parameter groups: which parameters learn, how fast, and which of them decay.

use crate::error::{Error, Result};
use crate::graph::Recorder;
use crate::nn::{Part, Pattern};
use crate::shape::Shape;
use std::sync::Arc;

/// Rules by name for the parameters of a model, for [`record_sgd`](super::record_sgd) and
/// [`record_adamw`](super::record_adamw). Without rules everything learns at the full rate and decays.
///
/// Of the rules about learning that cover a parameter the last counts. A backbone that stays as it is but for its last
/// two blocks, which learn at a tenth of the rate at which the head does:
///
/// ```
/// use axenic::train::Groups;
/// let groups = Groups::default().freeze("*").rate("layer4", 0.1).rate("fc", 1.0);
/// ```
///
/// As BEiT and DINOv2 are fine-tuned, with a rate that falls by a factor from block to block towards the image, and decay
/// of nothing but matrices:
///
/// ```
/// # use axenic::train::{Decaying, Groups};
/// let groups = Groups::default().layer_decay(0.75).decaying(Decaying::Matrices);
/// ```
///
/// Frozen parameters get no gradient, no update and no optimiser state; that the batch norms of a frozen part run on their
/// running statistics is said when the model is recorded, by a mode with the [`parts`](Self::parts) of the same groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    learning: Vec<(Pattern, Learning)>,
    without_decay: Vec<Pattern>,
    layer_decay: f64,
    decaying: Decaying,
}

/// Whether a parameter learns.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Learning {
    Frozen,
    /// At this factor of the learning rate.
    Rate(f64),
}

/// Which parameters decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decaying {
    /// All.
    All,
    /// Those of two axes or more, but for tokens and tables of positions ([`TOKENS_AND_POSITIONS`]). So neither biases nor
    /// norms decay: timm's `param_groups_weight_decay` with the lists of its transformers, as DeiT was trained.
    Matrices,
}

/// The last part of the names of learnt tokens and positions in timm, torchvision and DINOv2.
pub const TOKENS_AND_POSITIONS: [&str; 9] = [
    "cls_token",
    "class_token",
    "dist_token",
    "reg_token",
    "register_tokens",
    "pos_embed",
    "pos_embedding",
    "absolute_pos_embed",
    "relative_position_bias_table",
];

/// What becomes of a parameter that learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    /// The factor on the learning rate.
    pub rate: f64,
    /// The factor on the weight decay: 1 or 0.
    pub decay: f64,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            learning: Vec::new(),
            without_decay: Vec::new(),
            layer_decay: 1.0,
            decaying: Decaying::All,
        }
    }
}

impl Groups {
    /// What the pattern covers stays as it is.
    #[must_use]
    pub fn freeze(mut self, pattern: &str) -> Self {
        self.learning
            .push((Pattern::new(pattern), Learning::Frozen));
        self
    }

    /// What the pattern covers learns, at this factor of the learning rate.
    #[must_use]
    pub fn rate(mut self, pattern: &str, factor: f64) -> Self {
        self.learning
            .push((Pattern::new(pattern), Learning::Rate(factor)));
        self
    }

    /// Multiplies the rates by factorᵏ, where k is how many blocks of the model lie between a parameter and the model's
    /// end: layer-wise learning-rate decay. A network of n blocks has n + 2 layers: what comes before the blocks, the
    /// blocks, and what comes behind them ([`Recorder::depth_of`]); what lies between two blocks belongs to the first.
    ///
    /// Reference: Clark et al., *ELECTRA*, 2020, appendix A; Bao et al., *BEiT*, 2022, and its `LayerDecayValueAssigner`.
    #[must_use]
    pub fn layer_decay(self, factor: f64) -> Self {
        Self {
            layer_decay: factor,
            ..self
        }
    }

    /// Which kind of parameters decay.
    #[must_use]
    pub fn decaying(self, decaying: Decaying) -> Self {
        Self { decaying, ..self }
    }

    /// What the pattern covers does not decay.
    #[must_use]
    pub fn without_decay(mut self, pattern: &str) -> Self {
        self.without_decay.push(Pattern::new(pattern));
        self
    }

    /// What a model's mode is to know of these groups ([`Mode::with_frozen`](crate::nn::Mode::with_frozen)).
    pub fn parts(&self) -> Arc<[(Pattern, Part)]> {
        let part = |learning: &Learning| match learning {
            Learning::Frozen => Part::Frozen,
            Learning::Rate(_) => Part::Learns,
        };
        let parts = self.learning.iter();
        parts
            .map(|(p, learning)| (p.clone(), part(learning)))
            .collect()
    }

    /// Whether the parameter of this name stays as it is.
    pub fn is_frozen(&self, name: &str) -> bool {
        self.learning_of(name) == Learning::Frozen
    }

    fn learning_of(&self, name: &str) -> Learning {
        let mut rules = self.learning.iter().rev();
        let last = rules.find(|(pattern, _)| pattern.covers(name));
        last.map_or(Learning::Rate(1.0), |(_, learning)| *learning)
    }

    /// That every pattern covers a parameter of a model, and that the factors are factors.
    ///
    /// # Errors
    /// The pattern or factor where it is not so; for a pattern with names that are like it.
    pub fn check(&self, names: &[&str]) -> Result<()> {
        let patterns = self.learning.iter().map(|(pattern, _)| pattern);
        for pattern in patterns.chain(&self.without_decay) {
            if !names.iter().any(|name| pattern.covers(name)) {
                return Err(Error::input(format!(
                    "the pattern {:?} covers no parameter; the names most like it are {}",
                    pattern.to_string(),
                    nearest(&pattern.to_string(), names).join(", ")
                )));
            }
        }
        let rates = self
            .learning
            .iter()
            .filter_map(|(pattern, learning)| match learning {
                Learning::Frozen => None,
                Learning::Rate(rate) => Some((format!("the rate of {pattern}"), *rate)),
            });
        let decay = ("the layer decay".to_string(), self.layer_decay);
        match rates
            .chain([decay])
            .find(|(_, x)| !(x.is_finite() && *x > 0.0))
        {
            Some((what, x)) => Err(Error::input(format!(
                "{what} is {x}; a factor is positive (what is not to learn is frozen)"
            ))),
            None => Ok(()),
        }
    }

    /// These groups without the rules that cover none of the names.
    pub(super) fn about(&self, names: &[&str]) -> Self {
        let is_about = |pattern: &Pattern| names.iter().any(|name| pattern.covers(name));
        let mut own = self.clone();
        own.learning.retain(|(pattern, _)| is_about(pattern));
        own.without_decay.retain(is_about);
        own
    }

    /// What becomes of each parameter declared so far; `None` if it is frozen.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn settings(&self, r: &Recorder) -> Result<Vec<Option<Settings>>> {
        let parameters = r.parameters();
        let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        self.check(&names)?;
        let depths = parameters
            .iter()
            .map(|(_, tensor)| r.depth_of(tensor.value()));
        let depths: Vec<usize> = depths.collect();
        let last = depths.iter().max().copied().unwrap_or(0);
        let each = parameters.iter().zip(depths);
        Ok(each
            .map(|((name, tensor), depth)| match self.learning_of(name) {
                Learning::Frozen => None,
                Learning::Rate(rate) => Some(Settings {
                    rate: rate * self.layer_decay.powi((last - depth) as i32),
                    decay: self.decay_of(name, tensor.shape()),
                }),
            })
            .collect())
    }

    fn decay_of(&self, name: &str, shape: Shape) -> f64 {
        let last = name.rsplit('.').next().unwrap_or(name);
        let is_matrix = shape.len() > 1 && !TOKENS_AND_POSITIONS.contains(&last);
        let is_spared = self
            .without_decay
            .iter()
            .any(|pattern| pattern.covers(name))
            || (self.decaying == Decaying::Matrices && !is_matrix);
        if is_spared { 0.0 } else { 1.0 }
    }
}

/// The parts of the names, and the names, that differ least from a text: at most three.
fn nearest(text: &str, names: &[&str]) -> Vec<String> {
    let parts = names.iter().flat_map(|name| {
        let dots = name.match_indices('.').map(|(at, _)| at);
        dots.chain([name.len()]).map(|end| &name[..end])
    });
    let mut found: Vec<(usize, &str)> = parts.map(|part| (edits(text, part), part)).collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(3);
    found
        .into_iter()
        .map(|(_, part)| part.to_string())
        .collect()
}

/// How many characters must be put in, taken out or replaced to make one text of the other (Levenshtein 1966).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, Init};
    use crate::nn::Mode;

    const NAMES: [&str; 5] = [
        "conv1.weight",
        "layer3.0.conv1.weight",
        "layer4.0.bn1.weight",
        "fc.weight",
        "fc.bias",
    ];

    #[test]
    fn the_last_rule_counts() {
        let groups = Groups::default()
            .freeze("*")
            .rate("layer4", 0.1)
            .rate("fc", 1.0);
        groups
            .check(&NAMES)
            .expect("every pattern covers something");
        let learning = NAMES.map(|name| groups.learning_of(name));
        let expected = [
            Learning::Frozen,
            Learning::Frozen,
            Learning::Rate(0.1),
            Learning::Rate(1.0),
            Learning::Rate(1.0),
        ];
        assert_eq!(learning, expected);
        assert_eq!(groups.about(&["fc.weight"]).learning.len(), 2);
    }

    #[test]
    fn what_covers_nothing_is_refused_with_what_is_near() {
        let refused = |groups: Groups| groups.check(&NAMES).expect_err("it is refused").to_string();
        let near = refused(Groups::default().freeze("layr4"));
        assert!(near.contains("\"layr4\" covers no parameter"), "{near}");
        assert!(near.contains("are layer4, layer3, "), "{near}");
        let spared = refused(Groups::default().without_decay("fc.bais"));
        assert!(spared.contains("are fc.bias, "), "{spared}");
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let rate = refused(Groups::default().rate("fc", factor));
            assert!(rate.contains("the rate of fc is"), "{rate}");
            let decay = refused(Groups::default().layer_decay(factor));
            assert!(decay.contains("the layer decay is"), "{decay}");
        }
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!((edits("", "abc"), edits("abc", "")), (3, 3));
    }

    /// Two blocks: the four layers are what lies before them, each of them, and what lies behind; a parameter between
    /// the blocks is of the first one's layer.
    #[test]
    fn rates_fall_from_block_to_block() {
        let groups = Groups::default()
            .layer_decay(0.5)
            .decaying(Decaying::Matrices);
        let groups = groups.rate("head", 3.0).without_decay("stem");
        let mut found = Vec::new();
        Graph::record(|r| {
            let (scope, mode, one) = (r.scope(), Mode::inference(), Init::Constant(1.0));
            scope.name("stem").parameter("weight", [2, 2], one)?;
            scope.parameter("pos_embed", [1, 4, 2], one)?;
            for index in 0..2 {
                let block = scope.name("blocks").name(index);
                let _block = mode.enter_block(&block);
                let inner = block.name("inner");
                let _inner = mode.enter_block(&inner);
                inner.parameter("weight", [2, 2], one)?;
                drop(_inner);
                drop(_block);
                scope
                    .name(format!("between{index}"))
                    .parameter("bias", [2], one)?;
            }
            let _empty = mode.enter_block(&scope.name("nothing"));
            drop(_empty);
            scope.name("head").parameter("weight", [2, 2], one)?;
            found = groups.settings(r)?;
            Ok(())
        })
        .expect("it records");
        let found: Vec<_> = found
            .into_iter()
            .flatten()
            .map(|own| (own.rate, own.decay))
            .collect();
        let expected = [
            (0.125, 0.0),
            (0.125, 0.0),
            (0.25, 1.0),
            (0.25, 0.0),
            (0.5, 1.0),
            (1.0, 0.0),
            (3.0, 1.0),
        ];
        assert_eq!(found, expected);
    }
}
