// x_grad[n, c, h, w] = Σ over k, r, s of weight[k, c, r, s] * output_grad[n, k, i, j], where tap (r, s) sees (h, w) from (i, j).
// Room: src/ops/conv2d_input_grad.rs
// Uses: store_f32, index, convolution
// Bindings: 0 output_grad, 1 weight, 2 x_grad, 3 the lengths
// Grid: one invocation four neighbouring elements of a channel, workgroups of 256
// Constants: KERNEL_H … DILATION_W: the window
// Barriers: none
// Order of summation: k, then r, then s

@group(0) @binding(0) var<storage, read> output_grad: array<Store>;
@group(0) @binding(1) var<storage, read> weight: array<Store>;
@group(0) @binding(2) var<storage, read_write> x_grad: array<Store>;
@group(0) @binding(3) var<uniform> params: Convolution;

/// Adds weight * output_grad for the position of the plane, if any, from which a tap sees each of the elements.
fn add_tap(sums: ptr<function, vec4<f32>>, first: vec3<u32>, tap: vec2<u32>, plane: u32, factor: f32) {
    let stride = vec2<u32>(STRIDE_H, STRIDE_W);
    let reach = tap * vec2<u32>(DILATION_H, DILATION_W);
    var element = first;
    for (var i = 0u; i < 4u; i++) {
        let padded = element.yz + params.padding;
        let scaled = padded - reach;
        let at = scaled / stride;
        if (all(reach <= padded) && all(at * stride == scaled) && all(at < params.output)) {
            let own = (plane * params.output.x + at.x) * params.output.y + at.y;
            (*sums)[i] = fma(factor, f32(output_grad[own]), (*sums)[i]);
        }
        element = following(element, params.input);
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let area = params.input.x * params.input.y;
    let quads = (area + 3u) / 4u;
    let index = linear_workgroup(group, groups) * 256u + lane;
    if (index >= params.images * params.groups * params.channels * quads) {
        return;
    }
    let x_plane = index / quads;
    let channel = x_plane % params.channels;
    // The first of the maps that see the channel, in the weight and among the planes of all images.
    let first_map = x_plane / params.channels % params.groups * params.maps;
    let y_plane = x_plane / params.channels * params.maps;
    let first = in_planes(4u * (index % quads), params.input);
    var sums = vec4<f32>(0.0);
    for (var k = 0u; k < params.maps; k++) {
        let window = (first_map + k) * params.channels + channel;
        for (var r = 0u; r < KERNEL_H; r++) {
            for (var s = 0u; s < KERNEL_W; s++) {
                let factor = f32(weight[(window * KERNEL_H + r) * KERNEL_W + s]);
                add_tap(&sums, first, vec2<u32>(r, s), y_plane + k, factor);
            }
        }
    }
    for (var i = 0u; i < 4u; i++) {
        let own = 4u * (index % quads) + i;
        if (own < area) {
            x_grad[x_plane * area + own] = Store(sums[i]);
        }
    }
}
