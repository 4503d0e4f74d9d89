// weight_grad = Σ over the parts of partial[part].
// Room: src/ops/conv2d_weight_grad.rs
// Uses: index
// Bindings: 0 weight_grad, 1 partial sums, 2 the counts
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: part 0, 1, …

struct Params {
    parts: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read_write> weight_grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

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
    var sum = 0.0;
    for (var part = 0u; part < params.parts; part++) {
        sum += partial[part * params.count + i];
    }
    weight_grad[i] = sum;
}
