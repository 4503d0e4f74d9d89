// x_grad = output_grad where low <= x <= high, else 0.
// Room: src/ops/clamp_grad.rs
// Uses: store_f32, index
// Bindings: 0 x, 1 output_grad, 2 x_grad, 3 the count and the borders
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    low: f32,
    high: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
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
        let value = f32(x[i]);
        let is_within = value >= params.low && value <= params.high;
        x_grad[i] = select(Store(0.0), output_grad[i], is_within);
    }
}
