// y = a where a > b, else b, element by element, both broadcast.
// Room: src/ops/maximum.rs
// Uses: store_f32, index
// Bindings: 0 a, 1 b, 2 y, 3 the lengths and strides
// Grid: one invocation an element of y, workgroups of 256
// Constants: BROADCASTS, 0 if all shapes are equal
// Barriers: none
// Order of summation: none

struct Params {
    lengths: Axes,
    a_strides: Axes,
    b_strides: Axes,
    count: u32,
}

@group(0) @binding(0) var<storage, read> a: array<Store>;
@group(0) @binding(1) var<storage, read> b: array<Store>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

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
    let left = f32(a[at.x]);
    let right = f32(b[at.y]);
    // Comparisons with NaN are false, if they mean anything at all: a NaN in b is known by its bits.
    let is_nan = (bitcast<u32>(right) & 0x7fffffffu) > 0x7f800000u;
    y[i] = Store(select(left, right, left < right || is_nan));
}
