//! Formulas that keep their relative accuracy where the textbook's cancel; `shaders/lib` holds their twins. And loops
//! over f32 that compilers vectorise.

use crate::real::Real;

/// ln(t / p) for t, p > 0, accurate also where t ≈ p: the difference t − p is then exact. `log_ratio` in
/// `shaders/lib/log_one_plus.wgsl`.
pub(in crate::ops) fn ln_ratio<R: Real>(t: R, p: R) -> R {
    let excess = (t - p) / p;
    if excess >= R::constant(-0.5) && excess <= R::ONE {
        excess.ln_1p()
    } else {
        (t / p).ln()
    }
}

/// ln x, accurate also near one: the difference x − 1 is then exact. `accurate_log` in `shaders/lib/log_one_plus.wgsl`.
pub(in crate::ops) fn accurate_ln<R: Real>(x: R) -> R {
    if x >= R::constant(0.5) && x <= R::constant(2.0) {
        (x - R::ONE).ln_1p()
    } else {
        x.ln()
    }
}

/// e^x − 1 − x for |x| ≤ ½, by its series x²/2 · (1 + x/3 · (1 + x/4 · (…))). The terms suffice for f64;
/// `shaders/lib/exp_remainder.wgsl` stops where f32 does.
pub(in crate::ops) fn exp_remainder<R: Real>(x: R) -> R {
    let tail = (3..=16).rev().fold(R::ONE, |tail, k| {
        R::ONE + x * R::constant(1.0 / f64::from(k)) * tail
    });
    R::constant(0.5) * (x * x) * tail
}

/// eˣ − eʸ, accurate also where x ≈ y. `exp_difference` in `shaders/lib/exp_remainder.wgsl`.
pub(in crate::ops) fn exp_difference<R: Real>(x: R, y: R) -> R {
    let difference = x - y;
    if difference.abs() <= R::constant(0.5) {
        y.exp() * (difference + exp_remainder(difference))
    } else {
        x.exp() - y.exp()
    }
}

/// How many accumulators the loops below keep, so that neighbouring elements do not wait for one another.
const ACCUMULATORS: usize = 16;

/// The sum of a run, accumulated in double precision.
#[inline(always)]
pub(in crate::ops) fn sum_of_run(run: &[f32]) -> f64 {
    let mut totals = [0.0; ACCUMULATORS];
    fold_run(&mut totals, run, |sum, &x| sum + f64::from(x));
    join(totals, |a, b| a + b)
}

/// The largest number of a run; −∞ for an empty one.
#[inline(always)]
pub(in crate::ops) fn max_of_run(run: &[f32]) -> f32 {
    let mut tops = [f32::NEG_INFINITY; ACCUMULATORS];
    fold_run(&mut tops, run, |top, &x| larger(top, x));
    join(tops, larger)
}

/// The larger of two, NaN if either is: [`Real::max`] without a branch.
#[inline(always)]
pub(in crate::ops) fn larger(a: f32, b: f32) -> f32 {
    if (b > a) | b.is_nan() { b } else { a }
}

/// Folds a run into accumulators side by side.
#[inline(always)]
fn fold_run<A: Copy>(totals: &mut [A; ACCUMULATORS], run: &[f32], add: impl Fn(A, &f32) -> A) {
    let (chunks, rest) = run.as_chunks::<ACCUMULATORS>();
    for chunk in chunks {
        for (total, x) in totals.iter_mut().zip(chunk) {
            *total = add(*total, x);
        }
    }
    for (total, x) in totals.iter_mut().zip(rest) {
        *total = add(*total, x);
    }
}

/// Joins accumulators by halves.
#[inline(always)]
fn join<A: Copy>(mut totals: [A; ACCUMULATORS], join: impl Fn(A, A) -> A) -> A {
    let mut width = ACCUMULATORS / 2;
    while width > 0 {
        for lane in 0..width {
            totals[lane] = join(totals[lane], totals[lane + width]);
        }
        width /= 2;
    }
    totals[0]
}

/// e^x for x ≤ 0 without a branch or a call, so that a loop over it vectorises. Within 2 units in the last place; below
/// the normal numbers it is 0.
#[inline(always)]
pub(in crate::ops) fn exp_of_negative(x: f32) -> f32 {
    let (series, n) = exp_series(x);
    let y = series * f32::from_bits((n.wrapping_add(127) as u32) << 23);
    if x < -87.3 { 0.0 } else { y }
}

/// e^r and n, where x = n·ln 2 + r with |r| ≤ ½·ln 2: e^x = 2ⁿ · e^r, and 2ⁿ is known by its bits.
#[inline(always)]
pub(super) fn exp_series(x: f32) -> (f32, i32) {
    /// Adding it leaves the nearest whole number in the low bits: 1.5 · 2²³.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first with so few bits that its products with n are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const SERIES: [f32; 6] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let series = SERIES
        .iter()
        .fold(1.0 / 5040.0, |sum, coefficient| sum * r + coefficient);
    let whole = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    (series * r + 1.0, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(got: f32, expected: f64) -> f64 {
        (f64::from(got) - expected).abs() / (expected.abs() * 2f64.powi(-23))
    }

    /// `shaders/lib/log_one_plus.wgsl`, line by line.
    fn log_one_plus(x: f32) -> f32 {
        let (mut f, mut exponent) = (x, 0.0);
        if !(-0.29..=0.41).contains(&x) {
            let sum = 1.0 + x;
            let split = (sum.to_bits() >> 23) as i32 - 126;
            let fraction = f32::from_bits(sum.to_bits() & 0x007f_ffff | 0x3f00_0000);
            let low = fraction < std::f32::consts::FRAC_1_SQRT_2;
            f = if low { 2.0 * fraction } else { fraction } - 1.0;
            exponent = (split - i32::from(low)) as f32;
        }
        let s = f / (2.0 + f);
        let z = s * s;
        let r = z * (2.0 / 3.0 + z * (0.4 + z * (2.0 / 7.0 + z * (2.0 / 9.0))));
        let h = 0.5 * f * f;
        exponent * std::f32::consts::LN_2 + (f - (h - s * (h + r)))
    }

    #[test]
    fn the_devices_logarithm_is_accurate_near_one() {
        let positive = (0..0x7f00_0000u32).step_by(997);
        let negative = (0x8000_0000..(-1.0f32).to_bits()).step_by(997);
        let worst = positive
            .chain(negative)
            .map(f32::from_bits)
            .filter(|x| x.is_normal())
            .map(|x| units(log_one_plus(x), f64::from(x).ln_1p()))
            .fold(0.0, f64::max);
        // Of the 8 units promised, a device's division may take 2.5 more in the small part.
        assert!(worst < 4.0, "{worst} units in the last place");
    }

    #[test]
    fn the_vectorised_exponential_is_accurate() {
        let worst = (0..2_000_000)
            .map(|i| -87.3 * (i as f32 / 2e6))
            .map(|x| units(exp_of_negative(x), f64::from(x).exp()))
            .fold(0.0, f64::max);
        assert!(worst < 2.0, "{worst} units in the last place");
        assert_eq!(exp_of_negative(-0.0), 1.0);
        assert_eq!(exp_of_negative(-1e9), 0.0);
        assert_eq!(exp_of_negative(f32::NEG_INFINITY), 0.0);
        assert!(exp_of_negative(f32::NAN).is_nan());
    }

    #[test]
    fn the_remainder_of_the_exponential_keeps_its_relative_accuracy() {
        for x in [-0.5, -1e-3, 1e-6, 0.3, 0.5f64] {
            // The series, summed the long way round.
            let mut term = 1.0;
            let terms: Vec<f64> = (1..30)
                .map(|k| {
                    term *= x / f64::from(k);
                    term
                })
                .collect();
            let expected: f64 = terms[1..].iter().rev().sum();
            assert!((exp_remainder(x) / expected - 1.0).abs() < 1e-14, "{x}");
            let single = f64::from(exp_remainder(x as f32));
            let x = f64::from(x as f32);
            assert!((single / exp_remainder(x) - 1.0).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn runs_of_any_length() {
        for n in [0, 1, 15, 16, 17, 100] {
            let run: Vec<f32> = (0..n).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
            assert_eq!(
                sum_of_run(&run),
                run.iter().map(|&x| f64::from(x)).sum::<f64>()
            );
            let top = run.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max_of_run(&run), top);
        }
    }
}
