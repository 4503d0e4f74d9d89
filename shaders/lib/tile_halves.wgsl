// Operands of tile_matrix that are stored in half precision: one product of what they are.

/// The numbers of half precision that stand for one.
const TILE_PARTS: u32 = 1u;

alias TileParts = array<vec4<f16>, TILE_PARTS>;

/// Nothing is scaled.
fn tile_begin(lane: u32) {
}

fn tile_parts_a(values: vec4<f32>) -> TileParts {
    return TileParts(vec4<f16>(values));
}

fn tile_parts_b(values: vec4<f32>) -> TileParts {
    return TileParts(vec4<f16>(values));
}

fn tile_unscaled(sums: vec4<f32>) -> vec4<f32> {
    return sums;
}

/// Whether an infinity among the operands needs care: there are no low parts that could spoil it.
fn tile_has_infinity() -> bool {
    return false;
}
