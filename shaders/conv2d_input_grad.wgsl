// x_grad[n, c, h, w] = Σ over k, r, s of weight[k, c, r, s] * output_grad[n, k, i, j], where tap (r, s) sees (h, w) from (i, j).
// Room: src/ops/conv2d_input_grad.rs
// Uses: store_f32, index, tile, tile_lanes, convolution
// Bindings: 0 output_grad, 1 weight, 2 x_grad, 3 the lengths and the phase
// Grid: one launch for each phase, the elements with the same remainders modulo the stride; in it one workgroup of 256 a
//   tile of the channels × the elements of a group, channels first, then elements, then groups
// Constants: TILE_HIGH, TILE_WIDE: the tile; KERNEL_H … DILATION_W, QUADS: the window; TAPS_H, TAPS_W: the taps that see
//   the phase
// Barriers: those of tile_product; the grid's surplus workgroups leave as a whole before
// Order of summation: k, then r, then s, taken together as tile_product does

// Tap first + step · t sees the element remainder + stride · i from position i + offset − shift · t.
struct Params {
    lengths: Convolution,
    remainder: vec2<u32>,
    grid: vec2<u32>,
    first: vec2<u32>,
    step: vec2<u32>,
    offset: vec2<u32>,
    shift: vec2<u32>,
}

@group(0) @binding(0) var<storage, read> output_grad: array<vec4<Store>>;
@group(0) @binding(1) var<storage, read> weight: array<Store>;
@group(0) @binding(2) var<storage, read_write> x_grad: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

override TAPS_H: u32 = 1u;
override TAPS_W: u32 = 1u;

/// The group that this workgroup computes.
var<private> own_group: u32;

/// The map, and which of the phase's taps.
fn in_taps(depth: u32) -> vec3<u32> {
    let row = depth / max(TAPS_W, 1u);
    return vec3<u32>(row / max(TAPS_H, 1u), row % max(TAPS_H, 1u), depth % max(TAPS_W, 1u));
}

/// Rows: channels of the group; depth: map and tap.
fn tile_a(row: u32, depth: u32) -> vec4<f32> {
    let at = in_taps(depth);
    let tap = params.first + params.step * at.yz;
    let plane = (own_group * params.lengths.maps + at.x) * params.lengths.channels + row;
    var quad = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
        if (row + i < params.lengths.channels) {
            quad[i] = f32(weight[((plane + i) * KERNEL_H + tap.x) * KERNEL_W + tap.y]);
        }
    }
    return quad;
}

/// Depth: map and tap; columns: images and elements. A position above or left of y wraps around and so is outside, too.
fn tile_b(depth: u32, column: u32) -> vec4<f32> {
    let tap = in_taps(depth);
    let size = params.lengths.output;
    var element = in_planes(column, params.grid);
    var quad = vec4<f32>(0.0);
    if (QUADS != 0u && element.x < params.lengths.images) {
        let plane = (element.x * params.lengths.groups + own_group) * params.lengths.maps + tap.x;
        return vec4<f32>(output_grad[((plane * size.x + element.y) * size.y + element.z) / 4u]);
    }
    for (var i = 0u; i < 4u; i++) {
        let at = element.yz + params.offset - params.shift * tap.yz;
        if (element.x < params.lengths.images && all(at < size)) {
            let plane = (element.x * params.lengths.groups + own_group) * params.lengths.maps + tap.x;
            let own = (plane * size.x + at.x) * size.y + at.y;
            quad[i] = f32(output_grad[own / 4u][own % 4u]);
        }
        element = following(element, params.grid);
    }
    return quad;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let channels = params.lengths.channels;
    let columns = params.lengths.images * params.grid.x * params.grid.y;
    let tiles = (vec2<u32>(channels, columns) + tile_size() - 1u) / tile_size();
    let index = linear_workgroup(group, groups);
    if (index >= params.lengths.groups * tiles.x * tiles.y) {
        return;
    }
    own_group = index / (tiles.x * tiles.y);
    let origin = tile_size() * vec2<u32>(index % tiles.x, index / tiles.x % tiles.y);
    var sums = tile_product(origin, 0u, params.lengths.maps * TAPS_H * TAPS_W, lane);
    for (var block = 0u; block < TILE_HIGH * TILE_WIDE; block++) {
        let first = tile_results(origin, block, lane);
        var element = in_planes(first.y, params.grid);
        for (var c = 0u; c < 4u; c++) {
            let at = params.remainder + vec2<u32>(STRIDE_H, STRIDE_W) * element.yz;
            let inside = element.x < params.lengths.images && all(at < params.lengths.input);
            for (var r = 0u; r < 4u; r++) {
                let channel = first.x + r;
                if (inside && channel < channels) {
                    let plane = (element.x * params.lengths.groups + own_group) * channels + channel;
                    let own = (plane * params.lengths.input.x + at.x) * params.lengths.input.y + at.y;
                    x_grad[own] = Store(sums[block][r][c]);
                }
            }
            element = following(element, params.grid);
        }
    }
}
