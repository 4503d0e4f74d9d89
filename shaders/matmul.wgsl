// y[batch, i, j] = Σ over l of a[batch, i, l] * b[batch, l, j], plus bias[j] and residual[batch, i, j] if so asked, activated.
// Room: src/ops/matmul.rs
// Uses: store_f32, index, normal, epilogue, tile, tile_lanes
// Bindings: 0 a, 1 b, 2 bias, 3 residual, 4 y, 5 lengths and strides
// Grid: one workgroup of 256 a tile of y, rows of tiles first, then columns, then the batch
// Constants: TILE_HIGH, TILE_WIDE: the tile; TILE_A_BY_ROWS, TILE_B_BY_DEPTH: how the operands lie in memory; A_QUADS,
//   B_QUADS: 1 where four neighbouring rows of a or columns of b are a vector of the buffer; FACTORS, BIAS,
//   RESIDUAL, ACTIVATION: the epilogue
// Barriers: those of tile_product; the grid's surplus workgroups leave as a whole before
// Order of summation: l = 0, 1, …, taken together as tile_product does

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    a_strides: vec2<u32>,
    b_strides: vec2<u32>,
    a_step: u32,
    b_step: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4<Store>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<Store>>;
@group(0) @binding(2) var<storage, read> bias: array<Store>;
@group(0) @binding(3) var<storage, read> residual: array<Store>;
@group(0) @binding(4) var<storage, read_write> y: array<Store>;
@group(0) @binding(5) var<uniform> params: Params;

override A_QUADS: u32 = 0u;
override B_QUADS: u32 = 0u;

/// Where the operands of this workgroup's matrix start.
var<private> a_start: u32;
var<private> b_start: u32;

fn tile_a(row: u32, depth: u32) -> vec4<f32> {
    let at = a_start + row * params.a_strides.x + depth * params.a_strides.y;
    var quad = vec4<f32>(0.0);
    if (A_QUADS != 0u && row < params.m) {
        return vec4<f32>(a[at / 4u]);
    }
    for (var i = 0u; i < 4u; i++) {
        let own = at + i * params.a_strides.x;
        if (row + i < params.m) {
            quad[i] = f32(a[own / 4u][own % 4u]);
        }
    }
    return quad;
}

fn tile_b(depth: u32, column: u32) -> vec4<f32> {
    let at = b_start + depth * params.b_strides.x + column * params.b_strides.y;
    var quad = vec4<f32>(0.0);
    if (B_QUADS != 0u && column < params.n) {
        return vec4<f32>(b[at / 4u]);
    }
    for (var i = 0u; i < 4u; i++) {
        let own = at + i * params.b_strides.y;
        if (column + i < params.n) {
            quad[i] = f32(b[own / 4u][own % 4u]);
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
    let tiles = (vec2<u32>(params.m, params.n) + tile_size() - 1u) / tile_size();
    let index = linear_workgroup(group, groups);
    if (index >= params.batch * tiles.x * tiles.y) {
        return;
    }
    let batch = index / (tiles.x * tiles.y);
    a_start = batch * params.a_step;
    b_start = batch * params.b_step;
    let origin = tile_size() * vec2<u32>(index % tiles.x, index / tiles.x % tiles.y);
    var sums = tile_product(origin, 0u, params.k, lane);
    for (var block = 0u; block < TILE_HIGH * TILE_WIDE; block++) {
        let first = tile_results(origin, block, lane);
        for (var r = 0u; r < 4u; r++) {
            for (var c = 0u; c < 4u; c++) {
                let i = first.x + r;
                let j = first.y + c;
                if (i < params.m && j < params.n) {
                    var sum = sums[block][r][c];
                    if (BIAS != 0u) {
                        sum += f32(bias[j]);
                    }
                    let at = (batch * params.m + i) * params.n + j;
                    if (RESIDUAL != 0u) {
                        sum += f32(residual[at]);
                    }
                    y[at] = Store(activated(sum));
                }
            }
        }
    }
}
