// y = total + Σₖ partial[k].
// Room: src/ops/accumulate_square_sum.rs
// Uses: store_f32, reduce
// Bindings: 0 total, 1 partial, 2 y, 3 the number of slices
// Grid: one workgroup of 256, an invocation a slice
// Constants: none
// Barriers: those of workgroup_sum
// Order of summation: the tree of workgroup_sum; then total

struct Params {
    slices: u32,
}

@group(0) @binding(0) var<storage, read> total: array<Store>;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    var own = 0.0;
    if (lane < params.slices) {
        own = partial[lane];
    }
    let sum = workgroup_sum(own, lane);
    if (lane == 0u) {
        y[0] = Store(f32(total[0]) + sum);
    }
}
