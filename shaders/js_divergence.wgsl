// y = Σ ½ a ln(a/c) + ½ b ln(b/c) along an axis, c = (a + b) / 2, where 0 * ln 0 = 0.
// Room: src/ops/js_divergence.rs
// Uses: store_f32, index, rows, log_one_plus
// Bindings: 0 a, 1 b, 2 y, 3 the geometry of the rows
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: those of the reductions over rows, which all invocations reach
// Order of summation: lane l of a row adds elements l, l + LANES, …; then the tree of row_sum

struct Params {
    length: u32,
    inner: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read> a: array<Store>;
@group(0) @binding(1) var<storage, read> b: array<Store>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

/// ½ a ln(a/c) + ½ b ln(b/c), without cancellation; the room says how.
fn term(a: f32, b: f32) -> f32 {
    let sum = a + b;
    if (sum <= 0.0) {
        return 0.0;
    }
    let small = min(a, b);
    let d = (max(a, b) - small) / sum;
    var bracket = 0.0;
    if (d <= 0.5) {
        bracket = d * (log_one_plus(d) - log_one_plus(-d)) + log_one_plus(-(d * d));
    } else {
        let rest = small / (0.5 * sum);
        bracket = (1.0 + d) * log_one_plus(d);
        if (rest > 0.0) {
            bracket += rest * log(rest);
        }
    }
    return 0.25 * sum * bracket;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let number = linear_workgroup(group, groups);
    let row = row_of(number, index, params.length, params.inner, params.count);
    var sum = 0.0;
    for (var i = row.lane; i < row.length; i += LANES) {
        let at = row.first + i * row.stride;
        sum += term(f32(a[at]), f32(b[at]));
    }
    sum = row_sum(sum, index);
    if (row.number < params.count && row.lane == 0u) {
        y[row.number] = Store(sum);
    }
}
