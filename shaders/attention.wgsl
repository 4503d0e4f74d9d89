// y = Σ over keys of softmax(map(scale · q · k)) v, and the logarithm of the softmax's denominator, for each head.
// Room: src/ops/attention.rs
// Uses: store_f32, index, tile, tile_lanes, tile_chain, attention
// Bindings: 0 q, 1 k, 2 v, 3 mask, 4 y, 5 log_sum_exp, 6 the lengths and the scale
// Grid: one workgroup of 256 a tile of 64 queries × 64 channels of a head, channels first, then queries, heads, samples
// Constants: SIGMOID; TILE_A_BY_ROWS, TILE_B_BY_DEPTH: channels of q and of k are neighbours in memory
// Barriers: those of the tiles; the grid's surplus workgroups leave as a whole before
// Order of summation: tile by tile, in each the keys in the order of tile_chain, the sums so far rescaled whenever a
//     larger score appears; the denominator first over each invocation's own keys, then over the 16 invocations of a row

@group(0) @binding(0) var<storage, read> q: array<Store>;
@group(0) @binding(1) var<storage, read> k: array<Store>;
@group(0) @binding(2) var<storage, read> v: array<Store>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<Store>;
@group(0) @binding(5) var<storage, read_write> log_sum_exp: array<f32>;
@group(0) @binding(6) var<uniform> params: Attention;

/// The lowest number, where the search for the largest score begins.
const LOWEST: f32 = -3.40282347e38;

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

fn of_value(depth: u32, column: u32) -> f32 {
    if (depth >= params.keys || column >= params.head_dim) {
        return 0.0;
    }
    return f32(v[key_start + depth * pitch + column]);
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
        of_value(depth, column), of_value(depth, column + 1u), of_value(depth, column + 2u), of_value(depth, column + 3u));
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
    var tops = vec4<f32>(LOWEST);
    var totals = vec4<f32>(0.0);
    var sums = TileBlock();
    for (var key = 0u; key < params.keys; key += TILE_BLOCK) {
        if (!tile_takes_part(part.sample, key)) {
            continue;
        }
        let first = tile_results(vec2<u32>(part.row, key), 0u, lane);
        var seen = vec4<bool>(false);
        var scores = tile_product(vec2<u32>(part.row, key), 0u, params.head_dim, lane)[0];
        var highest = tops;
        for (var c = 0u; c < 4u; c++) {
            seen[c] = takes_part(part.sample, first.y + c);
            for (var r = 0u; r < 4u; r++) {
                scores[r][c] = score_of(scores[r][c], params.scale).x;
                highest[r] = max(highest[r], select(LOWEST, scores[r][c], seen[c]));
            }
        }
        highest = tile_row_max(highest, lane);
        let kept = exp(tops - highest);
        tops = highest;
        totals *= kept;
        for (var r = 0u; r < 4u; r++) {
            sums[r] *= kept[r];
            scores[r] = select(vec4<f32>(0.0), exp(scores[r] - tops[r]), seen);
            totals[r] += scores[r].x + scores[r].y + scores[r].z + scores[r].w;
        }
        tile_chain(&scores, vec2<u32>(key, part.column), params.keys, &sums, lane);
    }
    totals = tile_row_sum(totals, lane);
    let first = tile_results(vec2<u32>(part.row, part.column), 0u, lane);
    for (var r = 0u; r < 4u; r++) {
        let row = first.x + r;
        // A query that sees no key gets zeros.
        let empty = totals[r] == 0.0;
        for (var c = 0u; c < 4u; c++) {
            let channel = first.y + c;
            if (row < params.queries && channel < params.head_dim) {
                y[query_start + row * pitch + channel] = Store(sums[r][c] / select(totals[r], 1.0, empty));
            }
        }
        if (row < params.queries && first.y == 0u) {
            let at = (part.sample * params.queries + row) * params.heads + part.head;
            log_sum_exp[at] = select(tops[r] + log(totals[r]), 0.0, empty);
        }
    }
}
