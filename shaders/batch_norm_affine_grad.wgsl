// Σ output_grad · (x − mean) / √(variance + eps) and Σ output_grad over slice k of channel c; if so asked, over the elements
// whose normalisation is positive.
// Room: src/ops/batch_norm_affine_grad.rs
// Uses: store_f32, index, reduce
// Bindings: 0 x, 1 mean, 2 variance, 3 output_grad, 4 weight, 5 bias (both read if rectified),
//           6 weight_grad[c, k], 7 bias_grad[c, k], 8 the geometry
// Grid: one workgroup of 256 a slice
// Constants: RECTIFIED, 1 if the normalisation was rectified
// Barriers: those of workgroup_sum; the grid's surplus workgroups leave as a whole before
// Order of summation: invocation l adds elements l, l + 256, … of the slice; then the tree of workgroup_sum

struct Params {
    channels: u32,
    plane: u32,
    count: u32,
    slices: u32,
    slice_length: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read> output_grad: array<Store>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> weight_grad: array<f32>;
@group(0) @binding(7) var<storage, read_write> bias_grad: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

override RECTIFIED: u32 = 0u;

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
    let centre = mean[channel];
    let inverse = inverseSqrt(variance[channel] + params.eps);
    let scale = weight[channel] * inverse;
    let shift = bias[channel];
    var products = 0.0;
    var sum = 0.0;
    for (var i = start + lane; i < end; i += 256u) {
        let sample = i / params.plane;
        let at = (sample * params.channels + channel) * params.plane + i % params.plane;
        let centred = f32(x[at]) - centre;
        var grad = f32(output_grad[at]);
        if (RECTIFIED != 0u) {
            grad = select(0.0, grad, centred * scale + shift > 0.0);
        }
        products += grad * centred;
        sum += grad;
    }
    let all_products = workgroup_sum(products, lane);
    let total = workgroup_sum(sum, lane);
    if (lane == 0u) {
        weight_grad[result] = all_products * inverse;
        bias_grad[result] = total;
    }
}
