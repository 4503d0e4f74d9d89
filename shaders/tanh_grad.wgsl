// x_grad = output_grad * (1 - y²).
// Room: src/ops/tanh_grad.rs
// Uses: store_f32, index
// Bindings: 0 y, 1 output_grad, 2 x_grad, 3 the count
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
}

@group(0) @binding(0) var<storage, read> y: array<Store>;
@group(0) @binding(1) var<storage, read> output_grad: array<Store>;
@group(0) @binding(2) var<storage, read_write> x_grad: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i < params.count) {
        let value = f32(y[i]);
        x_grad[i] = Store(f32(output_grad[i]) * ((1.0 - value) * (1.0 + value)));
    }
}
