//! Half precision, as files and devices store it.

/// The f32 of the same value as 16 bits of IEEE 754 (1 sign, 5 exponent, 10 fraction): every one has one.
pub fn from_half(bits: u16) -> f32 {
    /// The exponents' biases are 15 and 127.
    const REBIASED: f32 = (1u128 << 112) as f32;
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7FFF) << 13;
    if magnitude >= 0x1F << 23 {
        return f32::from_bits(sign | 0xFF << 23 | magnitude); // infinity or NaN
    }
    f32::from_bits(sign | magnitude) * REBIASED
}

#[cfg(test)]
mod tests {
    use super::from_half;

    /// (−1)^s · 2^(e − 15) · (1 + f/1024), without the 1 and with e = 1 where e = 0.
    #[test]
    fn every_half_has_its_value() {
        for bits in 0..=u16::MAX {
            let (exponent, fraction) = (bits >> 10 & 31, f64::from(bits & 1023) / 1024.0);
            let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
            let value = from_half(bits);
            match (exponent, fraction) {
                (31, 0.0) => assert_eq!(f64::from(value), sign * f64::INFINITY),
                (31, _) => assert!(value.is_nan()),
                _ => {
                    let one = f64::from(exponent.min(1));
                    let power = f64::from(exponent.max(1)) - 15.0;
                    assert_eq!(f64::from(value), sign * power.exp2() * (one + fraction));
                    assert_eq!(value.is_sign_negative(), sign < 0.0);
                }
            }
        }
    }
}
