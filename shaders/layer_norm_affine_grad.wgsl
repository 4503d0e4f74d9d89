// Σ output_grad * (x - mean) * inverse_deviation and Σ output_grad over the rows of slice k, for each place in a row.
// Room: src/ops/layer_norm_affine_grad.rs
// Uses: store_f32, index
// Bindings: 0 x, 1 mean, 2 inverse_deviation, 3 output_grad, 4 weight_grad[k, place], 5 bias_grad[k, place], 6 the geometry
// Grid: one invocation a place and slice, workgroups of 256 places
// Constants: none
// Barriers: none
// Order of summation: the rows of a slice in order

struct Params {
    length: u32,
    count: u32,
    slices: u32,
    slice_length: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> inverse_deviation: array<f32>;
@group(0) @binding(3) var<storage, read> output_grad: array<Store>;
@group(0) @binding(4) var<storage, read_write> weight_grad: array<f32>;
@group(0) @binding(5) var<storage, read_write> bias_grad: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = linear_workgroup(group, groups);
    let blocks = (params.length + 255u) / 256u;
    let slice = number / blocks;
    let place = (number % blocks) * 256u + lane;
    if (slice >= params.slices || place >= params.length) {
        return;
    }
    let end = min((slice + 1u) * params.slice_length, params.count);
    var products = 0.0;
    var sum = 0.0;
    for (var row = slice * params.slice_length; row < end; row++) {
        let at = row * params.length + place;
        let grad = f32(output_grad[at]);
        products += grad * ((f32(x[at]) - mean[row]) * inverse_deviation[row]);
        sum += grad;
    }
    weight_grad[slice * params.length + place] = products;
    bias_grad[slice * params.length + place] = sum;
}
