// y = min(1, max_norm / (√square_sum + 1e-6)).
// Room: src/ops/clip_factor.rs
// Uses: store_f32
// Bindings: 0 square_sum, 1 y, 2 max_norm
// Grid: one invocation
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    max_norm: f32,
}

@group(0) @binding(0) var<storage, read> square_sum: array<Store>;
@group(0) @binding(1) var<storage, read_write> y: array<Store>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
    y[0] = Store(min(params.max_norm / (sqrt(f32(square_sum[0])) + 1e-6), 1.0));
}
