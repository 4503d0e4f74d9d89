// target_grad = output_grad * (ln(target / prediction) + 1), prediction_grad = -output_grad * target / prediction.
// Room: src/ops/kl_divergence_grad.rs
// Uses: store_f32, index, rows, log_one_plus
// Bindings: 0 goal (the target; WGSL reserves the word), 1 prediction, 2 output_grad, 3 goal_grad, 4 prediction_grad, 5 the geometry of the rows
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: none
// Order of summation: none

struct Params {
    length: u32,
    inner: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read> goal: array<Store>;
@group(0) @binding(1) var<storage, read> prediction: array<Store>;
@group(0) @binding(2) var<storage, read> output_grad: array<Store>;
@group(0) @binding(3) var<storage, read_write> goal_grad: array<Store>;
@group(0) @binding(4) var<storage, read_write> prediction_grad: array<Store>;
@group(0) @binding(5) var<uniform> params: Params;

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
        let t = f32(goal[at]);
        let p = f32(prediction[at]);
        let grad = f32(output_grad[row.number]);
        var grads = vec2<f32>();
        if (t > 0.0) {
            grads = vec2<f32>(grad * (log_ratio(t, p) + 1.0), -(grad * (t / p)));
        }
        goal_grad[at] = Store(grads.x);
        prediction_grad[at] = Store(grads.y);
    }
}
