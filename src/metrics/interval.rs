//! How certain a measured number is.

use crate::rng::Stream;
use serde::Serialize;

/// Replicates of a bootstrap by default.
pub const REPLICATES: u64 = 2000;

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Bootstrap percentile intervals of `M` statistics of the same `count` samples.
///
/// Each replicate draws `count` samples with replacement, from all samples alike (not by class), and hands their indices
/// to `statistics`; the interval goes from the 2.5 % to the 97.5 % point of the replicates' values, interpolated linearly.
/// Replicates in which a statistic is undefined are left out of its interval; an interval is undefined if they are all,
/// or if there is nothing to draw. Replicate r depends on the seed and r only.
pub fn bootstrap<const M: usize>(
    count: usize,
    seed: u64,
    replicates: u64,
    mut statistics: impl FnMut(&[usize]) -> [Option<f64>; M],
) -> [Option<Interval>; M] {
    let mut values: [Vec<f64>; M] = std::array::from_fn(|_| Vec::new());
    let mut drawn = vec![0; count];
    if count > 0 {
        for replicate in 0..replicates {
            let mut stream = Stream::new(seed, "bootstrap", replicate, 0);
            drawn.fill_with(|| stream.below(count));
            for (values, value) in values.iter_mut().zip(statistics(&drawn)) {
                values.extend(value.filter(|v| v.is_finite()));
            }
        }
    }
    values.map(|mut values| {
        values.sort_unstable_by(f64::total_cmp);
        Some(Interval {
            low: quantile(&values, 0.025)?,
            high: quantile(&values, 0.975)?,
        })
    })
}

/// The value below which a share of the sorted values lies, interpolated linearly between neighbours.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let below = sorted[place as usize];
    let above = sorted[place.ceil() as usize];
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        // As numpy.percentile([1, 2, 4], [25, 50, 75]).
        let at = |share| quantile(&[1.0, 2.0, 4.0], share);
        assert_eq!(
            [at(0.25), at(0.5), at(0.75), at(1.0)],
            [Some(1.5), Some(2.0), Some(3.0), Some(4.0)]
        );
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.975), Some(7.0));
    }

    #[test]
    fn bootstrap_of_a_proportion_is_near_its_theory() {
        // 120 of 400: standard error √(0.3·0.7/400) = 0.0229, so 0.3 ± 0.0449.
        let mean = |drawn: &[usize]| {
            [Some(
                drawn.iter().filter(|&&i| i < 120).count() as f64 / 400.0,
            )]
        };
        let [found] = bootstrap(400, 1, REPLICATES, mean);
        let found = found.expect("defined");
        assert!(
            (found.low - 0.2551).abs() < 0.008 && (found.high - 0.3449).abs() < 0.008,
            "{found:?}"
        );
        assert_eq!(bootstrap(400, 1, REPLICATES, mean), [Some(found)]);
        assert_ne!(bootstrap(400, 2, REPLICATES, mean), [Some(found)]);
    }

    #[test]
    fn undefined_replicates_are_left_out() {
        let statistics = |drawn: &[usize]| [(drawn[0] == 0).then_some(5.0), None, Some(f64::NAN)];
        let five = Some(Interval {
            low: 5.0,
            high: 5.0,
        });
        assert_eq!(bootstrap(3, 1, 50, statistics), [five, None, None]);
        assert_eq!(bootstrap(0, 1, 50, |_| [Some(1.0)]), [None]);
        assert_eq!(bootstrap(3, 1, 0, |_| [Some(1.0)]), [None]);
    }

    #[test]
    fn more_replicates_keep_the_first_ones() {
        let collect = |replicates| {
            let mut seen = Vec::new();
            bootstrap(5, 9, replicates, |drawn| {
                seen.push(drawn.to_vec());
                [None]
            });
            seen
        };
        assert_eq!(collect(3), collect(10)[..3]);
    }
}
