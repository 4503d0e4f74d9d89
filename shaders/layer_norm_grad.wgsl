// x_grad = s (g - mean of g - z * mean of g z), z = (x - mean) s, g = output_grad * weight, s = inverse_deviation, row by row.
// Room: src/ops/layer_norm_grad.rs
// Uses: store_f32, index, rows
// Bindings: 0 x, 1 mean, 2 inverse_deviation, 3 weight, 4 output_grad, 5 x_grad, 6 the geometry of the rows
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: those of the reductions over rows, which all invocations reach
// Order of summation: lane l of a row adds elements l, l + LANES, …; then the tree of row_sum

struct Params {
    length: u32,
    inner: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> inverse_deviation: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> output_grad: array<Store>;
@group(0) @binding(5) var<storage, read_write> x_grad: array<Store>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let number = linear_workgroup(group, groups);
    let row = row_of(number, index, params.length, params.inner, params.count);
    var centre = 0.0;
    var scale = 0.0;
    if (row.length > 0u) {
        centre = mean[row.number];
        scale = inverse_deviation[row.number];
    }
    var sums = vec2<f32>();
    for (var i = row.lane; i < row.length; i += LANES) {
        let grad = f32(output_grad[row.first + i]) * weight[i];
        let standard = (f32(x[row.first + i]) - centre) * scale;
        sums += vec2<f32>(grad, grad * standard);
    }
    let count = f32(params.length);
    let offset = row_sum(sums.x, index) / count;
    let slope = row_sum(sums.y, index) / count;
    for (var i = row.lane; i < row.length; i += LANES) {
        let grad = f32(output_grad[row.first + i]) * weight[i];
        let standard = (f32(x[row.first + i]) - centre) * scale;
        x_grad[row.first + i] = Store(scale * (grad - offset - standard * slope));
    }
}
