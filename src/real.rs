//! The number types an operation's host formula is written over.
//!
//! A room writes its mathematics once, over [`Real`]. Run in `f64` it is the reference; run in `f32` it is the plain
//! host version; run in [`Bounded`] it also says how far an `f32` device may be off:
//!
//! ```
//! use axenic::real::{Bounded, Real};
//! let x = Bounded::exact(0.1f32.into());
//! let y = x * x + Bounded::ONE;
//! let on_device = 0.1f32 * 0.1f32 + 1.0;
//! assert!((f64::from(on_device) - y.value()).abs() <= y.error());
//! ```

mod half;
mod normal;

pub use half::from_half;

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A real number: f64, f32, or a value with its error bound.
pub trait Real:
    Copy
    + Debug
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// The accumulator of long sums.
    type Sum: Sum<Self>;
    /// Zero, exactly.
    const ZERO: Self;
    /// One, exactly.
    const ONE: Self;

    /// A constant of the formula, rounded as the device would hold it.
    fn constant(value: f64) -> Self;
    /// A whole number (a count), exact up to 2²⁴.
    fn count(n: usize) -> Self {
        Self::constant(n as f64)
    }
    /// The value, without its bound.
    fn value(self) -> f64;
    /// e to the power of `self`.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + x), accurate for small x.
    fn ln_1p(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// exp(−x²/2), accurate also where x² is large.
    fn gauss(self) -> Self;
    /// The standard normal distribution function Φ(x) = ½ erfc(−x/√2), accurate in both tails.
    fn normal_cdf(self) -> Self;
    /// Whether it comes before `top` as the largest of several: NaN counts as larger than every number, so that it is not
    /// lost, and of equals the first is kept.
    fn exceeds(self, top: Self) -> bool {
        self > top || (self.is_nan() && !top.is_nan())
    }
    /// Whether it is no number.
    fn is_nan(self) -> bool {
        self.partial_cmp(&self).is_none()
    }
    /// The larger of two, NaN if either is.
    fn max(self, other: Self) -> Self {
        if other.exceeds(self) { other } else { self }
    }
    /// The smaller of two, NaN if either is.
    fn min(self, other: Self) -> Self {
        if other < self || other.is_nan() {
            other
        } else {
            self
        }
    }
    /// The absolute value.
    fn abs(self) -> Self {
        if self < Self::ZERO { -self } else { self }
    }
    /// This where `gate` is positive, else 0.
    fn passed(self, gate: Self) -> Self {
        if gate > Self::ZERO { self } else { Self::ZERO }
    }
    /// The result of a formula that some executor computes by a faster algorithm, which may be off by as much as `error`
    /// says. (Asked only where bounds are kept.)
    fn or_within(self, _error: impl FnOnce() -> f64) -> Self {
        self
    }
    /// An empty sum whose terms pass through at most `depth` additions one after the other, in whatever order an
    /// executor adds them. The number of terms always suffices.
    fn sum(depth: usize) -> Self::Sum;
}

/// A sum in progress.
pub trait Sum<R> {
    /// Adds a term.
    fn add(&mut self, term: R);
    /// The sum so far.
    fn total(&self) -> R;
}

macro_rules! real_for_float {
    ($float:ty) => {
        impl Real for $float {
            type Sum = Total;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            fn constant(value: f64) -> Self {
                value as $float
            }
            fn value(self) -> f64 {
                f64::from(self)
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn ln(self) -> Self {
                self.ln()
            }
            fn ln_1p(self) -> Self {
                self.ln_1p()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn gauss(self) -> Self {
                normal::gauss(f64::from(self)) as $float
            }
            fn normal_cdf(self) -> Self {
                normal::cdf(f64::from(self)) as $float
            }
            fn sum(_depth: usize) -> Total {
                Total(0.0)
            }
        }

        impl Sum<$float> for Total {
            fn add(&mut self, term: $float) {
                self.0 += f64::from(term);
            }
            fn total(&self) -> $float {
                self.0 as $float
            }
        }
    };
}

/// The sum of floats: accumulated in double precision, whatever the precision of the terms.
#[derive(Clone, Copy, Debug)]
pub struct Total(f64);

real_for_float!(f32);
real_for_float!(f64);

/// Half the distance between neighbouring f32 around 1: the relative error of one rounding.
pub const UNIT: f64 = 1.0 / (1u64 << 24) as f64;
/// The smallest normal f32. A device may flush what is smaller to zero.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// A value and a bound of the error with which an f32 device computes it (running error analysis).
///
/// The value is computed in f64, whose own rounding is 2²⁹ times finer and neglected. Each operation adds what the device
/// may do wrong in it: half a unit in the last place for + − ×, and the accuracy that WGSL promises for the others
/// (<https://www.w3.org/TR/WGSL/#concrete-float-accuracy>; the host is more accurate). Fused multiply-add is more
/// accurate than the two roundings counted here.
#[derive(Clone, Copy, Debug)]
pub struct Bounded {
    value: f64,
    error: f64,
}

impl Bounded {
    /// A number that the device holds exactly.
    pub fn exact(value: f64) -> Self {
        Self { value, error: 0.0 }
    }

    /// A number known up to an absolute error.
    pub fn with_error(value: f64, error: f64) -> Self {
        Self { value, error }
    }

    /// The bound of the absolute error.
    pub fn error(self) -> f64 {
        self.error
    }

    /// A result with the propagated error `error` and one rounding of `units` times half a unit in the last place.
    fn rounded(value: f64, error: f64, units: f64) -> Self {
        Self {
            value,
            error: error + units * UNIT * (value.abs() + error) + TINY,
        }
    }

    /// The image of the whole interval under a monotone function, as propagated error.
    fn through(self, f: impl Fn(f64) -> f64) -> (f64, f64) {
        let value = f(self.value);
        let error = (f(self.value + self.error) - value)
            .abs()
            .max((f(self.value - self.error) - value).abs());
        (value, error)
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialOrd for Bounded {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl Add for Bounded {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::rounded(self.value + other.value, self.error + other.error, 1.0)
    }
}

impl Sub for Bounded {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::rounded(self.value - other.value, self.error + other.error, 1.0)
    }
}

impl Mul for Bounded {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let error = self.value.abs() * other.error
            + other.value.abs() * self.error
            + self.error * other.error;
        Self::rounded(self.value * other.value, error, 1.0)
    }
}

impl Div for Bounded {
    type Output = Self;
    /// WGSL: 2.5 units in the last place.
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        let smallest = other.value.abs() - other.error;
        let error = if self.error == 0.0 && other.error == 0.0 {
            0.0
        } else if smallest > 0.0 {
            (self.error + value.abs() * other.error) / smallest
        } else {
            f64::INFINITY
        };
        Self::rounded(value, error, 5.0)
    }
}

impl Neg for Bounded {
    type Output = Self;
    fn neg(self) -> Self {
        Self {
            value: -self.value,
            error: self.error,
        }
    }
}

impl Real for Bounded {
    type Sum = BoundedSum;
    const ZERO: Self = Bounded {
        value: 0.0,
        error: 0.0,
    };
    const ONE: Self = Bounded {
        value: 1.0,
        error: 0.0,
    };

    fn constant(value: f64) -> Self {
        Self {
            value,
            error: (value - f64::from(value as f32)).abs(),
        }
    }

    fn value(self) -> f64 {
        self.value
    }

    /// WGSL: 3 + 2·|x| units in the last place.
    fn exp(self) -> Self {
        let (value, error) = self.through(f64::exp);
        Self::rounded(value, error, 2.0 * (3.0 + 2.0 * self.value.abs()))
    }

    /// WGSL: an absolute error of 2⁻²¹ for x in [0.5, 2], else 3 units in the last place.
    fn ln(self) -> Self {
        let (value, error) = self.through(|x| x.max(0.0).ln());
        let near_one = if (0.5..=2.0).contains(&self.value) {
            (-21f64).exp2()
        } else {
            0.0
        };
        Self::rounded(value, error + near_one, 6.0)
    }

    /// `shaders/lib/log_one_plus.wgsl`: 8 units in the last place, for x > −1.
    fn ln_1p(self) -> Self {
        let (value, error) = self.through(|x| x.max(-1.0).ln_1p());
        Self::rounded(value, error, 16.0)
    }

    /// WGSL inherits it from 1 / inverseSqrt(x): 2 units for the inverse root, 2.5 for the division.
    fn sqrt(self) -> Self {
        let (value, error) = self.through(|x| x.max(0.0).sqrt());
        Self::rounded(value, error, 9.0)
    }

    /// `shaders/lib/normal.wgsl`: 12 units in the last place.
    fn gauss(self) -> Self {
        // Monotone on either side of zero; an interval around zero reaches up to 1.
        let value = normal::gauss(self.value);
        let (near, far) = (self.value.abs() - self.error, self.value.abs() + self.error);
        let error = (normal::gauss(near.max(0.0)) - value).max(value - normal::gauss(far));
        Self::rounded(value, error, 24.0)
    }

    /// `shaders/lib/normal.wgsl`: 18 units in the last place.
    fn normal_cdf(self) -> Self {
        let (value, error) = self.through(normal::cdf);
        Self::rounded(value, error, 36.0)
    }

    fn max(self, other: Self) -> Self {
        Self {
            value: Real::max(self.value, other.value),
            error: self.error.max(other.error),
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            value: Real::min(self.value, other.value),
            error: self.error.max(other.error),
        }
    }

    fn passed(self, gate: Self) -> Self {
        let passed = if gate.value > 0.0 { self } else { Self::ZERO };
        if gate.value.abs() > gate.error {
            return passed;
        }
        // A device may decide otherwise.
        Self {
            value: passed.value,
            error: self.value.abs() + self.error,
        }
    }

    fn or_within(self, error: impl FnOnce() -> f64) -> Self {
        Self {
            value: self.value,
            error: self.error.max(error()),
        }
    }

    fn sum(depth: usize) -> BoundedSum {
        BoundedSum {
            value: 0.0,
            error: 0.0,
            magnitude: 0.0,
            depth,
        }
    }
}

/// The sum of bounded numbers: |error| ≤ Σ errors + γ(depth) Σ |terms|, for any order of that depth.
///
/// Reference: Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd edition, section 4.2.
#[derive(Clone, Copy, Debug)]
pub struct BoundedSum {
    value: f64,
    error: f64,
    magnitude: f64,
    depth: usize,
}

impl Sum<Bounded> for BoundedSum {
    fn add(&mut self, term: Bounded) {
        self.value += term.value;
        self.error += term.error;
        self.magnitude += term.value.abs() + term.error;
    }

    fn total(&self) -> Bounded {
        let accumulated = self.depth as f64 * UNIT;
        let gamma = accumulated / (1.0 - accumulated);
        Bounded {
            value: self.value,
            error: self.error + gamma * self.magnitude + TINY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    /// A formula of many steps, in f32 and in `Bounded`: the true error stays below the bound, and the bound is not idle.
    #[test]
    fn bounds_hold_and_are_of_the_right_size() {
        fn formula<R: Real>(x: R, y: R) -> R {
            let mut sum = R::sum(3);
            [x * y, x / y, (x - y).exp()]
                .into_iter()
                .for_each(|term| sum.add(term));
            (sum.total().abs() + R::constant(0.1)).ln() * y.sqrt() + (x * x).ln_1p()
        }
        let mut stream = Stream::new(1, "bounded", 0, 0);
        let mut worst: f64 = 0.0;
        for _ in 0..1000 {
            let (x, y) = (stream.normal() as f32, stream.range(0.1, 3.0) as f32);
            let bounded = formula(Bounded::exact(x.into()), Bounded::exact(y.into()));
            let error = (f64::from(formula(x, y)) - bounded.value()).abs();
            assert!(
                error <= bounded.error(),
                "{x} {y}: {error} > {}",
                bounded.error()
            );
            worst = worst.max(error / bounded.error());
        }
        assert!(
            worst > 0.01,
            "a bound a hundred times too wide proves nothing: {worst}"
        );
    }
}
