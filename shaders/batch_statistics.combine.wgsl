// mean[c] = Σₖ nₖ mean[c, k] / n and variance[c] = Σₖ nₖ (variance[c, k] + (mean[c, k] − mean[c])²) / n.
// Room: src/ops/batch_statistics.rs
// Uses: index, reduce
// Bindings: 0 mean[c, k], 1 variance[c, k], 2 mean, 3 variance, 4 the geometry
// Grid: one workgroup of 256 a channel, an invocation a slice
// Constants: none
// Barriers: those of workgroup_sum; the grid's surplus workgroups leave as a whole before
// Order of summation: the tree of workgroup_sum

struct Params {
    channels: u32,
    plane: u32,
    count: u32,
    slices: u32,
    slice_length: u32,
}

@group(0) @binding(0) var<storage, read_write> slice_mean: array<f32>;
@group(0) @binding(1) var<storage, read_write> slice_variance: array<f32>;
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> variance: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let channel = linear_workgroup(group, groups);
    if (channel >= params.channels) {
        return;
    }
    var length = 0.0;
    var own_mean = 0.0;
    var own_variance = 0.0;
    if (lane < params.slices) {
        let start = lane * params.slice_length;
        length = f32(min(params.slice_length, params.count - start));
        own_mean = slice_mean[channel * params.slices + lane];
        own_variance = slice_variance[channel * params.slices + lane];
    }
    let count = f32(params.count);
    let centre = workgroup_sum(length * own_mean, lane) / count;
    let deviation = own_mean - centre;
    let spread = workgroup_sum(length * (own_variance + deviation * deviation), lane) / count;
    if (lane == 0u) {
        mean[channel] = centre;
        variance[channel] = spread;
    }
}
