// y = (x - mean) * inverse_deviation * weight + bias, inverse_deviation = 1 / √(mean of (x - mean)² + eps), row by row.
// Room: src/ops/layer_norm.rs
// Uses: store_f32, index, rows
// Bindings: 0 x, 1 weight, 2 bias, 3 y, 4 mean, 5 inverse_deviation, 6 the geometry of the rows and eps
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: those of the reductions over rows, which all invocations reach
// Order of summation: lane l of a row adds elements l, l + LANES, …; then the tree of row_sum

struct Params {
    length: u32,
    inner: u32,
    count: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<Store>;
@group(0) @binding(4) var<storage, read_write> mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> inverse_deviation: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let number = linear_workgroup(group, groups);
    let row = row_of(number, index, params.length, params.inner, params.count);
    let count = f32(params.length);
    var sum = 0.0;
    for (var i = row.lane; i < row.length; i += LANES) {
        sum += f32(x[row.first + i]);
    }
    let centre = row_sum(sum, index) / count;
    var squares = 0.0;
    for (var i = row.lane; i < row.length; i += LANES) {
        let deviation = f32(x[row.first + i]) - centre;
        squares += deviation * deviation;
    }
    let scale = inverseSqrt(row_sum(squares, index) / count + params.eps);
    for (var i = row.lane; i < row.length; i += LANES) {
        let at = row.first + i;
        y[at] = Store((f32(x[at]) - centre) * scale * weight[i] + bias[i]);
    }
    if (row.length > 0u && row.lane == 0u) {
        mean[row.number] = centre;
        inverse_deviation[row.number] = scale;
    }
}
