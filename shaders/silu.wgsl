// y = x / (1 + e⁻ˣ).
// Room: src/ops/silu.rs
// Uses: store_f32, index
// Bindings: 0 x, 1 y, 2 the count
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read_write> y: array<Store>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i < params.count) {
        let value = f32(x[i]);
        let e = exp(-abs(value));
        y[i] = Store(value * (select(1.0, e, value < 0.0) / (1.0 + e)));
    }
}
