// loss = (a t + b (1 - t)) q^gamma l, l = -t ln s(x) - (1 - t) ln s(-x), q = t s(-x) + (1 - t) s(x), s(x) = 1 / (1 + e⁻ˣ).
// Room: src/ops/focal_loss.rs
// Uses: store_f32, index, log_one_plus, logistic, focal
// Bindings: 0 logits, 1 goal (the target; WGSL reserves the word), 2 loss, 3 the count and the settings
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
@group(0) @binding(2) var<storage, read_write> loss: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

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
        let focus = exp(params.gamma * miss(own, t).x);
        loss[i] = Store(weight * focus * (t * own.yes_loss + (1.0 - t) * own.no_loss));
    }
}
