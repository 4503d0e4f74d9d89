// The product of two matrices, a tile of 64 × 64 results for each workgroup of 256. A shader that uses it defines
//   fn tile_a(row: u32, depth: u32) -> f32      fn tile_b(depth: u32, column: u32) -> f32
// which give 0 outside of their matrix. Invocation l holds the 16 results of the rows l / 16 + 16 r and the columns
// l % 16 + 16 c, so that neighbours read neighbouring words of workgroup memory and write neighbouring results.

/// The side of a tile of results.
const TILE: u32 = 64u;
/// The terms that are summed between two barriers.
const TILE_DEPTH: u32 = 16u;
/// One word more than a tile's side, which spreads a column over the banks of workgroup memory.
const TILE_PITCH: u32 = 65u;

/// 1 where neighbouring rows of a are neighbours in memory, 0 where neighbouring depths are.
override TILE_A_BY_ROWS: u32 = 0u;
/// 1 where neighbouring depths of b are neighbours in memory, 0 where neighbouring columns are.
override TILE_B_BY_DEPTH: u32 = 0u;

var<workgroup> tile_memory_a: array<f32, 1040>;
var<workgroup> tile_memory_b: array<f32, 1040>;

/// Rows of results, then columns.
alias TileSums = array<vec4<f32>, 4>;

/// The part of a tile, `along` its side and in `depth`, that an invocation copies in its turn `turn`.
fn tile_share(lane: u32, turn: u32, by_depth: bool) -> vec2<u32> {
    if (by_depth) {
        return vec2<u32>(lane / TILE_DEPTH + 16u * turn, lane % TILE_DEPTH);
    }
    return vec2<u32>(lane % TILE, lane / TILE + 4u * turn);
}

/// The first row or column of this invocation's results in a tile that starts at `origin`; the others are 16 apart.
fn tile_results(origin: vec2<u32>, lane: u32) -> vec2<u32> {
    return origin + vec2<u32>(lane / 16u, lane % 16u);
}

/// Adds, to each of an invocation's results, the product of the numbers that workgroup memory holds at `depth`.
fn tile_terms(sums: ptr<function, TileSums>, own: vec2<u32>, depth: u32) {
    let at = depth * TILE_PITCH + own;
    let row = vec4<f32>(
        tile_memory_b[at.y], tile_memory_b[at.y + 16u], tile_memory_b[at.y + 32u], tile_memory_b[at.y + 48u]);
    (*sums)[0] = fma(vec4<f32>(tile_memory_a[at.x]), row, (*sums)[0]);
    (*sums)[1] = fma(vec4<f32>(tile_memory_a[at.x + 16u]), row, (*sums)[1]);
    (*sums)[2] = fma(vec4<f32>(tile_memory_a[at.x + 32u]), row, (*sums)[2]);
    (*sums)[3] = fma(vec4<f32>(tile_memory_a[at.x + 48u]), row, (*sums)[3]);
}

/// Sums over depth `start..end` of tile_a(row, depth) * tile_b(depth, column) for the tile at `origin`, in order of
/// depth. All invocations of a workgroup must call it, with the same arguments but `lane`.
fn tile_product(origin: vec2<u32>, start: u32, end: u32, lane: u32) -> TileSums {
    var sums = TileSums();
    let own = tile_results(vec2<u32>(0u), lane);
    for (var base = start; base < end; base += TILE_DEPTH) {
        for (var turn = 0u; turn < 4u; turn++) {
            let a = tile_share(lane, turn, TILE_A_BY_ROWS == 0u);
            let b = tile_share(lane, turn, TILE_B_BY_DEPTH != 0u);
            var a_value = 0.0;
            var b_value = 0.0;
            if (base + a.y < end) {
                a_value = tile_a(origin.x + a.x, base + a.y);
            }
            if (base + b.y < end) {
                b_value = tile_b(base + b.y, origin.y + b.x);
            }
            tile_memory_a[a.y * TILE_PITCH + a.x] = a_value;
            tile_memory_b[b.y * TILE_PITCH + b.x] = b_value;
        }
        workgroupBarrier();
        for (var depth = 0u; depth < TILE_DEPTH; depth++) {
            tile_terms(&sums, own, depth);
        }
        workgroupBarrier();
    }
    return sums;
}
