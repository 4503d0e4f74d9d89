// k_grad = Σ over queries of scale · p · (output_grad · v − row) · slope q and v_grad = Σ p output_grad, for each head.
// Room: src/ops/attention_grad.rs
// Uses: store_f32, index, tile, tile_lanes, tile_chain, attention
// Bindings: 0 q, 1 k, 2 v, 3 mask, 4 output_grad, 5 rows, 6 k_grad, 7 v_grad, 8 the lengths and the scale
// Grid: one workgroup of 256 a tile of 64 keys × 64 channels of a head, channels first, then keys, heads, samples
// Constants: SIGMOID; TILE_A_BY_ROWS, TILE_B_BY_DEPTH: channels are neighbours in memory
// Barriers: those of the tiles; the grid's surplus workgroups leave as a whole before
// Order of summation: tile by tile, in each the queries in the order of tile_chain

@group(0) @binding(0) var<storage, read> q: array<Store>;
@group(0) @binding(1) var<storage, read> k: array<Store>;
@group(0) @binding(2) var<storage, read> v: array<Store>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read> output_grad: array<Store>;
@group(0) @binding(5) var<storage, read_write> rows: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> k_grad: array<Store>;
@group(0) @binding(7) var<storage, read_write> v_grad: array<Store>;
@group(0) @binding(8) var<uniform> params: Attention;

/// Where this workgroup's queries and keys start, and the distance between tokens.
var<private> query_start: u32;
var<private> key_start: u32;
var<private> pitch: u32;
/// Whether tile_product computes v · output_grad instead of k · q, and tile_chain multiplies by output_grad instead of q.
var<private> of_values: bool;

fn of_key(row: u32, depth: u32) -> f32 {
    if (row >= params.keys) {
        return 0.0;
    }
    let at = key_start + row * pitch + depth;
    if (of_values) {
        return f32(v[at]);
    }
    return f32(k[at]);
}

/// A number of a query, or of its output's gradient.
fn of_query(query: u32, channel: u32) -> f32 {
    if (query >= params.queries || channel >= params.head_dim) {
        return 0.0;
    }
    let at = query_start + query * pitch + channel;
    if (of_values) {
        return f32(output_grad[at]);
    }
    return f32(q[at]);
}

fn tile_a(row: u32, depth: u32) -> vec4<f32> {
    return vec4<f32>(
        of_key(row, depth), of_key(row + 1u, depth), of_key(row + 2u, depth), of_key(row + 3u, depth));
}

fn tile_b(depth: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        of_query(column, depth), of_query(column + 1u, depth), of_query(column + 2u, depth), of_query(column + 3u, depth));
}

fn tile_c(depth: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        of_query(depth, column), of_query(depth, column + 1u), of_query(depth, column + 2u), of_query(depth, column + 3u));
}

fn takes_part(sample: u32, key: u32) -> bool {
    return key < params.keys && mask[sample * params.keys + key] != 0u;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = part_of(linear_workgroup(group, groups), params, params.keys, params.head_dim);
    if (part.sample >= params.samples) {
        return;
    }
    pitch = params.heads * params.head_dim;
    query_start = head_start(part, params, params.queries);
    key_start = head_start(part, params, params.keys);
    let first = tile_results(vec2<u32>(part.row, part.column), 0u, lane);
    var seen = vec4<bool>(false);
    for (var r = 0u; r < 4u; r++) {
        seen[r] = takes_part(part.sample, first.x + r);
    }
    // Keys that take no part, a whole tile of them, wait for no query.
    let queries = select(0u, params.queries, tile_takes_part(part.sample, part.row));
    var k_sums = TileBlock();
    var v_sums = TileBlock();
    for (var query = 0u; query < queries; query += TILE_BLOCK) {
        of_values = false;
        var scores = tile_product(vec2<u32>(part.row, query), 0u, params.head_dim, lane)[0];
        of_values = true;
        var grads = tile_product(vec2<u32>(part.row, query), 0u, params.head_dim, lane)[0];
        let column = tile_results(vec2<u32>(part.row, query), 0u, lane).y;
        for (var c = 0u; c < 4u; c++) {
            let own = column + c;
            var of_row = vec2<f32>(0.0);
            if (own < params.queries) {
                of_row = rows[(part.sample * params.queries + own) * params.heads + part.head];
            }
            for (var r = 0u; r < 4u; r++) {
                let score = score_of(scores[r][c], params.scale);
                let weight = select(0.0, exp(score.x - of_row.x), seen[r] && own < params.queries);
                scores[r][c] = weight;
                grads[r][c] = weight * (grads[r][c] - of_row.y) * score.y * params.scale;
            }
        }
        tile_chain(&scores, vec2<u32>(query, part.column), params.queries, &v_sums, lane);
        of_values = false;
        tile_chain(&grads, vec2<u32>(query, part.column), params.queries, &k_sums, lane);
    }
    for (var r = 0u; r < 4u; r++) {
        for (var c = 0u; c < 4u; c++) {
            let row = first.x + r;
            let channel = first.y + c;
            if (row < params.keys && channel < params.head_dim) {
                k_grad[key_start + row * pitch + channel] = Store(k_sums[r][c]);
                v_grad[key_start + row * pitch + channel] = Store(v_sums[r][c]);
            }
        }
    }
}
