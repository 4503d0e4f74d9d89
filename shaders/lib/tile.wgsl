// The product of two matrices, a tile of results for each workgroup of 256. A tile is made of blocks of 64 × 64, TILE_HIGH
// of them down and TILE_WIDE across: its number of results for each number read from workgroup memory grows with them, and
// so do the registers. A shader that uses it defines
//   fn tile_a(row: u32, depth: u32) -> vec4<f32>        of the rows row … row + 3
//   fn tile_b(depth: u32, column: u32) -> vec4<f32>     of the columns column … column + 3
// which give 0 outside of their matrix; row and column are multiples of 4. Four such neighbours are a quad. Invocation l
// holds, of every block, the 16 results of the quad of rows l / 16 and the quad of columns l % 16.
//
// How tiles are multiplied is another text's: `tile_lanes`, or `tile_matrix` with what stands in front of it. It defines
//   fn tile_keep_a(block: u32, quad: vec2<u32>, values: vec4<f32>)     puts a quad, by its number and depth, into workgroup
//   fn tile_keep_b(block: u32, quad: vec2<u32>, values: vec4<f32>)     memory
//   fn tile_product(origin: vec2<u32>, start: u32, end: u32, lane: u32) -> TileSums

/// The side of a block.
const TILE_BLOCK: u32 = 64u;
/// The quads along the side of a block.
const TILE_QUADS: u32 = 16u;
/// The terms that are summed between two barriers, as many as there are quads.
const TILE_DEPTH: u32 = 16u;

/// Blocks of a tile, 1 or 2 down and across.
override TILE_HIGH: u32 = 1u;
override TILE_WIDE: u32 = 1u;
/// 1 where neighbouring rows of a are neighbours in memory, 0 where neighbouring depths are.
override TILE_A_BY_ROWS: u32 = 0u;
/// 1 where neighbouring depths of b are neighbours in memory, 0 where neighbouring columns are.
override TILE_B_BY_DEPTH: u32 = 0u;

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

/// Copies it to workgroup memory.
fn tile_keep(share: TileShare, lane: u32) {
    let a = tile_share(lane, TILE_A_BY_ROWS == 0u);
    let b = tile_share(lane, TILE_B_BY_DEPTH != 0u);
    tile_keep_a(0u, a, share.a[0]);
    tile_keep_b(0u, b, share.b[0]);
    if (TILE_HIGH == 2u) {
        tile_keep_a(1u, a, share.a[1]);
    }
    if (TILE_WIDE == 2u) {
        tile_keep_b(1u, b, share.b[1]);
    }
}
