// The logistic function of a logit, its complement and their logarithms; see src/ops/support/logistic.rs.

struct Logistic {
    /// 1 / (1 + e⁻ˣ), the probability of yes; and the rest to one, without subtracting.
    yes: f32,
    no: f32,
    /// Their logarithms, negated.
    yes_loss: f32,
    no_loss: f32,
    /// e^−|x| and ln(1 + e^−|x|).
    e: f32,
    tail: f32,
    is_negative: bool,
}

fn logistic(x: f32) -> Logistic {
    let size = abs(x);
    let e = exp(-size);
    let tail = log_one_plus(e);
    let large = 1.0 / (1.0 + e);
    let small = e / (1.0 + e);
    if (x < 0.0) {
        return Logistic(small, large, tail + size, tail, e, tail, true);
    }
    return Logistic(large, small, tail, tail + size, e, tail, false);
}
