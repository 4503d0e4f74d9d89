// Tiles multiplied by cooperative matrices of half precision, with sums in single precision. In front of it stand the text
// with the matrices' side, `matrix16x16` or `matrix8x8`, and the one that turns numbers into TILE_PARTS of half precision,
// `tile_split` or `tile_halves`. The first eight subgroups are teams, four side by side and two below each other: each
// computes the same part of the tile's matrices of results. Where subgroups are small, more than eight, the others
// compute what a team does, too, but store nothing.

/// The teams side by side, and in all.
const TILE_TEAMS_ACROSS: u32 = 4u;
const TILE_TEAMS: u32 = 8u;
/// The invocations of a subgroup, 32 at most.
override TILE_SUBGROUP: u32 = 32u;

/// A team's matrices of results, below each other and side by side.
override TILE_DOWN: u32 = TILE_BLOCK / 2u / MATRIX_SIDE * TILE_HIGH;
override TILE_ACROSS: u32 = TILE_BLOCK / 4u / MATRIX_SIDE * TILE_WIDE;

/// The numbers of a depth in workgroup memory: eight to spare spread the depths over all banks.
override TILE_PITCH_A: u32 = TILE_BLOCK * TILE_HIGH + 8u;
override TILE_PITCH_B: u32 = TILE_BLOCK * TILE_WIDE + 8u;
/// The numbers of a step's parts; the low ones follow the high ones.
override TILE_PART_A: u32 = TILE_DEPTH * TILE_PITCH_A;
override TILE_PART_B: u32 = TILE_DEPTH * TILE_PITCH_B;
override TILE_HELD_A: u32 = TILE_PARTS * TILE_PART_A;
override TILE_HELD_B: u32 = TILE_PARTS * TILE_PART_B;
/// The numbers of a matrix of results, and those of one of each team.
const TILE_RESULTS: u32 = MATRIX_SIDE * MATRIX_SIDE;
const TILE_SHOWN: u32 = TILE_TEAMS * TILE_RESULTS;

/// Rows, or columns, of a depth are neighbours. (Scalars: Metal loads matrices through nothing else.)
var<workgroup> tile_memory_a: array<f16, TILE_HELD_A>;
var<workgroup> tile_memory_b: array<f16, TILE_HELD_B>;
/// A matrix of results of each team, row by row.
var<workgroup> tile_shown: array<f32, TILE_SHOWN>;

/// What the low parts were multiplied by is undone with this: 2⁻¹¹.
const TILE_LOW: f32 = 4.8828125e-4;

/// A team's matrices of results, row by row.
alias TileMatrices = array<MatrixC, MATRICES>;

fn tile_put_a(at: u32, value: f16) {
    tile_memory_a[at] = value;
}

fn tile_put_b(at: u32, value: f16) {
    tile_memory_b[at] = value;
}

fn tile_keep_a(block: u32, quad: vec2<u32>, values: vec4<f32>) {
    var parts = tile_parts_a(values);
    let at = quad.y * TILE_PITCH_A + TILE_BLOCK * block + 4u * quad.x;
    for (var part = 0u; part < TILE_PARTS; part++) {
        for (var i = 0u; i < 4u; i++) {
            tile_put_a(part * TILE_PART_A + at + i, parts[part][i]);
        }
    }
}

fn tile_keep_b(block: u32, quad: vec2<u32>, values: vec4<f32>) {
    var parts = tile_parts_b(values);
    let at = quad.y * TILE_PITCH_B + TILE_BLOCK * block + 4u * quad.x;
    for (var part = 0u; part < TILE_PARTS; part++) {
        for (var i = 0u; i < 4u; i++) {
            tile_put_b(part * TILE_PART_B + at + i, parts[part][i]);
        }
    }
}

/// Adds the products of a step to a team's results. The products of the high parts are added to their sums outside of the
/// matrix unit, which may cut off what it should round; those with a low part, 2¹¹ times smaller, are summed inside.
fn tile_step(sums: ptr<function, TileMatrices>, rests: ptr<function, TileMatrices>, team: u32) {
    let first = MATRIX_SIDE * vec2<u32>(team / TILE_TEAMS_ACROSS * TILE_DOWN, team % TILE_TEAMS_ACROSS * TILE_ACROSS);
    for (var depth = 0u; depth < TILE_DEPTH; depth += MATRIX_SIDE) {
        var high: array<MatrixB, MATRICES_ACROSS>;
        var low: array<MatrixB, MATRICES_ACROSS>;
        for (var c = 0u; c < TILE_ACROSS; c++) {
            let at = depth * TILE_PITCH_B + first.y + MATRIX_SIDE * c;
            high[c] = coopLoadT<MatrixB>(&tile_memory_b[at], TILE_PITCH_B);
            if (TILE_PARTS == 2u) {
                low[c] = coopLoadT<MatrixB>(&tile_memory_b[TILE_PART_B * (TILE_PARTS - 1u) + at], TILE_PITCH_B);
            }
        }
        for (var r = 0u; r < TILE_DOWN; r++) {
            let at = depth * TILE_PITCH_A + first.x + MATRIX_SIDE * r;
            let a = coopLoad<MatrixA>(&tile_memory_a[at], TILE_PITCH_A);
            for (var c = 0u; c < TILE_ACROSS; c++) {
                let i = r * TILE_ACROSS + c;
                (*sums)[i] = (*sums)[i] + coopMultiplyAdd(a, high[c], MatrixC());
                if (TILE_PARTS == 2u) {
                    (*rests)[i] = coopMultiplyAdd(a, low[c], (*rests)[i]);
                }
            }
            if (TILE_PARTS == 2u) {
                let rest = coopLoad<MatrixA>(&tile_memory_a[TILE_PART_A * (TILE_PARTS - 1u) + at], TILE_PITCH_A);
                for (var c = 0u; c < TILE_ACROSS; c++) {
                    let i = r * TILE_ACROSS + c;
                    (*rests)[i] = coopMultiplyAdd(rest, high[c], (*rests)[i]);
                }
            }
        }
    }
}

/// Hands every invocation its own of the teams' results; all invocations of the workgroup must call it.
fn tile_hand_back(matrices: ptr<function, TileMatrices>, lane: u32) -> TileSums {
    var sums = TileSums();
    let own = vec2<u32>(TILE_DOWN, TILE_ACROSS);
    for (var i = 0u; i < TILE_DOWN * TILE_ACROSS; i++) {
        let team = lane / TILE_SUBGROUP;
        if (team < TILE_TEAMS) {
            coopStoreT((*matrices)[i], &tile_shown[team * TILE_RESULTS], MATRIX_SIDE);
        }
        workgroupBarrier();
        for (var block = 0u; block < TILE_HIGH * TILE_WIDE; block++) {
            let place = tile_results(vec2<u32>(), block, lane);
            let matrix = place / MATRIX_SIDE;
            if (all(matrix % own == vec2<u32>(i / TILE_ACROSS, i % TILE_ACROSS))) {
                let team = matrix.x / own.x * TILE_TEAMS_ACROSS + matrix.y / own.y;
                for (var r = 0u; r < 4u; r++) {
                    let at = team * TILE_RESULTS + (place.x % MATRIX_SIDE + r) * MATRIX_SIDE + place.y % MATRIX_SIDE;
                    sums[block][r] =
                        vec4<f32>(tile_shown[at], tile_shown[at + 1u], tile_shown[at + 2u], tile_shown[at + 3u]);
                }
            }
        }
        workgroupBarrier();
    }
    return sums;
}

/// Adds up what the high parts and the low parts gave, and hands it back in the operands' own scale.
fn tile_finish(sums: ptr<function, TileMatrices>, rests: ptr<function, TileMatrices>, lane: u32) -> TileSums {
    for (var i = 0u; i < TILE_DOWN * TILE_ACROSS; i++) {
        (*rests)[i] = (*sums)[i] + (*rests)[i] * TILE_LOW;
    }
    var results = tile_hand_back(rests, lane);
    if (tile_has_infinity()) {
        // Infinity times a low part of zero is no number: wherever the high parts give no finite sum, it stands.
        var high = tile_hand_back(sums, lane);
        for (var block = 0u; block < TILE_HIGH * TILE_WIDE; block++) {
            for (var r = 0u; r < 4u; r++) {
                let exponents = bitcast<vec4<u32>>(high[block][r]) & vec4<u32>(0x7f800000u);
                results[block][r] =
                    select(results[block][r], high[block][r], exponents == vec4<u32>(0x7f800000u));
            }
        }
    }
    for (var block = 0u; block < TILE_HIGH * TILE_WIDE; block++) {
        for (var r = 0u; r < 4u; r++) {
            results[block][r] = tile_unscaled(results[block][r]);
        }
    }
    return results;
}

/// Sums over depth `start..end` of tile_a(row, depth) * tile_b(depth, column) for the tile at `origin`: of the high parts
/// MATRIX_SIDE terms at a time in the matrix unit's order, those sums in order of depth; then what the low parts add. All
/// invocations of a workgroup must call it, with the same arguments but `lane`.
fn tile_product(origin: vec2<u32>, start: u32, end: u32, lane: u32) -> TileSums {
    var sums: TileMatrices;
    var rests: TileMatrices;
    tile_begin(lane);
    let team = lane / TILE_SUBGROUP % TILE_TEAMS;
    var share = tile_read(origin, start, end, lane);
    for (var base = start; base < end; base += TILE_DEPTH) {
        tile_keep(share, lane);
        workgroupBarrier();
        // The next step's numbers are on their way while this one's are multiplied.
        share = tile_read(origin, base + TILE_DEPTH, end, lane);
        tile_step(&sums, &rests, team);
        workgroupBarrier();
    }
    return tile_finish(&sums, &rests, lane);
}
