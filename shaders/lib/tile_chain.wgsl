// What becomes of a tile of 64 × 64 results while it is in registers: the largest number and the sum of each of its rows,
// and its product with a further matrix. A shader that multiplies so defines
//   fn tile_c(depth: u32, column: u32) -> f32
// which gives 0 outside of the matrix.

/// Where workgroup memory holds the number of an invocation's row `r`, as if its own column were the depth.
fn tile_place(own: vec2<u32>, r: u32) -> u32 {
    return own.y * TILE_PITCH + own.x + 16u * r;
}

/// Shows the 16 invocations that share a row (invocation l the rows l / 16 + 16 r) each other's numbers.
fn tile_rows_share(values: vec4<f32>, lane: u32) {
    let own = tile_results(vec2<u32>(0u), lane);
    for (var r = 0u; r < 4u; r++) {
        tile_memory_a[tile_place(own, r)] = values[r];
    }
    workgroupBarrier();
}

/// What the invocation `number` of those that share this one's rows has shown.
fn tile_rows_shared(number: u32, lane: u32) -> vec4<f32> {
    let at = number * TILE_PITCH + lane / 16u;
    return vec4<f32>(
        tile_memory_a[at], tile_memory_a[at + 16u], tile_memory_a[at + 32u], tile_memory_a[at + 48u]);
}

/// The largest `values` of each row; all invocations of the workgroup must call it.
fn tile_row_max(values: vec4<f32>, lane: u32) -> vec4<f32> {
    tile_rows_share(values, lane);
    var top = tile_rows_shared(0u, lane);
    for (var number = 1u; number < 16u; number++) {
        top = max(top, tile_rows_shared(number, lane));
    }
    workgroupBarrier();
    return top;
}

/// The sum of each row's `values`, in order of the invocations; all invocations of the workgroup must call it.
fn tile_row_sum(values: vec4<f32>, lane: u32) -> vec4<f32> {
    tile_rows_share(values, lane);
    var sum = tile_rows_shared(0u, lane);
    for (var number = 1u; number < 16u; number++) {
        sum += tile_rows_shared(number, lane);
    }
    workgroupBarrier();
    return sum;
}

/// Adds Σ over j of values[i, j] * tile_c(origin.x + j, origin.y + column) to the tile `sums`, in order of j, as far as
/// origin.x + j < end. All invocations of a workgroup must call it, with the same origin and end.
fn tile_chain(
    values: ptr<function, TileSums>,
    origin: vec2<u32>,
    end: u32,
    sums: ptr<function, TileSums>,
    lane: u32,
) {
    let own = tile_results(vec2<u32>(0u), lane);
    // The columns 16 c … 16 c + 15 of the tile are number c of every invocation's columns.
    for (var c = 0u; c < 4u && origin.x + 16u * c < end; c++) {
        for (var turn = 0u; turn < 4u; turn++) {
            let share = tile_share(lane, turn, false);
            tile_memory_a[tile_place(own, turn)] = (*values)[turn][c];
            tile_memory_b[share.y * TILE_PITCH + share.x] =
                tile_c(origin.x + 16u * c + share.y, origin.y + share.x);
        }
        workgroupBarrier();
        for (var depth = 0u; depth < TILE_DEPTH; depth++) {
            tile_terms(sums, own, depth);
        }
        workgroupBarrier();
    }
}
