// partial[part, k, c, r, s] = Σ over the part's n, i, j of output_grad[n, k, i, j] * x[n, c, i·stride + r·dilation − padding, j·…].
// Room: src/ops/conv2d_weight_grad.rs
// Uses: store_f32, index, tile, tile_lanes, convolution
// Bindings: 0 x, 1 output_grad, 2 partial sums, 3 the lengths and the parts
// Grid: one workgroup of 256 a tile of the maps × the channels and taps of a group, maps first, then channels and taps,
//   then groups, then parts of the sum
// Constants: TILE_HIGH, TILE_WIDE: the tile; KERNEL_H … DILATION_W: the window; TILE_B_BY_DEPTH
// Barriers: those of tile_product; the grid's surplus workgroups leave as a whole before
// Order of summation: n, then i, then j, taken together as tile_product does; conv2d_weight_grad.combine adds the parts

struct Params {
    lengths: Convolution,
    parts: u32,
    per_part: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> output_grad: array<Store>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

/// The group that this workgroup computes.
var<private> own_group: u32;

/// Rows: maps of the group; depth: image and position.
fn tile_a(row: u32, depth: u32) -> vec4<f32> {
    let area = params.lengths.output.x * params.lengths.output.y;
    let plane = (depth / area * params.lengths.groups + own_group) * params.lengths.maps + row;
    var quad = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
        if (row + i < params.lengths.maps) {
            quad[i] = f32(output_grad[(plane + i) * area + depth % area]);
        }
    }
    return quad;
}

/// Depth: image and position; columns: channels and taps.
fn tile_b(depth: u32, column: u32) -> vec4<f32> {
    let position = in_planes(depth, params.lengths.output);
    let plane = (position.x * params.lengths.groups + own_group) * params.lengths.channels;
    var quad = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
        let tap = in_window(column + i);
        let at = seen(position.yz, tap.yz, params.lengths.padding);
        if (tap.x < params.lengths.channels && all(at < params.lengths.input)) {
            quad[i] = f32(x[((plane + tap.x) * params.lengths.input.x + at.x) * params.lengths.input.y + at.y]);
        }
    }
    return quad;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = params.lengths.channels * KERNEL_H * KERNEL_W;
    let tiles = (vec2<u32>(params.lengths.maps, columns) + tile_size() - 1u) / tile_size();
    let index = linear_workgroup(group, groups);
    let each = tiles.x * tiles.y;
    if (index >= params.parts * params.lengths.groups * each) {
        return;
    }
    let part = index / each / params.lengths.groups;
    own_group = index / each % params.lengths.groups;
    let terms = params.lengths.images * params.lengths.output.x * params.lengths.output.y;
    let start = min(part * params.per_part, terms);
    let origin = tile_size() * vec2<u32>(index % tiles.x, index / tiles.x % tiles.y);
    var sums = tile_product(origin, start, min(start + params.per_part, terms), lane);
    for (var block = 0u; block < TILE_HIGH * TILE_WIDE; block++) {
        let first = tile_results(origin, block, lane);
        for (var r = 0u; r < 4u; r++) {
            let row = (part * params.lengths.groups + own_group) * params.lengths.maps + first.x + r;
            for (var c = 0u; c < 4u; c++) {
                if (first.x + r < params.lengths.maps && first.y + c < columns) {
                    partial[row * columns + first.y + c] = sums[block][r][c];
                }
            }
        }
    }
}
