// logits_grad = output_grad * ((1 - t) s(x) - w t s(-x)), s(x) = 1 / (1 + e⁻ˣ).
// Room: src/ops/bce_with_logits_grad.rs
// Uses: store_f32, index, log_one_plus, logistic
// Bindings: 0 logits, 1 goal (the target; WGSL reserves the word), 2 pos_weight, 3 output_grad, 4 logits_grad, 5 the count and that of the weights
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    weights: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<Store>;
@group(0) @binding(1) var<storage, read> goal: array<Store>;
@group(0) @binding(2) var<storage, read> pos_weight: array<Store>;
@group(0) @binding(3) var<storage, read> output_grad: array<Store>;
@group(0) @binding(4) var<storage, read_write> logits_grad: array<Store>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i < params.count) {
        let own = logistic(f32(logits[i]));
        let t = f32(goal[i]);
        let weight = f32(pos_weight[i % params.weights]);
        logits_grad[i] = Store(f32(output_grad[i]) * ((1.0 - t) * own.yes - weight * t * own.no));
    }
}
