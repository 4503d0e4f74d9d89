// y[i, j] = Σ over depth of a[i, depth] * b[depth, j] of whole numbers made up here, whose sums are exact whatever their order.

struct Params {
    a_range: u32,
    b_range: u32,
    depth: u32,
    a_unit: f32,
}

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

/// A whole number from −range/2 to range/2.
fn number(i: u32, depth: u32, range: u32) -> f32 {
    return f32((i * 7919u + depth * 104729u) % range) - f32(range / 2u);
}

fn tile_a(row: u32, depth: u32) -> vec4<f32> {
    return params.a_unit * vec4<f32>(
        number(row, depth, params.a_range), number(row + 1u, depth, params.a_range),
        number(row + 2u, depth, params.a_range), number(row + 3u, depth, params.a_range));
}

fn tile_b(depth: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        number(column, depth, params.b_range), number(column + 1u, depth, params.b_range),
        number(column + 2u, depth, params.b_range), number(column + 3u, depth, params.b_range));
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sums = tile_product(vec2<u32>(), 0u, params.depth, lane);
    for (var block = 0u; block < TILE_HIGH * TILE_WIDE; block++) {
        let first = tile_results(vec2<u32>(), block, lane);
        for (var r = 0u; r < 4u; r++) {
            for (var c = 0u; c < 4u; c++) {
                y[(first.x + r) * TILE_BLOCK * TILE_WIDE + first.y + c] = sums[block][r][c];
            }
        }
    }
}
