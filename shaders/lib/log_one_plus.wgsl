// Logarithms near one without cancellation: WGSL promises `log` there an absolute error only, and 1 + x drops digits of x.

/// ln(1 + x) for x > −1, within 8 units in the last place.
///
/// Method: 1 + x = 2ᵉ · (1 + f) with 1 + f in [√½, √2). With s = f / (2 + f), ln(1 + f) = 2 atanh(s) = f − (h − s · (h + r)),
/// where h = f²/2 and r = 2s²/3 + 2s⁴/5 + …: the part that carries rounding errors is small against f. Near zero f = x, exactly;
/// elsewhere |ln(1 + x)| > 1/3, and the rounding of 1 + x does no harm.
fn log_one_plus(x: f32) -> f32 {
    var f = x;
    var exponent = 0.0;
    if (x < -0.29 || x > 0.41) {
        let split = frexp(1.0 + x);
        // frexp's fraction lies in [1/2, 1).
        let low = split.fract < 0.70710678;
        f = select(split.fract, 2.0 * split.fract, low) - 1.0;
        exponent = f32(select(split.exp, split.exp - 1, low));
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * (0.66666667 + z * (0.4 + z * (0.28571429 + z * 0.22222222)));
    let h = 0.5 * f * f;
    return exponent * 0.69314718 + (f - (h - s * (h + r)));
}

/// ln(t / p) for t, p > 0, accurate also where t ≈ p: the difference t − p is then exact.
fn log_ratio(t: f32, p: f32) -> f32 {
    let excess = (t - p) / p;
    if (excess >= -0.5 && excess <= 1.0) {
        return log_one_plus(excess);
    }
    return log(t / p);
}

/// ln x for x > 0, accurate also near one: the difference x − 1 is then exact.
fn accurate_log(x: f32) -> f32 {
    if (x >= 0.5 && x <= 2.0) {
        return log_one_plus(x - 1.0);
    }
    return log(x);
}
