// Two softmaxes t and p side by side, and by how much they differ; see src/ops/support/softmax_pair.rs.

/// ln(sums.x / sums.y), given also their difference, which is known better than either where they are nearly equal.
fn log_of_sums(sums: vec2<f32>, difference: f32) -> f32 {
    let excess = difference / sums.y;
    if (abs(excess) <= 0.5) {
        return log_one_plus(excess);
    }
    return log(sums.x / sums.y);
}

/// t ln(t/p) - t + p, given t and p and ln(t/p).
fn divergence_term(pair: vec2<f32>, log_ratio: f32) -> f32 {
    if (abs(log_ratio) <= 0.5) {
        return pair.x * exp_remainder(-log_ratio);
    }
    return pair.x * log_ratio + (pair.y - pair.x);
}

/// p - t, given t and p and ln(t/p).
fn pair_excess(pair: vec2<f32>, log_ratio: f32) -> f32 {
    if (abs(log_ratio) <= 0.5) {
        return pair.x * (exp_remainder(-log_ratio) - log_ratio);
    }
    return pair.y - pair.x;
}
