// y[n, k, i, j] = Σ over c, r, s of weight[k, c, r, s] * x[n, c, i·stride + r·dilation − padding, j·…], plus
// bias[k] (or times and plus what the bias' two rows say) and residual[n, k, i, j] if so asked, activated; without tiles.
// Room: src/ops/conv2d.rs
// Uses: store_f32, index, normal, epilogue, convolution
// Bindings: 0 x, 1 weight, 2 bias, 3 residual, 4 y, 5 the lengths
// Grid: one invocation four neighbouring positions of a map, workgroups of 256
// Constants: KERNEL_H … DILATION_W: the window; FACTORS, BIAS, RESIDUAL,
//   ACTIVATION: the epilogue
// Barriers: none
// Order of summation: c, then r, then s

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> weight: array<Store>;
@group(0) @binding(2) var<storage, read> bias: array<Store>;
@group(0) @binding(3) var<storage, read> residual: array<Store>;
@group(0) @binding(4) var<storage, read_write> y: array<Store>;
@group(0) @binding(5) var<uniform> params: Convolution;

/// Adds weight * x for what a tap sees of the plane from each of the positions.
fn add_tap(sums: ptr<function, vec4<f32>>, first: vec3<u32>, tap: vec2<u32>, plane: u32, factor: f32) {
    var position = first;
    for (var i = 0u; i < 4u; i++) {
        let at = seen(position.yz, tap, params.padding);
        if (all(at < params.input)) {
            let own = (plane * params.input.x + at.x) * params.input.y + at.y;
            (*sums)[i] = fma(factor, f32(x[own]), (*sums)[i]);
        }
        position = following(position, params.output);
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let area = params.output.x * params.output.y;
    let quads = (area + 3u) / 4u;
    let index = linear_workgroup(group, groups) * 256u + lane;
    if (index >= params.images * params.groups * params.maps * quads) {
        return;
    }
    let y_plane = index / quads;
    let map = y_plane % (params.groups * params.maps);
    // The first of the planes of x that the map sees: image and group.
    let x_plane = y_plane / params.maps * params.channels;
    let first = in_planes(4u * (index % quads), params.output);
    var sums = vec4<f32>(0.0);
    for (var c = 0u; c < params.channels; c++) {
        for (var r = 0u; r < KERNEL_H; r++) {
            for (var s = 0u; s < KERNEL_W; s++) {
                let factor = f32(weight[((map * params.channels + c) * KERNEL_H + r) * KERNEL_W + s]);
                add_tap(&sums, first, vec2<u32>(r, s), x_plane + c, factor);
            }
        }
    }
    var own_bias = map;
    if (FACTORS != 0u) {
        sums *= f32(bias[map]);
        own_bias += params.groups * params.maps;
    }
    if (BIAS != 0u) {
        sums += f32(bias[own_bias]);
    }
    for (var i = 0u; i < 4u; i++) {
        let own = 4u * (index % quads) + i;
        if (own < area) {
            var sum = sums[i];
            if (RESIDUAL != 0u) {
                sum += f32(residual[y_plane * area + own]);
            }
            y[y_plane * area + own] = Store(activated(sum));
        }
    }
}
