// y[0, c] = weight[c] / √(variance[c] + eps), y[1, c] = bias[c] − mean[c] · y[0, c].
// Room: src/ops/batch_norm_fold.rs
// Uses: store_f32, index
// Bindings: 0 mean, 1 variance, 2 weight, 3 bias, 4 y, 5 the channels and eps
// Grid: one invocation a channel, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    channels: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> mean: array<f32>;
@group(0) @binding(1) var<storage, read> variance: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<Store>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = linear_workgroup(group, groups) * 256u + lane;
    if (c < params.channels) {
        let factor = weight[c] / sqrt(variance[c] + params.eps);
        y[c] = Store(factor);
        y[params.channels + c] = Store(bias[c] - mean[c] * factor);
    }
}
