// weight_grad[k, c, r, s] = Σ over n, i, j of output_grad[n, k, i, j] * x[n, c, i·stride + r·dilation − padding, j·…].
// Room: src/ops/conv2d_weight_grad.rs
// Uses: store_f32, index, reduce, convolution
// Bindings: 0 x, 1 output_grad, 2 weight_grad, 3 the lengths
// Grid: one workgroup of 256 an element
// Constants: KERNEL_H … DILATION_W: the window
// Barriers: those of workgroup_sum; the grid's surplus workgroups leave as a whole before
// Order of summation: invocation l adds the positions l, l + 256, … of all images; then the tree of workgroup_sum

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> output_grad: array<Store>;
@group(0) @binding(2) var<storage, read_write> weight_grad: array<f32>;
@group(0) @binding(3) var<uniform> params: Convolution;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let maps = params.groups * params.maps;
    let index = linear_workgroup(group, groups);
    // The map and the channel of its group in one; the row and the column of the tap.
    let tap = in_window(index);
    let map = tap.x / params.channels;
    if (map >= maps) {
        return;
    }
    let first_plane = map / params.maps * params.channels + tap.x % params.channels;
    let terms = params.images * params.output.x * params.output.y;
    var sum = 0.0;
    for (var term = lane; term < terms; term += 256u) {
        let position = in_planes(term, params.output);
        let at = seen(position.yz, tap.yz, params.padding);
        if (all(at < params.input)) {
            let y_plane = position.x * maps + map;
            let x_plane = position.x * params.groups * params.channels + first_plane;
            let grad = f32(output_grad[(y_plane * params.output.x + position.y) * params.output.y + position.z]);
            sum = fma(grad, f32(x[(x_plane * params.input.x + at.x) * params.input.y + at.y]), sum);
        }
    }
    let total = workgroup_sum(sum, lane);
    if (lane == 0u) {
        weight_grad[index] = total;
    }
}
