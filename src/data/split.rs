//! Stratified splits: a share of every class held out, by chance that depends on nothing but the seed.

use crate::error::{Error, Result};
use crate::rng::Stream;
use std::collections::BTreeMap;

/// A set cut in two. Indices into the records, each part in the order of the records' ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The larger part: for training.
    pub kept: Vec<usize>,
    /// The part set aside: for testing, or for validation.
    pub held_out: Vec<usize>,
}

/// Holds out a `share` (0 to 1) of the records, of each class as nearly as whole records allow.
///
/// The number held out, share · count rounded, is divided among the classes by largest remainder (equal remainders: the
/// smaller class number first). Then every class of at least two records gets at least one in either part, which may
/// change that number a little; a share of 0 or 1 is taken literally. The result does not depend on the order of the
/// records. `purpose` tells independent splits of one seed apart.
///
/// # Errors
/// The share is not within 0 to 1, there are not as many ids as classes, or two ids are equal.
pub fn stratified(
    ids: &[&str],
    classes: &[usize],
    share: f64,
    seed: u64,
    purpose: &str,
) -> Result<Split> {
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::input(format!(
            "a share of {share} cannot be held out; it must lie within 0 and 1"
        )));
    }
    if ids.len() != classes.len() {
        return Err(Error::input(format!(
            "{} ids do not fit {} classes",
            ids.len(),
            classes.len()
        )));
    }
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_unstable_by_key(|&i| ids[i]);
    if let Some(twins) = order.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
        return Err(Error::input(format!(
            "id `{}` is there twice; a split needs different ids",
            ids[twins[0]]
        )));
    }
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &i in &order {
        members.entry(classes[i]).or_default().push(i);
    }
    let sizes: Vec<usize> = members.values().map(Vec::len).collect();
    let mut held = vec![false; ids.len()];
    for ((class, mut members), quota) in members.into_iter().zip(quotas(&sizes, share)) {
        Stream::new(seed, purpose, class as u64, 0).shuffle(&mut members);
        members[..quota].iter().for_each(|&i| held[i] = true);
    }
    let (held_out, kept) = order.into_iter().partition(|&i| held[i]);
    Ok(Split { kept, held_out })
}

/// How many of each class are held out.
fn quotas(sizes: &[usize], share: f64) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    let exact: Vec<f64> = sizes.iter().map(|&n| n as f64 * share).collect();
    let mut quotas: Vec<usize> = exact.iter().map(|&q| q as usize).collect();
    let wanted = (total as f64 * share).round() as usize;
    let missing = wanted.saturating_sub(quotas.iter().sum());
    let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
    by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract())); // stable
    by_remainder
        .iter()
        .take(missing)
        .for_each(|&i| quotas[i] += 1);
    if share > 0.0 && share < 1.0 {
        for (quota, &size) in quotas.iter_mut().zip(sizes).filter(|(_, size)| **size >= 2) {
            *quota = (*quota).clamp(1, size - 1);
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("../data/{i}.JPG")).collect()
    }

    fn split(classes: &[usize], share: f64, seed: u64) -> Split {
        let ids = ids(classes.len());
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        stratified(&ids, classes, share, seed, "split").expect("splits")
    }

    #[test]
    fn quotas_follow_the_largest_remainder() {
        // A fifth of 21 is 4.2, so 4: exactly 2.0, 1.4 and 0.8, whole parts 2, 1, 0, the one left to the third.
        assert_eq!(quotas(&[10, 7, 4], 0.2), [2, 1, 1]);
        // A quarter of 8 is 2: 0.5, 0.5, 1.0; of two equal remainders the first.
        assert_eq!(quotas(&[2, 2, 4], 0.25)[2], 1);
        assert_eq!(quotas(&[1, 1, 4], 0.25), [1, 0, 1]);
        // Rare classes keep one in each part.
        assert_eq!(quotas(&[1000, 2, 1], 0.2), [200, 1, 0]);
        assert_eq!(quotas(&[1000, 2, 1], 0.9), [900, 1, 1]);
        assert_eq!(quotas(&[5, 2], 0.0), [0, 0]);
        assert_eq!(quotas(&[5, 2], 1.0), [5, 2]);
        assert!(quotas(&[], 0.5).is_empty());
    }

    #[test]
    fn seeds_and_purposes_differ() {
        let classes = [0; 40];
        assert_eq!(split(&classes, 0.5, 1), split(&classes, 0.5, 1));
        assert_ne!(split(&classes, 0.5, 1), split(&classes, 0.5, 2));
        let ids = ids(40);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let other = stratified(&ids, &classes, 0.5, 1, "validation").expect("splits");
        assert_ne!(split(&classes, 0.5, 1), other);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for share in [-0.1, 1.1, f64::NAN] {
            assert!(stratified(&["a"], &[0], share, 0, "split").is_err());
        }
        assert!(stratified(&["a"], &[0, 1], 0.5, 0, "split").is_err());
        let twins = stratified(&["a", "b", "a"], &[0, 1, 0], 0.5, 0, "split");
        let text = twins.expect_err("twins").to_string();
        assert!(text.contains("id `a` is there twice"), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn splits_are_partitions_that_ignore_order(
            classes in prop::collection::vec(0..5usize, 0..60),
            share in 0.0..=1.0f64,
            seed in any::<u64>(),
        ) {
            let there = split(&classes, share, seed);
            let mut all = [there.kept.clone(), there.held_out.clone()].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..classes.len()).collect::<Vec<_>>());
            if share > 0.0 && share < 1.0 {
                for class in 0..5 {
                    let count = |part: &[usize]| part.iter().filter(|&&i| classes[i] == class).count();
                    let (kept, held) = (count(&there.kept), count(&there.held_out));
                    prop_assert!(kept + held < 2 || (kept > 0 && held > 0));
                    prop_assert!((held as f64 - share * (kept + held) as f64).abs() <= 1.0);
                }
            }
            // The same records in reverse.
            let ids = ids(classes.len());
            let reversed_ids: Vec<&str> = ids.iter().rev().map(String::as_str).collect();
            let reversed: Vec<usize> = classes.iter().rev().copied().collect();
            let back = stratified(&reversed_ids, &reversed, share, seed, "split").expect("splits");
            let names = |part: &[usize], ids: &[&str]| part.iter().map(|&i| ids[i].to_string()).collect::<Vec<_>>();
            let forward_ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            prop_assert_eq!(names(&there.held_out, &forward_ids), names(&back.held_out, &reversed_ids));
            prop_assert_eq!(names(&there.kept, &forward_ids), names(&back.kept, &reversed_ids));
        }
    }
}
