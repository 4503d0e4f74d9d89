// y = exp(x / temperature) / Σ exp(x / temperature) along an axis.
// Room: src/ops/softmax.rs
// Uses: store_f32, index, rows
// Bindings: 0 x, 1 y, 2 the geometry of the rows and 1 / temperature
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

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read_write> y: array<Store>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let number = linear_workgroup(group, groups);
    let row = row_of(number, index, params.length, params.inner, params.count);
    var top = LOWEST;
    for (var i = row.lane; i < row.length; i += LANES) {
        top = max(top, f32(x[row.first + i * row.stride]));
    }
    top = row_max(top, index);
    var sum = 0.0;
    for (var i = row.lane; i < row.length; i += LANES) {
        sum += exp((f32(x[row.first + i * row.stride]) - top) * params.scale);
    }
    sum = row_sum(sum, index);
    for (var i = row.lane; i < row.length; i += LANES) {
        let at = row.first + i * row.stride;
        y[at] = Store(exp((f32(x[at]) - top) * params.scale) / sum);
    }
}
