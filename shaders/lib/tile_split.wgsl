// Operands of tile_matrix split in two numbers of half precision each, x · scale = high + 2⁻¹¹ · low: three products, with
// the error of single precision. The scale is a power of two that brings the largest finite magnitude of a whole operand
// to 2¹⁴ … 2¹⁵, so that nothing overflows and little is lost below; the shader `largest` has found what it follows from.
// What the parts of a number may be off by is in src/graph/matrices.rs.

/// The numbers of half precision that stand for one.
const TILE_PARTS: u32 = 2u;

alias TileParts = array<vec4<f16>, TILE_PARTS>;

/// The exponent to which the largest magnitude is brought.
const TILE_TOP: i32 = 14;
/// What of a word is a magnitude, and what says that there is an infinity or no number beside it.
const TILE_MAGNITUDE: u32 = 0x7fffffffu;
const TILE_UNUSUAL: u32 = 0x80000000u;
/// The exponent of an infinity, and of what is no number.
const TILE_INFINITE: u32 = 0x7f800000u;

/// 256 words for each operand.
@group(0) @binding(9) var<storage, read> tile_largest: array<u32>;

var<workgroup> tile_tops: array<vec2<u32>, 256>;

/// What a and b are multiplied by.
var<private> tile_scales: vec2<f32>;
/// What results are multiplied by, in two steps: together they may be beyond any number.
var<private> tile_unscales: vec2<f32>;
/// Whether an operand has an infinity or something that is no number.
var<private> tile_unusual: bool;

/// 2 to a power within −126 … 127.
fn tile_power(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}

/// Derives the scales; all invocations of the workgroup must call it.
fn tile_begin(lane: u32) {
    workgroupBarrier();
    tile_tops[lane] = vec2<u32>(tile_largest[lane], tile_largest[256u + lane]);
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if (lane < width) {
            let own = tile_tops[lane];
            let other = tile_tops[lane + width];
            tile_tops[lane] = max(own & vec2<u32>(TILE_MAGNITUDE), other & vec2<u32>(TILE_MAGNITUDE))
                | ((own | other) & vec2<u32>(TILE_UNUSUAL));
        }
    }
    workgroupBarrier();
    let tops = tile_tops[0];
    tile_unusual = ((tops.x | tops.y) & TILE_UNUSUAL) != 0u;
    let exponents = vec2<i32>((tops & vec2<u32>(TILE_MAGNITUDE)) >> vec2<u32>(23u)) - 127;
    let raised = min(TILE_TOP - exponents, vec2<i32>(126));
    tile_scales = vec2<f32>(tile_power(raised.x), tile_power(raised.y));
    let back = -(raised.x + raised.y);
    let first = clamp(back, -126, 127);
    tile_unscales = vec2<f32>(tile_power(first), tile_power(back - first));
}

/// The high part has the eleven bits of half precision, rounded here: a compiler may take a number that became half and
/// single again for the number itself. Of an infinity, or of what is no number, nothing is left for the low part.
fn tile_parts(values: vec4<f32>, scale: f32) -> TileParts {
    let scaled = values * scale;
    let bits = bitcast<vec4<u32>>(scaled);
    let high = bitcast<vec4<f32>>((bits + 0x1000u) & vec4<u32>(0xffffe000u));
    let low = (scaled - high) * 2048.0;
    let usual = (bits & vec4<u32>(TILE_INFINITE)) != vec4<u32>(TILE_INFINITE);
    return TileParts(
        vec4<f16>(select(scaled, high, usual)), vec4<f16>(select(vec4<f32>(), low, usual)));
}

fn tile_parts_a(values: vec4<f32>) -> TileParts {
    return tile_parts(values, tile_scales.x);
}

fn tile_parts_b(values: vec4<f32>) -> TileParts {
    return tile_parts(values, tile_scales.y);
}

fn tile_unscaled(sums: vec4<f32>) -> vec4<f32> {
    return sums * tile_unscales.x * tile_unscales.y;
}

/// Whether an infinity among the operands needs care.
fn tile_has_infinity() -> bool {
    return tile_unusual;
}
