// weights = exp(map(scale · q · k) − log_sum_exp) where the key takes part, else 0.
// Room: src/ops/attention_weights.rs
// Uses: store_f32, index, tile, tile_lanes, attention
// Bindings: 0 q, 1 k, 2 mask, 3 log_sum_exp, 4 weights, 5 the lengths and the scale
// Grid: one workgroup of 256 a tile of 64 queries × 64 keys of a head, keys first, then queries, heads, samples
// Constants: SIGMOID; TILE_A_BY_ROWS, TILE_B_BY_DEPTH: channels are neighbours in memory
// Barriers: those of tile_product; the grid's surplus workgroups leave as a whole before
// Order of summation: channels in order

@group(0) @binding(0) var<storage, read> q: array<Store>;
@group(0) @binding(1) var<storage, read> k: array<Store>;
@group(0) @binding(2) var<storage, read> mask: array<u32>;
@group(0) @binding(3) var<storage, read> log_sum_exp: array<f32>;
@group(0) @binding(4) var<storage, read_write> weights: array<f32>;
@group(0) @binding(5) var<uniform> params: Attention;

/// Where this workgroup's queries and keys start, and the distance between tokens.
var<private> query_start: u32;
var<private> key_start: u32;
var<private> pitch: u32;

fn of_query(row: u32, depth: u32) -> f32 {
    if (row >= params.queries) {
        return 0.0;
    }
    return f32(q[query_start + row * pitch + depth]);
}

fn of_key(depth: u32, column: u32) -> f32 {
    if (column >= params.keys) {
        return 0.0;
    }
    return f32(k[key_start + column * pitch + depth]);
}

fn tile_a(row: u32, depth: u32) -> vec4<f32> {
    return vec4<f32>(
        of_query(row, depth), of_query(row + 1u, depth), of_query(row + 2u, depth), of_query(row + 3u, depth));
}

fn tile_b(depth: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        of_key(depth, column), of_key(depth, column + 1u), of_key(depth, column + 2u), of_key(depth, column + 3u));
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
    let part = part_of(linear_workgroup(group, groups), params, params.queries, params.keys);
    if (part.sample >= params.samples) {
        return;
    }
    pitch = params.heads * params.head_dim;
    query_start = head_start(part, params, params.queries);
    key_start = head_start(part, params, params.keys);
    let origin = vec2<u32>(part.row, part.column);
    // A tile of keys that take no part needs no product.
    let depth = select(0u, params.head_dim, tile_takes_part(part.sample, part.column));
    var scores = tile_product(origin, 0u, depth, lane)[0];
    let first = tile_results(origin, 0u, lane);
    for (var r = 0u; r < 4u; r++) {
        let row = first.x + r;
        if (row >= params.queries) {
            continue;
        }
        let normaliser = log_sum_exp[(part.sample * params.queries + row) * params.heads + part.head];
        for (var c = 0u; c < 4u; c++) {
            let key = first.y + c;
            if (key < params.keys) {
                let weight = exp(score_of(scores[r][c], params.scale).x - normaliser);
                let at = ((part.sample * params.heads + part.head) * params.queries + row) * params.keys + key;
                weights[at] = select(0.0, weight, takes_part(part.sample, key));
            }
        }
    }
}
