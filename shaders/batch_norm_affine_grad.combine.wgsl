// weight_grad[c] and bias_grad[c] as the sums of the results of channel c's slices.
// Room: src/ops/batch_norm_affine_grad.rs
// Uses: index, reduce
// Bindings: 0 weight_grad[c, k], 1 bias_grad[c, k], 2 weight_grad, 3 bias_grad, 4 the counts
// Grid: one workgroup of 256 a channel, an invocation a slice
// Constants: none
// Barriers: those of workgroup_sum; the grid's surplus workgroups leave as a whole before
// Order of summation: the tree of workgroup_sum

struct Params {
    channels: u32,
    slices: u32,
}

@group(0) @binding(0) var<storage, read_write> slice_weight_grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> slice_bias_grad: array<f32>;
@group(0) @binding(2) var<storage, read_write> weight_grad: array<f32>;
@group(0) @binding(3) var<storage, read_write> bias_grad: array<f32>;
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
    var own = vec2<f32>(0.0);
    if (lane < params.slices) {
        let slice = channel * params.slices + lane;
        own = vec2<f32>(slice_weight_grad[slice], slice_bias_grad[slice]);
    }
    let weight_total = workgroup_sum(own.x, lane);
    let bias_total = workgroup_sum(own.y, lane);
    if (lane == 0u) {
        weight_grad[channel] = weight_total;
        bias_grad[channel] = bias_total;
    }
}
