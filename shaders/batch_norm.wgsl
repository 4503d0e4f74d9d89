// y = (x − mean) · weight / √(variance + eps) + bias, channel by channel, plus a residual and of that the positive part, if so
// chosen.
// Room: src/ops/batch_norm.rs
// Uses: store_f32, index
// Bindings: 0 x, 1 mean, 2 variance, 3 weight, 4 bias, 5 residual, 6 y, 7 the geometry
// Grid: one invocation an element, workgroups of 256
// Constants: RELU, 1 for the positive part; RESIDUAL, 1 to add the residual
// Barriers: none
// Order of summation: none

struct Params {
    elements: u32,
    channels: u32,
    plane: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> residual: array<Store>;
@group(0) @binding(6) var<storage, read_write> y: array<Store>;
@group(0) @binding(7) var<uniform> params: Params;

override RELU: u32 = 0u;
override RESIDUAL: u32 = 0u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i >= params.elements) {
        return;
    }
    let c = (i / params.plane) % params.channels;
    let scale = weight[c] * inverseSqrt(variance[c] + params.eps);
    var sum = (f32(x[i]) - mean[c]) * scale + bias[c];
    if (RESIDUAL != 0u) {
        sum += f32(residual[i]);
    }
    y[i] = Store(select(sum, max(sum, 0.0), RELU != 0u));
}
