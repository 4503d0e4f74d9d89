// weight_grad and bias_grad as the sums of the results of all slices, for each place in a row.
// Room: src/ops/layer_norm_affine_grad.rs
// Uses: index
// Bindings: 0 weight_grad[k, place], 1 bias_grad[k, place], 2 weight_grad, 3 bias_grad, 4 the counts
// Grid: one invocation a place, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: the slices in order

struct Params {
    length: u32,
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
    let place = linear_workgroup(group, groups) * 256u + lane;
    if (place >= params.length) {
        return;
    }
    var sums = vec2<f32>();
    for (var slice = 0u; slice < params.slices; slice++) {
        let at = slice * params.length + place;
        sums += vec2<f32>(slice_weight_grad[at], slice_bias_grad[at]);
    }
    weight_grad[place] = sums.x;
    bias_grad[place] = sums.y;
}
