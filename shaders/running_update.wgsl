// y = kept · running + taken · batch.
// Room: src/ops/running_update.rs
// Uses: store_f32, index
// Bindings: 0 running, 1 batch, 2 y, 3 the count and the two factors
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    kept: f32,
    taken: f32,
}

@group(0) @binding(0) var<storage, read> running: array<Store>;
@group(0) @binding(1) var<storage, read> batch: array<Store>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i < params.count) {
        y[i] = Store(params.kept * f32(running[i]) + params.taken * f32(batch[i]));
    }
}
