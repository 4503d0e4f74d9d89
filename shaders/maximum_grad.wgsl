// grad = output_grad where own > other, half of it where own = other, else 0; own and other broadcast.
// Room: src/ops/maximum_grad.rs
// Uses: store_f32, index
// Bindings: 0 own, 1 other, 2 output_grad, 3 grad, 4 the lengths and strides
// Grid: one invocation an element of grad, workgroups of 256
// Constants: BROADCASTS, 0 if all shapes are equal
// Barriers: none
// Order of summation: none

struct Params {
    lengths: Axes,
    a_strides: Axes,
    b_strides: Axes,
    count: u32,
}

@group(0) @binding(0) var<storage, read> own: array<Store>;
@group(0) @binding(1) var<storage, read> other: array<Store>;
@group(0) @binding(2) var<storage, read> output_grad: array<Store>;
@group(0) @binding(3) var<storage, read_write> grad: array<Store>;
@group(0) @binding(4) var<uniform> params: Params;

override BROADCASTS: u32 = 1u;

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
    var at = vec2<u32>(i, i);
    if (BROADCASTS != 0u) {
        at.x = strided_offset(i, params.lengths, params.a_strides);
        at.y = strided_offset(i, params.lengths, params.b_strides);
    }
    let left = f32(own[at.x]);
    let right = f32(other[at.y]);
    let share = select(select(1.0, 0.5, left == right), 0.0, left < right);
    grad[i] = Store(share * f32(output_grad[i]));
}
