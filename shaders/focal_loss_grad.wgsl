// logits_grad = output_grad * (a t + b (1 - t)) q^gamma (dl/dx + gamma l (dq/dx) / q); l and q as in focal_loss.
// Room: src/ops/focal_loss_grad.rs
// Uses: store_f32, index, log_one_plus, logistic, focal
// Bindings: 0 logits, 1 goal (the target; WGSL reserves the word), 2 output_grad, 3 logits_grad, 4 the count and the settings
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    yes_weight: f32,
    no_weight: f32,
    gamma: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<Store>;
@group(0) @binding(1) var<storage, read> goal: array<Store>;
@group(0) @binding(2) var<storage, read> output_grad: array<Store>;
@group(0) @binding(3) var<storage, read_write> logits_grad: array<Store>;
@group(0) @binding(4) var<uniform> params: Params;

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
        let weight = params.yes_weight * t + params.no_weight * (1.0 - t);
        let missed = miss(own, t);
        let entropy = t * own.yes_loss + (1.0 - t) * own.no_loss;
        let slope = (1.0 - t) * own.yes - t * own.no + params.gamma * entropy * missed.y;
        logits_grad[i] = Store(f32(output_grad[i]) * (weight * exp(params.gamma * missed.x) * slope));
    }
}
