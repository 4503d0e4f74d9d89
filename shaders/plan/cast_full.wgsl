// y[i] = x[i], from half precision to single: exactly.
// Plan: src/plan/storage.rs
// Uses: store_f16, index
// Bindings: 0 x, 1 y, 2 the count
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
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
    y[i] = f32(x[i]);
}
