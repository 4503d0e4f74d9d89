// Two softmaxes t and p side by side, and by how much they differ; see src/ops/support/softmax_pair.rs. A shader that uses
// it defines
//   fn logits(at: u32) -> vec2<f32>
// the target's and the prediction's numbers at an offset.

/// What the elements of a row have in common.
struct SoftmaxPair {
    /// The largest logits.
    tops: vec2<f32>,
    /// 1 / temperatures.
    scales: vec2<f32>,
    /// The sums of the exponentials.
    sums: vec2<f32>,
    /// ln(sums.x / sums.y).
    shift: f32,
}

/// The two softmaxes of a row; all invocations of the workgroup must call it.
fn softmax_pair(row: Row, scales: vec2<f32>, index: u32) -> SoftmaxPair {
    var tops = vec2<f32>(LOWEST, LOWEST);
    for (var i = row.lane; i < row.length; i += LANES) {
        tops = max(tops, logits(row.first + i * row.stride));
    }
    tops = vec2<f32>(row_max(tops.x, index), row_max(tops.y, index));
    var sums = vec2<f32>();
    var difference = 0.0;
    for (var i = row.lane; i < row.length; i += LANES) {
        let both = (logits(row.first + i * row.stride) - tops) * scales;
        sums += exp(both);
        difference += exp_difference(both.x, both.y);
    }
    sums = vec2<f32>(row_sum(sums.x, index), row_sum(sums.y, index));
    return SoftmaxPair(tops, scales, sums, log_of_sums(sums, row_sum(difference, index)));
}

/// t, p and ln(t/p) at an offset.
fn pair_at(pair: SoftmaxPair, at: u32) -> vec3<f32> {
    let both = (logits(at) - pair.tops) * pair.scales;
    return vec3<f32>(exp(both) / pair.sums, (both.x - both.y) - pair.shift);
}

/// Σ t ln(t/p) over a row; all invocations of the workgroup must call it.
fn pair_divergence(pair: SoftmaxPair, row: Row, index: u32) -> f32 {
    var sum = 0.0;
    for (var i = row.lane; i < row.length; i += LANES) {
        let element = pair_at(pair, row.first + i * row.stride);
        sum += divergence_term(element.xy, element.z);
    }
    return row_sum(sum, index);
}

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
