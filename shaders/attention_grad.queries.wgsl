// q_grad = Σ over keys of scale · p · (output_grad · v − row) · slope k, p = exp(score − log_sum_exp), for each head.
// Room: src/ops/attention_grad.rs
// Uses: store_f32, index, tile, tile_lanes, tile_chain, attention
// Bindings: 0 q, 1 k, 2 v, 3 mask, 4 output_grad, 5 rows, 6 q_grad, 7 the lengths and the scale
// Grid: one workgroup of 256 a tile of 64 queries × 64 channels of a head, channels first, then queries, heads, samples
// Constants: SIGMOID; TILE_A_BY_ROWS, TILE_B_BY_DEPTH: channels are neighbours in memory
// Barriers: those of the tiles; the grid's surplus workgroups leave as a whole before
// Order of summation: tile by tile, in each the keys in the order of tile_chain

@group(0) @binding(0) var<storage, read> q: array<Store>;
@group(0) @binding(1) var<storage, read> k: array<Store>;
@group(0) @binding(2) var<storage, read> v: array<Store>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read> output_grad: array<Store>;
@group(0) @binding(5) var<storage, read_write> rows: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> q_grad: array<Store>;
@group(0) @binding(7) var<uniform> params: Attention;

/// Where this workgroup's queries and keys start, and the distance between tokens.
var<private> query_start: u32;
var<private> key_start: u32;
var<private> pitch: u32;
/// Whether tile_product computes output_grad · v instead of q · k.
var<private> of_values: bool;

fn of_query(row: u32, depth: u32) -> f32 {
    if (row >= params.queries) {
        return 0.0;
    }
    let at = query_start + row * pitch + depth;
    if (of_values) {
        return f32(output_grad[at]);
    }
    return f32(q[at]);
}

fn of_key(depth: u32, column: u32) -> f32 {
    if (column >= params.keys) {
        return 0.0;
    }
    let at = key_start + column * pitch + depth;
    if (of_values) {
        return f32(v[at]);
    }
    return f32(k[at]);
}

fn of_channel(depth: u32, column: u32) -> f32 {
    if (depth >= params.keys || column >= params.head_dim) {
        return 0.0;
    }
    return f32(k[key_start + depth * pitch + column]);
}

fn tile_a(row: u32, depth: u32) -> vec4<f32> {
    return vec4<f32>(
        of_query(row, depth), of_query(row + 1u, depth), of_query(row + 2u, depth), of_query(row + 3u, depth));
}

fn tile_b(depth: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        of_key(depth, column), of_key(depth, column + 1u), of_key(depth, column + 2u), of_key(depth, column + 3u));
}

fn tile_c(depth: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        of_channel(depth, column), of_channel(depth, column + 1u), of_channel(depth, column + 2u), of_channel(depth, column + 3u));
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
    let part = part_of(linear_workgroup(group, groups), params, params.queries, params.head_dim);
    if (part.sample >= params.samples) {
        return;
    }
    pitch = params.heads * params.head_dim;
    query_start = head_start(part, params, params.queries);
    key_start = head_start(part, params, params.keys);
    let first = tile_results(vec2<u32>(part.row, part.column), 0u, lane);
    var of_row = array<vec2<f32>, 4>();
    for (var r = 0u; r < 4u; r++) {
        let row = first.x + r;
        if (row < params.queries) {
            of_row[r] = rows[(part.sample * params.queries + row) * params.heads + part.head];
        }
    }
    var sums = TileBlock();
    for (var key = 0u; key < params.keys; key += TILE_BLOCK) {
        if (!tile_takes_part(part.sample, key)) {
            continue;
        }
        of_values = false;
        var scores = tile_product(vec2<u32>(part.row, key), 0u, params.head_dim, lane)[0];
        of_values = true;
        var grads = tile_product(vec2<u32>(part.row, key), 0u, params.head_dim, lane)[0];
        let column = tile_results(vec2<u32>(part.row, key), 0u, lane).y;
        for (var c = 0u; c < 4u; c++) {
            let seen = takes_part(part.sample, column + c);
            for (var r = 0u; r < 4u; r++) {
                let score = score_of(scores[r][c], params.scale);
                let weight = exp(score.x - of_row[r].x);
                let grad = weight * (grads[r][c] - of_row[r].y) * score.y * params.scale;
                scores[r][c] = select(0.0, grad, seen);
            }
        }
        tile_chain(&scores, vec2<u32>(key, part.column), params.keys, &sums, lane);
    }
    for (var r = 0u; r < 4u; r++) {
        for (var c = 0u; c < 4u; c++) {
            let row = first.x + r;
            let channel = first.y + c;
            if (row < params.queries && channel < params.head_dim) {
                q_grad[query_start + row * pitch + channel] = Store(sums[r][c]);
            }
        }
    }
}
