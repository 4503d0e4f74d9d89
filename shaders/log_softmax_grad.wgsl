// x_grad = output_grad - exp(y) * Σ output_grad along an axis.
// Room: src/ops/log_softmax_grad.rs
// Uses: store_f32, index, rows
// Bindings: 0 y, 1 output_grad, 2 x_grad, 3 the geometry of the rows
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: those of the reductions over rows, which all invocations reach
// Order of summation: lane l of a row adds elements l, l + LANES, …; then the tree of row_sum

struct Params {
    length: u32,
    inner: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read> y: array<Store>;
@group(0) @binding(1) var<storage, read> output_grad: array<Store>;
@group(0) @binding(2) var<storage, read_write> x_grad: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

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
        sum += f32(output_grad[row.first + i * row.stride]);
    }
    sum = row_sum(sum, index);
    for (var i = row.lane; i < row.length; i += LANES) {
        let at = row.first + i * row.stride;
        x_grad[at] = Store(f32(output_grad[at]) - exp(f32(y[at])) * sum);
    }
}
