//! Functions of f32 without a branch or a call, always inlined, so that loops over them vectorise. Some are the twins of `shaders/lib`.

use super::formulas::exp_series;

/// e^x within 2 units in the last place.
#[inline(always)]
pub(in crate::ops) fn exp(x: f32) -> f32 {
    let (series, n) = exp_series(x);
    // 2ⁿ in two factors: the whole may lie beyond the numbers where the product does not.
    let power = |n: i32| f32::from_bits(((n.wrapping_add(127)) as u32) << 23);
    let y = series * power(n >> 1) * power(n - (n >> 1));
    let y = if x > 89.0 { f32::INFINITY } else { y };
    if x < -104.0 { 0.0 } else { y }
}

/// e^x − 1 for |x| ≤ ½.
#[inline(always)]
pub(in crate::ops) fn exp_minus_one(x: f32) -> f32 {
    const SERIES: [f32; 7] = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ];
    x * SERIES
        .iter()
        .fold(1.0 / 40320.0, |sum, coefficient| sum * x + coefficient)
}

/// ln(1 + f) for 1 + f in [√½, √2): `shaders/lib/log_one_plus.wgsl` says how.
#[inline(always)]
fn log_near_one(f: f32) -> f32 {
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * (2.0 / 3.0 + z * (0.4 + z * (2.0 / 7.0 + z * (2.0 / 9.0))));
    let h = 0.5 * f * f;
    f - (h - s * (h + r))
}

/// f and e with x = 2ᵉ · (1 + f) and 1 + f in [√½, √2), for normal x.
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    /// The bits of √½.
    const LOW: u32 = 0x3f35_04f3;
    let exponent = (x.to_bits().wrapping_sub(LOW) as i32) >> 23;
    let fraction = f32::from_bits(x.to_bits().wrapping_sub((exponent << 23) as u32));
    (fraction - 1.0, exponent as f32)
}

/// ln x within 4 units in the last place; −∞ for 0, NaN below.
#[inline(always)]
pub(in crate::ops) fn log(x: f32) -> f32 {
    // What is smaller than the normal numbers is first taken among them.
    let is_small = x < f32::MIN_POSITIVE;
    let (scaled, shift) = if is_small {
        (x * 33_554_432.0, 25.0)
    } else {
        (x, 0.0)
    };
    let (f, exponent) = split(scaled);
    let y = (exponent - shift) * std::f32::consts::LN_2 + log_near_one(f);
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 { f32::NAN } else { y }
}

/// exp(−z²/2): `gauss` in `shaders/lib/normal.wgsl`.
#[inline(always)]
pub(in crate::ops) fn gauss(z: f32) -> f32 {
    let size = z.abs();
    let high = f32::from_bits(size.to_bits() & 0xffff_f000);
    let (s, t) = (0.5 * high * high, 0.5 * (size - high) * (size + high));
    let y = super::exp_of_negative(-s) * (1.0 + exp_minus_one(-t));
    if s > 87.3 { 0.0 } else { y }
}

/// Φ(z): `normal_cdf` in `shaders/lib/normal.wgsl`.
#[inline(always)]
pub(in crate::ops) fn normal_cdf(z: f32) -> f32 {
    const FIT: [f32; 10] = [
        1.308_395_3e-4,
        -2.449_143_8e-4,
        -1.032_271_1e-3,
        1.024_956_5e-3,
        6.969_260_5e-3,
        -1.046_256_1e-2,
        -4.726_268_6e-2,
        0.230_017_7,
        -0.509_332,
        0.729_083_7,
    ];
    // Beyond 40 the tail is 0, and the quotients below would be of infinities. (`min` would lose NaN.)
    let size = if z.abs() > 40.0 { 40.0 } else { z.abs() };
    let share = 1.0 / (size + 3.0);
    let u = (size - 3.0) * share;
    let fit = FIT
        .iter()
        .fold(5.427_881e-5, |sum, coefficient| sum * u + coefficient);
    let tail = gauss(z) * (fit * share);
    if z > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real::Real;

    /// The largest error over `count` points of [low, high], in units in the last place.
    fn worst([low, high]: [f64; 2], of: impl Fn(f32) -> f32, expected: impl Fn(f64) -> f64) -> f64 {
        let count = 400_000;
        (0..=count)
            .map(|i| (low + (high - low) * f64::from(i) / f64::from(count)) as f32)
            .map(|x| {
                let expected = expected(f64::from(x));
                let unit = expected.abs().max(f32::MIN_POSITIVE.into()) * 2f64.powi(-23);
                (f64::from(of(x)) - expected).abs() / unit
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn the_normal_distribution_ends() {
        let ends = [f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30].map(normal_cdf);
        assert_eq!(ends, [1.0, 0.0, 1.0, 0.0]);
        assert!(normal_cdf(f32::NAN).is_nan());
    }

    #[test]
    fn exponentials() {
        assert!(worst([-87.3, 88.7], exp, f64::exp) < 2.0);
        assert!(worst([-0.5, 0.5], exp_minus_one, f64::exp_m1) < 2.0);
        assert_eq!(
            [exp(0.0), exp(-1e9), exp(1e9), exp(f32::NEG_INFINITY)],
            [1.0, 0.0, f32::INFINITY, 0.0]
        );
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn logarithms() {
        for range in [
            [1e-30, 1e-20],
            [1e-3, 0.5],
            [0.5, 2.0],
            [0.999, 1.001],
            [2.0, 1e30],
        ] {
            let error = worst(range, log, f64::ln);
            assert!(error < 4.0, "{range:?}: {error}");
        }
        assert_eq!(
            [log(0.0), log(1.0), log(f32::INFINITY)],
            [f32::NEG_INFINITY, 0.0, f32::INFINITY]
        );
        assert!((log(1e-40) + 92.103_4).abs() < 1e-4);
        assert!(log(-1.0).is_nan() && log(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution() {
        for range in [[-13.0, -3.0], [-3.0, 0.0], [0.0, 6.0], [-1e-3, 1e-3]] {
            let error = worst(range, gauss, Real::gauss);
            assert!(error < 4.0, "gauss in {range:?}: {error}");
            let error = worst(range, normal_cdf, Real::normal_cdf);
            assert!(error < 6.0, "normal_cdf in {range:?}: {error}");
        }
        assert_eq!(
            [normal_cdf(-40.0), normal_cdf(40.0), gauss(40.0)],
            [0.0, 1.0, 0.0]
        );
        assert!(normal_cdf(f32::NAN).is_nan() && gauss(f32::NAN).is_nan());
    }

    /// `shaders/lib/normal.wgsl`, line by line where it differs from the twin.
    #[test]
    fn the_devices_normal_distribution() {
        let device = |z: f32| {
            let size = z.abs();
            let high = f32::from_bits(size.to_bits() & 0xffff_f000);
            let (s, t) = (0.5 * high * high, 0.5 * (size - high) * (size + high));
            let whole = s.floor();
            let mut y = (-((s - whole) + t)).exp();
            for bit in 0..7 {
                if whole as u32 >> bit & 1 == 1 {
                    y *= (-f64::from(1 << bit)).exp() as f32;
                }
            }
            if s > 87.3 { 0.0 } else { y }
        };
        let error = worst([-13.0, 13.0], device, Real::gauss);
        // Of the 12 units promised, a device's exponential may take 5.
        assert!(error < 6.0, "{error}");
    }
}
