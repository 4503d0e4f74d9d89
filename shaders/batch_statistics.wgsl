// mean[c, k] and variance[c, k] of slice k of channel c of x.
// Room: src/ops/batch_statistics.rs
// Uses: store_f32, index, reduce
// Bindings: 0 x, 1 mean[c, k], 2 variance[c, k], 3 the geometry
// Grid: one workgroup of 256 a slice
// Constants: none
// Barriers: those of workgroup_sum; the grid's surplus workgroups leave as a whole before
// Order of summation: invocation l adds elements l, l + 256, … of the slice; then the tree of workgroup_sum

struct Params {
    channels: u32,
    plane: u32,
    count: u32,
    slices: u32,
    slice_length: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> variance: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

/// Element i of a channel: i counts through the channel's planes, which lie apart.
fn element(i: u32, channel: u32) -> f32 {
    let sample = i / params.plane;
    return f32(x[(sample * params.channels + channel) * params.plane + i % params.plane]);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let result = linear_workgroup(group, groups);
    if (result >= params.channels * params.slices) {
        return;
    }
    let channel = result / params.slices;
    let start = (result % params.slices) * params.slice_length;
    let end = min(start + params.slice_length, params.count);
    var sum = 0.0;
    for (var i = start + lane; i < end; i += 256u) {
        sum += element(i, channel);
    }
    let centre = workgroup_sum(sum, lane) / f32(end - start);
    var squares = 0.0;
    for (var i = start + lane; i < end; i += 256u) {
        let deviation = element(i, channel) - centre;
        squares += deviation * deviation;
    }
    let spread = workgroup_sum(squares, lane) / f32(end - start);
    if (lane == 0u) {
        mean[result] = centre;
        variance[result] = spread;
    }
}
