// y = decay · average + (1 − decay) · value, or value where n_averaged = 0.
// Room: src/ops/ema.rs
// Uses: store_f32, index
// Bindings: 0 average, 1 value, 2 n_averaged, 3 y, 4 the count and the shares
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    kept: f32,
    taken: f32,
}

@group(0) @binding(0) var<storage, read> average: array<Store>;
@group(0) @binding(1) var<storage, read> value: array<Store>;
@group(0) @binding(2) var<storage, read> n_averaged: array<Store>;
@group(0) @binding(3) var<storage, read_write> y: array<Store>;
@group(0) @binding(4) var<uniform> params: Params;

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
    if (f32(n_averaged[0]) == 0.0) {
        y[i] = value[i];
    } else {
        y[i] = Store(params.kept * f32(average[i]) + params.taken * f32(value[i]));
    }
}
