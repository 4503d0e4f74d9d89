// x_grad = s (output_grad − bias_grad / n − (x − mean) · weight_grad / (n √(variance + eps))), s = weight / √(variance + eps);
// for running statistics x_grad = s · output_grad. If so asked output_grad counts only where (x − mean) · s + bias is positive.
// Room: src/ops/batch_norm_input_grad.rs
// Uses: store_f32, index
// Bindings: 0 output_grad, 1 variance, 2 weight, 3 x, 4 mean (and bias behind it if rectified), 5 weight_grad,
//           6 bias_grad, 7 x_grad, 8 the geometry (for running statistics 3 to 6 are not read)
// Grid: one invocation an element, workgroups of 256
// Constants: BATCH, 0 for running statistics; RECTIFIED, 1 if the normalisation was rectified
// Barriers: none
// Order of summation: none

struct Params {
    elements: u32,
    channels: u32,
    plane: u32,
    count: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> output_grad: array<Store>;
@group(0) @binding(1) var<storage, read> variance: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<Store>;
@group(0) @binding(4) var<storage, read> mean: array<f32>;
@group(0) @binding(5) var<storage, read> weight_grad: array<f32>;
@group(0) @binding(6) var<storage, read> bias_grad: array<f32>;
@group(0) @binding(7) var<storage, read_write> x_grad: array<Store>;
@group(0) @binding(8) var<uniform> params: Params;

override BATCH: u32 = 1u;
override RECTIFIED: u32 = 0u;

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
    let inverse = inverseSqrt(variance[c] + params.eps);
    let scale = weight[c] * inverse;
    var grad = f32(output_grad[i]);
    if (BATCH != 0u) {
        let count = f32(params.count);
        let centred = f32(x[i]) - mean[c];
        let slope = inverse * weight_grad[c] / count;
        if (RECTIFIED != 0u) {
            grad = select(0.0, grad, centred * scale + mean[params.channels + c] > 0.0);
        }
        grad = grad - bias_grad[c] / count - centred * slope;
    }
    x_grad[i] = Store(scale * grad);
}
