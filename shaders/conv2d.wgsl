// y[n, k, i, j] = Σ over c, r, s of weight[k, c, r, s] * x[n, c, i·stride + r·dilation − padding, j·…], plus
// bias[k] (or times and plus what the bias' two rows say) and residual[n, k, i, j] if so asked, activated.
// Room: src/ops/conv2d.rs
// Uses: store_f32, index, normal, epilogue, tile, tile_lanes, convolution
// Bindings: 0 x, 1 weight, 2 bias, 3 residual, 4 y, 5 the lengths
// Grid: one workgroup of 256 a tile of the maps × the positions of a group, maps first, then positions, then groups
// Constants: TILE_HIGH, TILE_WIDE: the tile; KERNEL_H … DILATION_W, QUADS: the window; FACTORS, BIAS, RESIDUAL,
//   ACTIVATION: the epilogue
// Barriers: those of tile_product; the grid's surplus workgroups leave as a whole before
// Order of summation: c, then r, then s, taken together as tile_product does

@group(0) @binding(0) var<storage, read> x: array<vec4<Store>>;
@group(0) @binding(1) var<storage, read> weight: array<Store>;
@group(0) @binding(2) var<storage, read> bias: array<Store>;
@group(0) @binding(3) var<storage, read> residual: array<Store>;
@group(0) @binding(4) var<storage, read_write> y: array<Store>;
@group(0) @binding(5) var<uniform> params: Convolution;

/// The group that this workgroup computes.
var<private> own_group: u32;

/// Rows: maps of the group; depth: channel and tap.
fn tile_a(row: u32, depth: u32) -> vec4<f32> {
    let pitch = params.channels * KERNEL_H * KERNEL_W;
    let at = (own_group * params.maps + row) * pitch + depth;
    var quad = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
        if (row + i < params.maps) {
            quad[i] = f32(weight[at + i * pitch]);
        }
    }
    return quad;
}

/// Depth: channel and tap; columns: images and positions.
fn tile_b(depth: u32, column: u32) -> vec4<f32> {
    let tap = in_window(depth);
    var position = in_planes(column, params.output);
    var quad = vec4<f32>(0.0);
    if (QUADS != 0u && position.x < params.images) {
        let plane = (position.x * params.groups + own_group) * params.channels + tap.x;
        return vec4<f32>(x[((plane * params.input.x + position.y) * params.input.y + position.z) / 4u]);
    }
    for (var i = 0u; i < 4u; i++) {
        let at = seen(position.yz, tap.yz, params.padding);
        if (position.x < params.images && all(at < params.input)) {
            let plane = (position.x * params.groups + own_group) * params.channels + tap.x;
            let own = (plane * params.input.x + at.x) * params.input.y + at.y;
            quad[i] = f32(x[own / 4u][own % 4u]);
        }
        position = following(position, params.output);
    }
    return quad;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let area = params.output.x * params.output.y;
    let tiles = (vec2<u32>(params.maps, params.images * area) + tile_size() - 1u) / tile_size();
    let index = linear_workgroup(group, groups);
    if (index >= params.groups * tiles.x * tiles.y) {
        return;
    }
    own_group = index / (tiles.x * tiles.y);
    let origin = tile_size() * vec2<u32>(index % tiles.x, index / tiles.x % tiles.y);
    var sums = tile_product(origin, 0u, params.channels * KERNEL_H * KERNEL_W, lane);
    for (var block = 0u; block < TILE_HIGH * TILE_WIDE; block++) {
        let first = tile_results(origin, block, lane);
        for (var c = 0u; c < 4u; c++) {
            let image = (first.y + c) / area;
            for (var r = 0u; r < 4u; r++) {
                let map = first.x + r;
                if (image < params.images && map < params.maps) {
                    let plane = (image * params.groups + own_group) * params.maps + map;
                    var sum = sums[block][r][c];
                    var own = own_group * params.maps + map;
                    if (FACTORS != 0u) {
                        sum *= f32(bias[own]);
                        own += params.groups * params.maps;
                    }
                    if (BIAS != 0u) {
                        sum += f32(bias[own]);
                    }
                    let at = plane * area + (first.y + c) % area;
                    if (RESIDUAL != 0u) {
                        sum += f32(residual[at]);
                    }
                    y[at] = Store(activated(sum));
                }
            }
        }
    }
}
