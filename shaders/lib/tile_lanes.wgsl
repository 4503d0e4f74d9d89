// Tiles multiplied in single precision: every invocation adds the products of its own quads, from workgroup memory.

/// The quads that workgroup memory holds of each matrix for each block.
const TILE_HELD: u32 = 256u;
/// The quads of all blocks. Sizes of arrays have names: naga 30 mixes up overrides that follow one without.
override TILE_HELD_A: u32 = TILE_HELD * TILE_HIGH;
override TILE_HELD_B: u32 = TILE_HELD * TILE_WIDE;

var<workgroup> tile_memory_a: array<vec4<f32>, TILE_HELD_A>;
var<workgroup> tile_memory_b: array<vec4<f32>, TILE_HELD_B>;

/// Where workgroup memory holds the quad number `quad` of a block at `depth`. The exclusive or spreads both the quads of a
/// depth and the depths of a quad over all banks.
fn tile_place(quad: u32, depth: u32) -> u32 {
    return depth * TILE_QUADS + (quad ^ depth);
}

fn tile_keep_a(block: u32, quad: vec2<u32>, values: vec4<f32>) {
    tile_memory_a[TILE_HELD * block + tile_place(quad.x, quad.y)] = values;
}

fn tile_keep_b(block: u32, quad: vec2<u32>, values: vec4<f32>) {
    tile_memory_b[TILE_HELD * block + tile_place(quad.x, quad.y)] = values;
}

/// Adds the products of a quad of rows and a quad of columns to the results of a block.
fn tile_add(block: ptr<function, TileBlock>, a: vec4<f32>, b: vec4<f32>) {
    (*block)[0] = fma(vec4<f32>(a.x), b, (*block)[0]);
    (*block)[1] = fma(vec4<f32>(a.y), b, (*block)[1]);
    (*block)[2] = fma(vec4<f32>(a.z), b, (*block)[2]);
    (*block)[3] = fma(vec4<f32>(a.w), b, (*block)[3]);
}

/// Sums over depth `start..end` of tile_a(row, depth) * tile_b(depth, column) for the tile at `origin`, in order of
/// depth, whatever the blocks. All invocations of a workgroup must call it, with the same arguments but `lane`.
fn tile_product(origin: vec2<u32>, start: u32, end: u32, lane: u32) -> TileSums {
    var first = TileBlock();
    var right = TileBlock();
    var below = TileBlock();
    var last = TileBlock();
    var share = tile_read(origin, start, end, lane);
    for (var base = start; base < end; base += TILE_DEPTH) {
        tile_keep(share, lane);
        workgroupBarrier();
        // The next step's numbers are on their way while this one's are summed.
        share = tile_read(origin, base + TILE_DEPTH, end, lane);
        for (var depth = 0u; depth < TILE_DEPTH; depth++) {
            let at = vec2<u32>(tile_place(lane / TILE_QUADS, depth), tile_place(lane % TILE_QUADS, depth));
            let a = tile_memory_a[at.x];
            let b = tile_memory_b[at.y];
            tile_add(&first, a, b);
            if (TILE_WIDE == 2u) {
                tile_add(&right, a, tile_memory_b[at.y + TILE_HELD]);
            }
            if (TILE_HIGH == 2u) {
                tile_add(&below, tile_memory_a[at.x + TILE_HELD], b);
            }
            if (TILE_HIGH * TILE_WIDE == 4u) {
                tile_add(&last, tile_memory_a[at.x + TILE_HELD], tile_memory_b[at.y + TILE_HELD]);
            }
        }
        workgroupBarrier();
    }
    if (TILE_WIDE == 2u) {
        return TileSums(first, right, below, last);
    }
    return TileSums(first, below, right, last);
}
