// y[n, k, i, j] = Σ over c, r, s of weight[k, c, r, s] * x[n, c, i·stride + r·dilation − padding, j·…].
// Room: src/ops/conv2d.rs
// Uses: store_f32, index, tile, convolution
// Bindings: 0 x, 1 weight, 2 y, 3 the lengths
// Grid: one workgroup of 256 a tile of 64 maps × 64 positions of a group, maps first, then positions, then groups
// Constants: KERNEL_H … DILATION_W, the window
// Barriers: those of tile_product; the grid's surplus workgroups leave as a whole before
// Order of summation: c, then r, then s

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> weight: array<Store>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Convolution;

/// The group that this workgroup computes.
var<private> own_group: u32;

/// Row: a map of the group; depth: channel and tap.
fn tile_a(row: u32, depth: u32) -> f32 {
    if (row >= params.maps) {
        return 0.0;
    }
    return f32(weight[(own_group * params.maps + row) * params.channels * KERNEL_H * KERNEL_W + depth]);
}

/// Depth: channel and tap; column: image and position.
fn tile_b(depth: u32, column: u32) -> f32 {
    let position = in_planes(column, params.output);
    let tap = in_window(depth);
    let at = seen(position.yz, tap.yz, params.padding);
    if (position.x >= params.images || any(at >= params.input)) {
        return 0.0;
    }
    let plane = (position.x * params.groups + own_group) * params.channels + tap.x;
    return f32(x[(plane * params.input.x + at.x) * params.input.y + at.y]);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let area = params.output.x * params.output.y;
    let tiles = (vec2<u32>(params.maps, params.images * area) + TILE - 1u) / TILE;
    let index = linear_workgroup(group, groups);
    if (index >= params.groups * tiles.x * tiles.y) {
        return;
    }
    own_group = index / (tiles.x * tiles.y);
    let origin = TILE * vec2<u32>(index % tiles.x, index / tiles.x % tiles.y);
    var sums = tile_product(origin, 0u, params.channels * KERNEL_H * KERNEL_W, lane);
    let first = tile_results(origin, lane);
    for (var c = 0u; c < 4u; c++) {
        let column = first.y + 16u * c;
        let image = column / area;
        if (image >= params.images) {
            continue;
        }
        for (var r = 0u; r < 4u; r++) {
            let map = first.x + 16u * r;
            if (map < params.maps) {
                let plane = (image * params.groups + own_group) * params.maps + map;
                y[plane * area + column % area] = Store(sums[r][c]);
            }
        }
    }
}
