// loss = t s(-x)^g (-ln s(x)) + (1 - t) p^h (-ln(1 - p)), p = max(s(x) - clip, 0), s(x) = 1 / (1 + e⁻ˣ).
// Room: src/ops/asymmetric_loss.rs
// Uses: store_f32, index, log_one_plus, logistic
// Bindings: 0 logits, 1 goal (the target; WGSL reserves the word), 2 loss, 3 the count and the settings
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    gamma_neg: f32,
    gamma_pos: f32,
    clip: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<Store>;
@group(0) @binding(1) var<storage, read> goal: array<Store>;
@group(0) @binding(2) var<storage, read_write> loss: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

/// p^h (-ln(1 - p)).
fn negative(own: Logistic) -> f32 {
    if (params.clip == 0.0) {
        return exp(-params.gamma_neg * own.yes_loss) * own.no_loss;
    }
    let p = own.yes - params.clip;
    if (p <= 0.0) {
        return 0.0;
    }
    return exp(params.gamma_neg * accurate_log(p)) * surprise(own, p);
}

/// -ln(1 - p), where 1 - p = s(-x) + clip.
fn surprise(own: Logistic, p: f32) -> f32 {
    if (p <= 0.5) {
        return -log_one_plus(-p);
    }
    return -log(own.no + params.clip);
}

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
        let yes = exp(-params.gamma_pos * own.no_loss) * own.yes_loss;
        loss[i] = Store(t * yes + (1.0 - t) * negative(own));
    }
}
