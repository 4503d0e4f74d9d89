// m' = β₁ m + (1 − β₁) g, s' = β₂ s + (1 − β₂) g², g = gradient_scale · gradient; parameter' = parameter − learning_rate ·
// (weight_decay · parameter + m' / (1 − β₁^step) / (√s' / √(1 − β₂^step) + eps)); nothing changes if gradient_scale = 0.
// Room: src/ops/adamw.rs
// Uses: store_f32, index, exp_remainder
// Bindings: 0 parameter, 1 gradient, 2 exp_avg (m), 3 exp_avg_sq (s), 4 schedule, 5 parameter', 6 m', 7 s', 8 the count and
//           the settings
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    eps: f32,
    weight_decay: f32,
    unused: u32,
    /// β, of the mean and of the squares.
    kept: vec2<f32>,
    /// 1 − β.
    taken: vec2<f32>,
    /// ln β.
    logarithm: vec2<f32>,
}

@group(0) @binding(0) var<storage, read> parameter: array<Store>;
@group(0) @binding(1) var<storage, read> gradient: array<Store>;
@group(0) @binding(2) var<storage, read> exp_avg: array<Store>;
@group(0) @binding(3) var<storage, read> exp_avg_sq: array<Store>;
@group(0) @binding(4) var<storage, read> schedule: array<Store>;
@group(0) @binding(5) var<storage, read_write> new_parameter: array<Store>;
@group(0) @binding(6) var<storage, read_write> new_exp_avg: array<Store>;
@group(0) @binding(7) var<storage, read_write> new_exp_avg_sq: array<Store>;
@group(0) @binding(8) var<uniform> params: Params;

/// 1 − e^x for x ≤ 0, accurate also near 0.
fn one_less_exp(x: f32) -> f32 {
    if (x >= -0.5) {
        return -(x + exp_remainder(x));
    }
    return 1.0 - exp(x);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i >= params.count) {
        return;
    }
    if (f32(schedule[1]) == 0.0) {
        new_parameter[i] = parameter[i];
        new_exp_avg[i] = exp_avg[i];
        new_exp_avg_sq[i] = exp_avg_sq[i];
        return;
    }
    let rate = f32(schedule[0]);
    let step = f32(schedule[2]);
    let rate_of_mean = rate / one_less_exp(step * params.logarithm.x);
    let root = sqrt(one_less_exp(step * params.logarithm.y));
    let old = f32(parameter[i]);
    let grad = f32(schedule[1]) * f32(gradient[i]);
    let mean = params.kept.x * f32(exp_avg[i]) + params.taken.x * grad;
    let square = params.kept.y * f32(exp_avg_sq[i]) + params.taken.y * (grad * grad);
    let decayed = old - rate * params.weight_decay * old;
    new_parameter[i] = Store(decayed - rate_of_mean * mean / (sqrt(square) / root + params.eps));
    new_exp_avg[i] = Store(mean);
    new_exp_avg_sq[i] = Store(square);
}
