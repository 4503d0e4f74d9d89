// y = Σ ½ p ln(p / c) + ½ q ln(q / c) along an axis, p and q = softmax(a, b / temperature), c = (p + q) / 2.
// Room: src/ops/softmax_js_divergence.rs
// Uses: store_f32, index, rows, exp_remainder, log_one_plus, softmax_pair
// Bindings: 0 a, 1 b, 2 y, 3 the geometry of the rows and 1 / temperature
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
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

fn logits(at: u32) -> vec2<f32> {
    return vec2<f32>(f32(a[at]), f32(b[at]));
}

/// tanh(x / 2) for |x| ≤ 1/2.
fn half_tanh(x: f32) -> f32 {
    let excess = x + exp_remainder(x);
    return excess / (2.0 + excess);
}

/// ½ p ln(p / c) + ½ q ln(q / c), given p and q and ln(p / q); the room says how.
fn term(pair: vec2<f32>, log_ratio: f32) -> f32 {
    let size = abs(log_ratio);
    let e = exp(-size);
    var d = (1.0 - e) / (1.0 + e);
    if (size <= 0.5) {
        d = half_tanh(size);
    }
    var bracket = d * size + log_one_plus(-(d * d));
    if (size > 1.0986) {
        bracket = 2.0 * (0.693147181 - log_one_plus(e) - e * size / (1.0 + e));
    }
    return 0.25 * (pair.x + pair.y) * bracket;
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
    var sum = 0.0;
    for (var i = row.lane; i < row.length; i += LANES) {
        let element = pair_at(pair, row.first + i * row.stride);
        sum += term(element.xy, element.z);
    }
    sum = row_sum(sum, index);
    if (row.number < params.count && row.lane == 0u) {
        y[row.number] = Store(sum);
    }
}
