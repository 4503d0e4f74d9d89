// partial[k] = Σ x² over slice k.
// Room: src/ops/accumulate_square_sum.rs
// Uses: store_f32, index, reduce
// Bindings: 0 x, 1 partial, 2 the geometry
// Grid: one workgroup of 256 a slice
// Constants: none
// Barriers: those of workgroup_sum; the grid has no surplus
// Order of summation: invocation l adds elements l, l + 256, … of the slice; then the tree of workgroup_sum

struct Params {
    count: u32,
    slice_length: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let slice = linear_workgroup(group, groups);
    let start = slice * params.slice_length;
    let end = min(start + params.slice_length, params.count);
    var squares = 0.0;
    for (var i = start + lane; i < end; i += 256u) {
        let value = f32(x[i]);
        squares += value * value;
    }
    let sum = workgroup_sum(squares, lane);
    if (lane == 0u) {
        partial[slice] = sum;
    }
}
