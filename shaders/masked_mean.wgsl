// y = the mean of x where mask != 0, or 0 if that is nowhere.
// Room: src/ops/masked_mean.rs
// Uses: store_f32, reduce
// Bindings: 0 x, 1 mask, 2 y, 3 the count
// Grid: one workgroup of 256
// Constants: none
// Barriers: those of workgroup_sum
// Order of summation: invocation l adds elements l, l + 256, …; then the tree of workgroup_sum

struct Params {
    count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> mask: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    var marked = 0u;
    for (var i = lane; i < params.count; i += 256u) {
        if (mask[i] != 0u) {
            sum += f32(x[i]);
            marked += 1u;
        }
    }
    let total = workgroup_sum(sum, lane);
    let all_marked = workgroup_sum(f32(marked), lane);
    if (lane == 0u) {
        // Without a mark the sum is 0, and so is 0 / 1.
        y[0] = total / max(all_marked, 1.0);
    }
}
