// What becomes of a block of 64 × 64 results while it is in registers: the largest number and the sum of each of its rows,
// and its product with a further matrix. A shader that multiplies so defines
//   fn tile_c(depth: u32, column: u32) -> vec4<f32>     of the columns column … column + 3
// which gives 0 outside of the matrix; column is a multiple of 4.

/// Shows the 16 invocations that share a quad of rows each other's numbers.
fn tile_rows_share(values: vec4<f32>, lane: u32) {
    tile_memory_a[tile_place(lane / TILE_QUADS, lane % TILE_QUADS)] = values;
    workgroupBarrier();
}

/// What the invocation `number` of those that share this one's rows has shown.
fn tile_rows_shared(number: u32, lane: u32) -> vec4<f32> {
    return tile_memory_a[tile_place(lane / TILE_QUADS, number)];
}

/// The largest `values` of each row; all invocations of the workgroup must call it.
fn tile_row_max(values: vec4<f32>, lane: u32) -> vec4<f32> {
    tile_rows_share(values, lane);
    var top = tile_rows_shared(0u, lane);
    for (var number = 1u; number < TILE_QUADS; number++) {
        top = max(top, tile_rows_shared(number, lane));
    }
    workgroupBarrier();
    return top;
}

/// The sum of each row's `values`, in order of the invocations; all invocations of the workgroup must call it.
fn tile_row_sum(values: vec4<f32>, lane: u32) -> vec4<f32> {
    tile_rows_share(values, lane);
    var sum = tile_rows_shared(0u, lane);
    for (var number = 1u; number < TILE_QUADS; number++) {
        sum += tile_rows_shared(number, lane);
    }
    workgroupBarrier();
    return sum;
}

/// Adds Σ over j of values[i, j] * tile_c(origin.x + j, origin.y + column) to the block `sums`, as far as
/// origin.x + j < end: first j = 0, 4, 8, …, then 1, 5, 9, … and so on. All invocations of a workgroup must call it, with
/// the same origin and end.
fn tile_chain(
    values: ptr<function, TileBlock>,
    origin: vec2<u32>,
    end: u32,
    sums: ptr<function, TileBlock>,
    lane: u32,
) {
    let own = vec2<u32>(lane / TILE_QUADS, lane % TILE_QUADS);
    // Number c of every invocation's columns: together the columns c, c + 4, c + 8, … of the block.
    for (var c = 0u; c < 4u && origin.x + c < end; c++) {
        tile_memory_a[tile_place(own.x, own.y)] =
            vec4<f32>((*values)[0][c], (*values)[1][c], (*values)[2][c], (*values)[3][c]);
        tile_memory_b[tile_place(own.y, own.x)] = tile_c(origin.x + 4u * own.x + c, origin.y + 4u * own.y);
        workgroupBarrier();
        let terms = min((end - origin.x - c + 3u) / 4u, TILE_DEPTH);
        for (var depth = 0u; depth < terms; depth++) {
            tile_add(sums, tile_memory_a[tile_place(own.x, depth)], tile_memory_b[tile_place(own.y, depth)]);
        }
        workgroupBarrier();
    }
}
