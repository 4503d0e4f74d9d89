// y = a part of x along an axis, plus what is added if so asked.
// Room: src/ops/slice.rs
// Uses: store_f32, index
// Bindings: 0 x, 1 added, 2 y, 3 the geometry
// Grid: one invocation an element of y, workgroups of 256
// Constants: ADDED, 1 to add
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    x_row: u32,
    y_row: u32,
    offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> added: array<Store>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

override ADDED: u32 = 0u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i < params.count) {
        var part = x[i / params.y_row * params.x_row + params.offset + i % params.y_row];
        if (ADDED != 0u) {
            part = Store(f32(part) + f32(added[i]));
        }
        y[i] = part;
    }
}
