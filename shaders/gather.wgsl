// y[…, d] = table[indices[…], d].
// Room: src/ops/gather.rs
// Uses: store_f32, index
// Bindings: 0 table, 1 indices, 2 y, 3 the count, the table's lengths and the bits of a NaN
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    width: u32,
    rows: u32,
    nan: u32,
}

@group(0) @binding(0) var<storage, read> table: array<Store>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

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
    let row = indices[i / params.width];
    if (row < params.rows) {
        y[i] = table[row * params.width + i % params.width];
    } else {
        // An index that is no row: NaN by its bits, which WGSL does not let a constant hold.
        y[i] = Store(bitcast<f32>(params.nan));
    }
}
