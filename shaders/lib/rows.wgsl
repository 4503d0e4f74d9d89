// Rows along an axis: LANES neighbouring invocations of a workgroup of 256 share one, and reduce over it in a fixed order.

/// How many invocations share a row: a power of two up to 256.
override LANES: u32 = 256u;

/// The lowest number, where a search for the largest begins.
const LOWEST: f32 = -3.40282347e38;

/// What one invocation has to do with its row: elements lane, lane + LANES, … below length, each at first + i * stride.
struct Row {
    number: u32,
    first: u32,
    stride: u32,
    /// 0 past the last row: surplus invocations take part in the barriers, with no elements.
    length: u32,
    lane: u32,
}

var<workgroup> row_memory: array<f32, 256>;

/// The row of the invocation `index` of the workgroup `group`, of `count` rows of `length` elements, `inner` interleaved.
fn row_of(group: u32, index: u32, length: u32, inner: u32, count: u32) -> Row {
    let number = group * (256u / LANES) + index / LANES;
    let first = number / inner * length * inner + number % inner;
    return Row(number, first, inner, select(0u, length, number < count), index % LANES);
}

/// The sum of `value` over the invocations of each row; all invocations of the workgroup must call it.
fn row_sum(value: f32, index: u32) -> f32 {
    workgroupBarrier();
    row_memory[index] = value;
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if (index % LANES < width) {
            row_memory[index] += row_memory[index + width];
        }
    }
    workgroupBarrier();
    return row_memory[index - index % LANES];
}

/// The largest `value` over the invocations of each row; all invocations of the workgroup must call it.
fn row_max(value: f32, index: u32) -> f32 {
    workgroupBarrier();
    row_memory[index] = value;
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if (index % LANES < width) {
            row_memory[index] = max(row_memory[index], row_memory[index + width]);
        }
    }
    workgroupBarrier();
    return row_memory[index - index % LANES];
}
