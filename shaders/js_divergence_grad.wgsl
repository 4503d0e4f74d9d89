// a_grad = output_grad * ½ ln(a/c), b_grad = output_grad * ½ ln(b/c), c = (a + b) / 2.
// Room: src/ops/js_divergence_grad.rs
// Uses: store_f32, index, rows, log_one_plus
// Bindings: 0 a, 1 b, 2 output_grad, 3 a_grad, 4 b_grad, 5 the geometry of the rows
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: none
// Order of summation: none

struct Params {
    length: u32,
    inner: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read> a: array<Store>;
@group(0) @binding(1) var<storage, read> b: array<Store>;
@group(0) @binding(2) var<storage, read> output_grad: array<Store>;
@group(0) @binding(3) var<storage, read_write> a_grad: array<Store>;
@group(0) @binding(4) var<storage, read_write> b_grad: array<Store>;
@group(0) @binding(5) var<uniform> params: Params;

/// ½ ln(own / c) with c = (own + other) / 2; 0 where own is 0.
fn slope(own: f32, other: f32) -> f32 {
    if (own <= 0.0) {
        return 0.0;
    }
    let sum = own + other;
    let d = (own - other) / sum;
    if (d >= -0.5) {
        return 0.5 * log_one_plus(d);
    }
    return 0.5 * log(own / (0.5 * sum));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let number = linear_workgroup(group, groups);
    let row = row_of(number, index, params.length, params.inner, params.count);
    for (var i = row.lane; i < row.length; i += LANES) {
        let at = row.first + i * row.stride;
        let grad = f32(output_grad[row.number]);
        a_grad[at] = Store(grad * slope(f32(a[at]), f32(b[at])));
        b_grad[at] = Store(grad * slope(f32(b[at]), f32(a[at])));
    }
}
