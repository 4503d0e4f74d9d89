// y = Σ t ln(t / p) along an axis, t = softmax(target / temperature), p = softmax(prediction / temperature).
// Room: src/ops/softmax_kl_divergence.rs
// Uses: store_f32, index, rows, exp_remainder, log_one_plus, softmax_pair
// Bindings: 0 goal (the target; WGSL reserves the word), 1 prediction, 2 y, 3 the geometry of the rows and 1 / temperatures
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: those of the reductions over rows, which all invocations reach
// Order of summation: lane l of a row adds elements l, l + LANES, …; then the tree of row_sum

struct Params {
    length: u32,
    inner: u32,
    count: u32,
    goal_scale: f32,
    prediction_scale: f32,
}

@group(0) @binding(0) var<storage, read> goal: array<Store>;
@group(0) @binding(1) var<storage, read> prediction: array<Store>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

fn logits(at: u32) -> vec2<f32> {
    return vec2<f32>(f32(goal[at]), f32(prediction[at]));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let number = linear_workgroup(group, groups);
    let row = row_of(number, index, params.length, params.inner, params.count);
    let pair = softmax_pair(row, vec2<f32>(params.goal_scale, params.prediction_scale), index);
    let divergence = pair_divergence(pair, row, index);
    if (row.number < params.count && row.lane == 0u) {
        y[row.number] = Store(divergence);
    }
}
