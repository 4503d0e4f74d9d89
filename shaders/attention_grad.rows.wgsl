// rows = (log_sum_exp, Σ over channels of output_grad · y − log_sum_exp_grad), for each query and head.
// Room: src/ops/attention_grad.rs
// Uses: store_f32, index, rows
// Bindings: 0 y, 1 log_sum_exp, 2 output_grad, 3 log_sum_exp_grad, 4 rows, 5 the geometry of the rows
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: those of the reduction over rows, which all invocations reach
// Order of summation: lane l of a row adds channels l, l + LANES, …; then the tree of row_sum

struct Params {
    length: u32,
    inner: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read> y: array<Store>;
@group(0) @binding(1) var<storage, read> log_sum_exp: array<f32>;
@group(0) @binding(2) var<storage, read> output_grad: array<Store>;
@group(0) @binding(3) var<storage, read> log_sum_exp_grad: array<f32>;
@group(0) @binding(4) var<storage, read_write> rows: array<vec2<f32>>;
@group(0) @binding(5) var<uniform> params: Params;

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
        sum += f32(output_grad[row.first + i]) * f32(y[row.first + i]);
    }
    sum = row_sum(sum, index);
    if (row.length > 0u && row.lane == 0u) {
        rows[row.number] = vec2<f32>(log_sum_exp[row.number], sum - log_sum_exp_grad[row.number]);
    }
}
