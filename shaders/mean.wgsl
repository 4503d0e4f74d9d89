// y[kept] = 1/n · Σ over the reduced axes of x[kept, reduced].
// Room: src/ops/mean.rs
// Uses: store_f32, index, reduce
// Bindings: 0 x, 1 y, 2 the geometry of the reduction
// Grid: one workgroup of 256 a result
// Constants: none
// Barriers: those of workgroup_sum; the grid's surplus workgroups leave as a whole before
// Order of summation: invocation l adds elements l, l + 256, …; then the tree of workgroup_sum

struct Params {
    kept: Axes,
    kept_strides: Axes,
    reduced: Axes,
    reduced_strides: Axes,
    count: u32,
    results: u32,
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
    let result = linear_workgroup(group, groups);
    if (result >= params.results) {
        return;
    }
    let base = strided_offset(result, params.kept, params.kept_strides);
    var sum = 0.0;
    for (var i = lane; i < params.count; i += 256u) {
        sum += f32(x[base + strided_offset(i, params.reduced, params.reduced_strides)]);
    }
    let total = workgroup_sum(sum, lane);
    if (lane == 0u) {
        y[result] = total / f32(params.count);
    }
}
