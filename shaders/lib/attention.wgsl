// What the attention and its gradient share: lengths, the work of a workgroup, and what becomes of a product q · k. A shader
// that uses it defines
//   fn takes_part(sample: u32, key: u32) -> bool
// which says whether a key exists and is not masked.

struct Attention {
    samples: u32,
    queries: u32,
    keys: u32,
    heads: u32,
    head_dim: u32,
    scale: f32,
}

/// 1 where scores pass the logistic function before the softmax.
override SIGMOID: u32 = 0u;

/// What a workgroup computes: a tile of one head of one sample, from a row and a column on.
struct Part {
    sample: u32,
    head: u32,
    row: u32,
    column: u32,
}

/// The part of the workgroup `index`, where a head has `rows` × `columns` results. Past the last part, the sample does
/// not exist.
fn part_of(index: u32, attention: Attention, rows: u32, columns: u32) -> Part {
    let tiles = max((vec2<u32>(rows, columns) + 63u) / 64u, vec2<u32>(1u));
    let head = index / (tiles.x * tiles.y);
    return Part(
        head / attention.heads, head % attention.heads, 64u * (index / tiles.y % tiles.x), 64u * (index % tiles.y));
}

/// The place of the first number of the part's head in a value [N, tokens, heads · head_dim].
fn head_start(part: Part, attention: Attention, tokens: u32) -> u32 {
    return (part.sample * tokens * attention.heads + part.head) * attention.head_dim;
}

/// Whether some key of the tile from `key` on takes part: the same for all invocations of a workgroup.
fn tile_takes_part(sample: u32, key: u32) -> bool {
    for (var i = 0u; i < 64u; i++) {
        if (takes_part(sample, key + i)) {
            return true;
        }
    }
    return false;
}

/// The score that a product q · k becomes, and its slope in the scaled product.
fn score_of(product: f32, scale: f32) -> vec2<f32> {
    let x = scale * product;
    if (SIGMOID == 0u) {
        return vec2<f32>(x, 1.0);
    }
    let e = exp(-abs(x));
    return vec2<f32>(select(1.0, e, x < 0.0) / (1.0 + e), e / ((1.0 + e) * (1.0 + e)));
}
