//! The standard normal distribution in double precision, by its series and its continued fraction: relative accuracy in
//! both tails.

/// √(2π).
const ROOT_TWO_PI: f64 = 2.506_628_274_631_000_7;

/// Where the series hands over to the continued fraction.
const BORDER: f64 = 1.0;

/// exp(−x²/2). The square is taken in two parts, the first exact: rounding it would cost x²/2 units in the last place.
pub(super) fn gauss(x: f64) -> f64 {
    let high = f64::from_bits(x.to_bits() & !0x07ff_ffff);
    if !high.is_finite() {
        return (-x * x).exp();
    }
    (-0.5 * high * high).exp() * (-0.5 * (x - high) * (x + high)).exp()
}

/// Φ(x) = ∫ exp(−t²/2) dt / √(2π) over t ≤ x.
///
/// Near zero ½ + φ(x) · (x + x³/3 + x⁵/(3·5) + …); in the tails Φ(−x) = φ(x) / (x + 1/(x + 2/(x + 3/(x + …)))).
///
/// Reference: G. Marsaglia, "Evaluating the normal distribution", *Journal of Statistical Software* 11 (2004); the fraction is
/// Laplace's.
pub(super) fn cdf(x: f64) -> f64 {
    let density = gauss(x) / ROOT_TWO_PI;
    if x.abs() < BORDER {
        let (mut sum, mut term, mut odd) = (x, x, 1.0);
        while term.abs() > 1e-18 * sum.abs() {
            odd += 2.0;
            term *= x * x / odd;
            sum += term;
        }
        return 0.5 + density * sum;
    }
    let z = x.abs();
    // It converges like exp(−x √(8 terms)): these leave less than double precision shows.
    let terms = (400.0 / (z * z)) as u32 + 20;
    let fraction = (1..=terms).rev().fold(z, |rest, k| z + f64::from(k) / rest);
    let tail = density / fraction;
    if x > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forty digits from a library of arbitrary precision, rounded.
    #[test]
    #[expect(clippy::excessive_precision, reason = "the digits are as published")]
    fn both_tails_keep_their_digits() {
        let table = [
            (-37.5, 4.6053530095819548438e-308),
            (-20.0, 2.7536241186062336951e-89),
            (-10.0, 7.619853024160526066e-24),
            (-8.123456789, 2.265450542853654657e-16),
            (-5.5, 1.8989562465887719384e-8),
            (-3.0, 0.0013498980316300945267),
            (-2.0, 0.0227501319481792072),
            (-1.5, 0.066807201268858066004),
            (-1.499, 0.066936816029697448289),
            (-1.0, 0.15865525393145705141),
            (-0.5, 0.30853753872598689636),
            (-0.001, 0.49960105778608893741),
            (-1e-20, 0.5),
            (1e-08, 0.50000000398942280401),
            (0.3, 0.61791142218895263307),
            (1.0, 0.84134474606854294859),
            (1.75, 0.95994084313618290958),
            (4.0, 0.99996832875816688008),
            (9.0, 0.99999999999999999989),
        ];
        for (x, expected) in table {
            let error = (cdf(x) / expected - 1.0).abs();
            assert!(error < 1e-15, "{x}: {error:e}");
        }
        assert_eq!(cdf(0.0), 0.5);
        assert_eq!((cdf(f64::INFINITY), cdf(f64::NEG_INFINITY)), (1.0, 0.0));
        assert!(cdf(f64::NAN).is_nan() && gauss(f64::NAN).is_nan());
        assert_eq!((gauss(0.0), gauss(f64::INFINITY)), (1.0, 0.0));
    }

    #[test]
    fn the_density_is_the_slope() {
        for i in -80..80 {
            let x = f64::from(i) * 0.1;
            let step = 1e-4;
            let slope = (cdf(x + step) - cdf(x - step)) / (2.0 * step);
            let density = gauss(x) / ROOT_TWO_PI;
            // The differences' own error: step² / 6 times the second derivative of the density, and rounding near one.
            let allowed = 2e-9 * density * (x * x + 1.0) + 1e-12 * cdf(x);
            assert!((slope - density).abs() < allowed, "{x}: {slope} {density}");
        }
    }
}
