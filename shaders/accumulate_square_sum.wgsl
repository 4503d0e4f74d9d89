// y = total + Σ x², for an x of one slice.
// Room: src/ops/accumulate_square_sum.rs
// Uses: store_f32, reduce
// Bindings: 0 total, 1 x, 2 y, 3 the count
// Grid: one workgroup of 256
// Constants: none
// Barriers: those of workgroup_sum
// Order of summation: invocation l adds elements l, l + 256, …; then the tree of workgroup_sum; then total

struct Params {
    count: u32,
}

@group(0) @binding(0) var<storage, read> total: array<Store>;
@group(0) @binding(1) var<storage, read> x: array<Store>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    var squares = 0.0;
    for (var i = lane; i < params.count; i += 256u) {
        let value = f32(x[i]);
        squares += value * value;
    }
    let sum = workgroup_sum(squares, lane);
    if (lane == 0u) {
        y[0] = Store(f32(total[0]) + sum);
    }
}
