// The product of two matrices, a tile of results for each workgroup of 256. A tile is made of blocks of 64 × 64, TILE_HIGH
// of them down and TILE_WIDE across: its number of results for each number read from workgroup memory grows with them, and
// so do the registers. A shader that uses it defines
//   fn tile_a(row: u32, depth: u32) -> vec4<f32>        of the rows row … row + 3
//   fn tile_b(depth: u32, column: u32) -> vec4<f32>     of the columns column … column + 3
// which give 0 outside of their matrix; row and column are multiples of 4. Four such neighbours are a quad. Invocation l
// holds, of every block, the 16 results of the quad of rows l / 16 and the quad of columns l % 16.

/// The side of a block.
const TILE_BLOCK: u32 = 64u;
/// The quads along the side of a block.
const TILE_QUADS: u32 = 16u;
/// The terms that are summed between two barriers, as many as there are quads.
const TILE_DEPTH: u32 = 16u;
/// The quads that workgroup memory holds of each matrix for each block.
const TILE_HELD: u32 = 256u;

/// Blocks of a tile, 1 or 2 down and across.
override TILE_HIGH: u32 = 1u;
override TILE_WIDE: u32 = 1u;
/// 1 where neighbouring rows of a are neighbours in memory, 0 where neighbouring depths are.
override TILE_A_BY_ROWS: u32 = 0u;
/// 1 where neighbouring depths of b are neighbours in memory, 0 where neighbouring columns are.
override TILE_B_BY_DEPTH: u32 = 0u;

/// The quads of all blocks. Sizes of arrays have names: naga 30 mixes up overrides that follow one without.
override TILE_HELD_A: u32 = TILE_HELD * TILE_HIGH;
override TILE_HELD_B: u32 = TILE_HELD * TILE_WIDE;

var<workgroup> tile_memory_a: array<vec4<f32>, TILE_HELD_A>;
var<workgroup> tile_memory_b: array<vec4<f32>, TILE_HELD_B>;

/// An invocation's results in a block: rows, then columns.
alias TileBlock = array<vec4<f32>, 4>;
/// Its results in all blocks, row by row of blocks; those beyond the tile's last block stay 0.
alias TileSums = array<TileBlock, 4>;

/// What an invocation copies of both matrices for one step: a quad for each block.
struct TileShare {
    a: array<vec4<f32>, 2>,
    b: array<vec4<f32>, 2>,
}

/// Rows and columns of a tile.
fn tile_size() -> vec2<u32> {
    return TILE_BLOCK * vec2<u32>(TILE_HIGH, TILE_WIDE);
}

/// The first row and column of this invocation's results in a block of the tile at `origin`.
fn tile_results(origin: vec2<u32>, block: u32, lane: u32) -> vec2<u32> {
    let first = TILE_BLOCK * vec2<u32>(block / TILE_WIDE, block % TILE_WIDE);
    return origin + first + 4u * vec2<u32>(lane / TILE_QUADS, lane % TILE_QUADS);
}

/// Where workgroup memory holds the quad number `quad` of a block at `depth`. The exclusive or spreads both the quads of a
/// depth and the depths of a quad over all banks.
fn tile_place(quad: u32, depth: u32) -> u32 {
    return depth * TILE_QUADS + (quad ^ depth);
}

/// The quad and the depth that an invocation copies of each block: neighbours read what lies side by side in memory.
fn tile_share(lane: u32, by_depth: bool) -> vec2<u32> {
    let split = vec2<u32>(lane / TILE_QUADS, lane % TILE_QUADS);
    return select(split.yx, split, by_depth);
}

/// Reads what this invocation copies for the step from depth `base` on; 0 from depth `end` on.
fn tile_read(origin: vec2<u32>, base: u32, end: u32, lane: u32) -> TileShare {
    var share = TileShare();
    let a = tile_share(lane, TILE_A_BY_ROWS == 0u);
    let b = tile_share(lane, TILE_B_BY_DEPTH != 0u);
    if (base + a.y < end) {
        share.a[0] = tile_a(origin.x + 4u * a.x, base + a.y);
        if (TILE_HIGH == 2u) {
            share.a[1] = tile_a(origin.x + TILE_BLOCK + 4u * a.x, base + a.y);
        }
    }
    if (base + b.y < end) {
        share.b[0] = tile_b(base + b.y, origin.y + 4u * b.x);
        if (TILE_WIDE == 2u) {
            share.b[1] = tile_b(base + b.y, origin.y + TILE_BLOCK + 4u * b.x);
        }
    }
    return share;
}

fn tile_keep_a(at: u32, quad: vec4<f32>) {
    tile_memory_a[at] = quad;
}

fn tile_keep_b(at: u32, quad: vec4<f32>) {
    tile_memory_b[at] = quad;
}

/// Copies it to workgroup memory.
fn tile_keep(share: TileShare, lane: u32) {
    let a = tile_share(lane, TILE_A_BY_ROWS == 0u);
    let b = tile_share(lane, TILE_B_BY_DEPTH != 0u);
    tile_keep_a(tile_place(a.x, a.y), share.a[0]);
    tile_keep_b(tile_place(b.x, b.y), share.b[0]);
    if (TILE_HIGH == 2u) {
        tile_keep_a(TILE_HELD + tile_place(a.x, a.y), share.a[1]);
    }
    if (TILE_WIDE == 2u) {
        tile_keep_b(TILE_HELD + tile_place(b.x, b.y), share.b[1]);
    }
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
