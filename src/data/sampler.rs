//! In which order an epoch visits the items.

use crate::error::{Error, Result};
use crate::rng::Stream;

/// Gives the order of every epoch: a pure function of the seed and the epoch.
#[derive(Clone, Debug)]
pub struct Sampler {
    seed: u64,
    order: Order,
}

#[derive(Clone, Debug)]
enum Order {
    Shuffled { count: usize },
    Balanced { draws: usize, classes: Vec<Class> },
}

/// The items of a class, and the probability that a draw falls into this class or one before it.
#[derive(Clone, Debug)]
struct Class {
    items: Vec<usize>,
    cumulative: f64,
}

impl Sampler {
    /// Every one of `count` items once per epoch, in a new random order.
    pub fn shuffled(count: usize, seed: u64) -> Self {
        Self {
            seed,
            order: Order::Shuffled { count },
        }
    }

    /// As many draws per epoch as there are items, with replacement: first a class in proportion to its weight, then one
    /// of its items, all alike. Equal weights balance the classes; weights equal to the classes' sizes draw items
    /// uniformly. `classes` holds each item's class, `weights` each class's weight; classes without items are never drawn.
    ///
    /// # Errors
    /// An item's class has no weight, a weight is negative or not finite, or no class with items has a positive one.
    pub fn balanced(classes: &[usize], weights: &[f64], seed: u64) -> Result<Self> {
        if let Some(weight) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
            return Err(Error::input(format!(
                "a class cannot have the weight {weight}; weights are finite and not negative"
            )));
        }
        let mut items = vec![Vec::new(); weights.len()];
        for (item, &class) in classes.iter().enumerate() {
            let Some(items) = items.get_mut(class) else {
                return Err(Error::input(format!(
                    "class {class} has no weight; {} weights were given",
                    weights.len()
                )));
            };
            items.push(item);
        }
        let drawn = items.into_iter().zip(weights);
        let drawn: Vec<_> = drawn
            .filter(|(items, w)| !items.is_empty() && **w > 0.0)
            .collect();
        let total: f64 = drawn.iter().map(|(_, weight)| *weight).sum();
        let drawable = total > 0.0 && total.is_finite();
        if !drawable && !classes.is_empty() {
            return Err(Error::input(format!(
                "the weights of the classes that have items sum to {total}, so that nothing can be drawn"
            )));
        }
        let mut sum = 0.0;
        let cumulate = |(items, weight): (Vec<usize>, &f64)| {
            sum += weight;
            Class {
                items,
                cumulative: sum / total,
            }
        };
        Ok(Self {
            seed,
            order: Order::Balanced {
                draws: classes.len(),
                classes: drawn.into_iter().map(cumulate).collect(),
            },
        })
    }

    /// The items of an epoch, in order.
    pub fn epoch(&self, epoch: u64) -> Vec<usize> {
        match &self.order {
            Order::Shuffled { count } => {
                let mut items: Vec<usize> = (0..*count).collect();
                Stream::new(self.seed, "shuffle", epoch, 0).shuffle(&mut items);
                items
            }
            Order::Balanced { draws, classes } => {
                let draw = |index| {
                    let mut stream = Stream::new(self.seed, "balanced", epoch, index as u64);
                    let point = stream.uniform();
                    // Rounding may leave the last cumulative probability below 1.
                    let class = classes
                        .partition_point(|c| c.cumulative <= point)
                        .min(classes.len() - 1);
                    let items = &classes[class].items;
                    items[stream.below(items.len())]
                };
                (0..*draws).map(draw).collect()
            }
        }
    }
}

/// Cuts an order into batches of `size` items (at least one); the last may be shorter.
pub fn batches(order: &[usize], size: usize) -> Vec<Vec<usize>> {
    order.chunks(size.max(1)).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_epochs_are_permutations_that_repeat() {
        let sampler = Sampler::shuffled(100, 7);
        let (first, second) = (sampler.epoch(0), sampler.epoch(1));
        assert_eq!(first, Sampler::shuffled(100, 7).epoch(0));
        assert_ne!(first, second);
        assert_ne!(first, Sampler::shuffled(100, 8).epoch(0));
        for mut order in [first, second] {
            order.sort_unstable();
            assert_eq!(order, (0..100).collect::<Vec<_>>());
        }
        assert!(Sampler::shuffled(0, 7).epoch(0).is_empty());
    }

    #[test]
    fn balanced_draws_follow_the_weights() {
        // 90 items of class 0, 10 of class 2, none of class 1; weights 1, 5, 3: a quarter and three quarters.
        let classes: Vec<usize> = (0..100).map(|i| if i < 90 { 0 } else { 2 }).collect();
        let sampler = Sampler::balanced(&classes, &[1.0, 5.0, 3.0], 7).expect("weights");
        let drawn: Vec<usize> = (0..100).flat_map(|epoch| sampler.epoch(epoch)).collect();
        assert_eq!(drawn.len(), 10_000);
        let rare = drawn.iter().filter(|&&item| item >= 90).count();
        // Four standard deviations of a binomial with 10,000 draws: 4·√(10⁴·¾·¼) = 173.
        assert!(rare.abs_diff(7500) < 173, "{rare}");
        let ninety = drawn.iter().filter(|&&item| item == 90).count();
        assert!(ninety.abs_diff(750) < 106, "{ninety}");
        assert_eq!(sampler.epoch(3), sampler.epoch(3));
        assert_ne!(sampler.epoch(3), sampler.epoch(4));
    }

    #[test]
    fn impossible_weights_are_refused() {
        for weights in [
            &[1.0][..],
            &[1.0, -1.0],
            &[1.0, f64::NAN],
            &[0.0, 0.0],
            &[f64::MAX, f64::MAX],
        ] {
            assert!(
                Sampler::balanced(&[0, 1], weights, 0).is_err(),
                "{weights:?}"
            );
        }
        let certain = Sampler::balanced(&[0, 1, 1], &[1.0, 0.0], 0).expect("weights");
        assert_eq!(certain.epoch(0), [0, 0, 0]);
        let empty = Sampler::balanced(&[], &[1.0], 0).expect("weights");
        assert!(empty.epoch(0).is_empty());
    }

    #[test]
    fn batches_cover_the_order() {
        let order = [5, 3, 1, 4, 2];
        assert_eq!(batches(&order, 2), [vec![5, 3], vec![1, 4], vec![2]]);
        assert_eq!(batches(&order, 0).len(), 5);
        assert!(batches(&[], 4).is_empty());
    }
}
