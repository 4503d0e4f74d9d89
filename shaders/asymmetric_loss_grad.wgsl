// logits_grad = output_grad * (t f' + (1 - t) g'), f and g being the two terms of asymmetric_loss.
// Room: src/ops/asymmetric_loss_grad.rs
// Uses: store_f32, index, log_one_plus, logistic
// Bindings: 0 logits, 1 goal (the target; WGSL reserves the word), 2 output_grad, 3 logits_grad, 4 the count and the settings
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
@group(0) @binding(2) var<storage, read> output_grad: array<Store>;
@group(0) @binding(3) var<storage, read_write> logits_grad: array<Store>;
@group(0) @binding(4) var<uniform> params: Params;

/// -ln(1 - p), where 1 - p = s(-x) + clip.
fn surprise(own: Logistic, p: f32) -> f32 {
    if (p <= 0.5) {
        return -log_one_plus(-p);
    }
    return -log(own.no + params.clip);
}

/// The derivative of p^h (-ln(1 - p)).
fn negative_slope(own: Logistic) -> f32 {
    if (params.clip == 0.0) {
        let focus = exp(-params.gamma_neg * own.yes_loss);
        return focus * (params.gamma_neg * own.no * own.no_loss + own.yes);
    }
    let p = own.yes - params.clip;
    if (p <= 0.0) {
        return 0.0;
    }
    let factor = params.gamma_neg * (surprise(own, p) / p) + 1.0 / (own.no + params.clip);
    return exp(params.gamma_neg * accurate_log(p)) * own.yes * own.no * factor;
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
        let focus = exp(-params.gamma_pos * own.no_loss);
        let yes = -focus * (params.gamma_pos * own.yes * own.yes_loss + own.no);
        logits_grad[i] = Store(f32(output_grad[i]) * (t * yes + (1.0 - t) * negative_slope(own)));
    }
}
