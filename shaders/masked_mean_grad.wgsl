// x_grad = output_grad / n where mask != 0, else 0; n counts the marks.
// Room: src/ops/masked_mean_grad.rs
// Uses: store_f32, reduce
// Bindings: 0 mask, 1 output_grad, 2 x_grad, 3 the count
// Grid: one workgroup of 256
// Constants: none
// Barriers: those of workgroup_sum
// Order of summation: none but the count, which is exact up to 2²⁴

struct Params {
    count: u32,
}

@group(0) @binding(0) var<storage, read> mask: array<u32>;
@group(0) @binding(1) var<storage, read> output_grad: array<Store>;
@group(0) @binding(2) var<storage, read_write> x_grad: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    var marked = 0u;
    for (var i = lane; i < params.count; i += 256u) {
        marked += select(0u, 1u, mask[i] != 0u);
    }
    let all_marked = workgroup_sum(f32(marked), lane);
    let share = f32(output_grad[0]) / max(all_marked, 1.0);
    for (var i = lane; i < params.count; i += 256u) {
        x_grad[i] = Store(select(0.0, share, mask[i] != 0u));
    }
}
