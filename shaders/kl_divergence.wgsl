// y = Σ target * ln(target / prediction) along an axis, where 0 * ln 0 = 0.
// Room: src/ops/kl_divergence.rs
// Uses: store_f32, index, rows, log_one_plus
// Bindings: 0 goal (the target; WGSL reserves the word), 1 prediction, 2 y, 3 the geometry of the rows
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: those of the reductions over rows, which all invocations reach
// Order of summation: lane l of a row adds elements l, l + LANES, …; then the tree of row_sum

struct Params {
    length: u32,
    inner: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read> goal: array<Store>;
@group(0) @binding(1) var<storage, read> prediction: array<Store>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
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
        let at = row.first + i * row.stride;
        let t = f32(goal[at]);
        if (t > 0.0) {
            sum += t * log_ratio(t, f32(prediction[at]));
        }
    }
    sum = row_sum(sum, index);
    if (row.number < params.count && row.lane == 0u) {
        y[row.number] = Store(sum);
    }
}
