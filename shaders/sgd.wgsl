// g = scale · gradient + weight_decay · parameter; buffer' = momentum · buffer + g;
// parameter' = parameter − learning_rate · (g + momentum · buffer' if Nesterov's, else buffer'); nothing changes if scale = 0.
// Room: src/ops/sgd.rs
// Uses: store_f32, index
// Bindings: 0 parameter, 1 gradient, 2 momentum_buffer, 3 learning_rate, 4 gradient_scale, 5 parameter', 6 buffer',
//           7 the count and the settings
// Grid: one invocation an element, workgroups of 256
// Constants: NESTEROV, 0 for plain momentum
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    momentum: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<storage, read> parameter: array<Store>;
@group(0) @binding(1) var<storage, read> gradient: array<Store>;
@group(0) @binding(2) var<storage, read> momentum_buffer: array<Store>;
@group(0) @binding(3) var<storage, read> learning_rate: array<Store>;
@group(0) @binding(4) var<storage, read> gradient_scale: array<Store>;
@group(0) @binding(5) var<storage, read_write> new_parameter: array<Store>;
@group(0) @binding(6) var<storage, read_write> new_buffer: array<Store>;
@group(0) @binding(7) var<uniform> params: Params;

override NESTEROV: u32 = 0u;

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
    if (f32(gradient_scale[0]) == 0.0) {
        new_parameter[i] = parameter[i];
        new_buffer[i] = momentum_buffer[i];
        return;
    }
    let old = f32(parameter[i]);
    let grad = f32(gradient_scale[0]) * f32(gradient[i]) + params.weight_decay * old;
    let buffer = params.momentum * f32(momentum_buffer[i]) + grad;
    var step = buffer;
    if (NESTEROV != 0u) {
        step = grad + params.momentum * buffer;
    }
    new_parameter[i] = Store(old - f32(learning_rate[0]) * step);
    new_buffer[i] = Store(buffer);
}
