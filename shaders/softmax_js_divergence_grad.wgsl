// a_grad = output_grad * p (u - Σ p u) / temperature, u = ½ ln(p / c); b_grad alike with q and v = ½ ln(q / c); c = (p + q) / 2.
// Room: src/ops/softmax_js_divergence_grad.rs
// Uses: store_f32, index, rows, exp_remainder, log_one_plus, softmax_pair
// Bindings: 0 a, 1 b, 2 output_grad, 3 a_grad, 4 b_grad, 5 the geometry of the rows and 1 / temperature
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: those of the reductions over rows, which all invocations reach
// Order of summation: lane l of a row adds elements l, l + LANES, …; then the tree of row_sum

struct Params {
    length: u32,
    inner: u32,
    count: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> a: array<Store>;
@group(0) @binding(1) var<storage, read> b: array<Store>;
@group(0) @binding(2) var<storage, read> output_grad: array<Store>;
@group(0) @binding(3) var<storage, read_write> a_grad: array<Store>;
@group(0) @binding(4) var<storage, read_write> b_grad: array<Store>;
@group(0) @binding(5) var<uniform> params: Params;

fn logits(at: u32) -> vec2<f32> {
    return vec2<f32>(f32(a[at]), f32(b[at]));
}

/// tanh(x / 2) for |x| ≤ 1/2.
fn half_tanh(x: f32) -> f32 {
    let excess = x + exp_remainder(x);
    return excess / (2.0 + excess);
}

/// ½ ln(p / c) given ln(p / q); the room says how.
fn slope(log_ratio: f32) -> f32 {
    if (abs(log_ratio) <= 0.5) {
        return 0.5 * log_one_plus(half_tanh(log_ratio));
    }
    let rest = 0.693147181 - log_one_plus(exp(-abs(log_ratio)));
    return 0.5 * select(rest, log_ratio + rest, log_ratio < 0.0);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let number = linear_workgroup(group, groups);
    let row = row_of(number, index, params.length, params.inner, params.count);
    let pair = softmax_pair(row, vec2<f32>(params.scale), index);
    var means = vec2<f32>();
    for (var i = row.lane; i < row.length; i += LANES) {
        let element = pair_at(pair, row.first + i * row.stride);
        means += element.xy * vec2<f32>(slope(element.z), slope(-element.z));
    }
    means = vec2<f32>(row_sum(means.x, index), row_sum(means.y, index));
    for (var i = row.lane; i < row.length; i += LANES) {
        let at = row.first + i * row.stride;
        let element = pair_at(pair, at);
        let excess = vec2<f32>(slope(element.z), slope(-element.z)) - means;
        let grads = f32(output_grad[row.number]) * params.scale * (element.xy * excess);
        a_grad[at] = Store(grads.x);
        b_grad[at] = Store(grads.y);
    }
}
