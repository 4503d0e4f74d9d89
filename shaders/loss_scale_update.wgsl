// Whether the gradients are finite, their norm without the loss's scale, and the scale of the next step.
// Room: src/ops/loss_scale_update.rs
// Uses: store_f32
// Bindings: 0 loss_scale, 1 good_steps, 2 square_sum, 3 loss_scale', 4 good_steps', 5 is_finite, 6 square_norm, 7 the settings
// Grid: one invocation
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    growth_factor: f32,
    backoff_factor: f32,
    growth_interval: f32,
    /// The largest scale that still grows.
    limit: f32,
}

@group(0) @binding(0) var<storage, read> loss_scale: array<Store>;
@group(0) @binding(1) var<storage, read> good_steps: array<Store>;
@group(0) @binding(2) var<storage, read> square_sum: array<Store>;
@group(0) @binding(3) var<storage, read_write> new_loss_scale: array<Store>;
@group(0) @binding(4) var<storage, read_write> new_good_steps: array<Store>;
@group(0) @binding(5) var<storage, read_write> is_finite: array<Store>;
@group(0) @binding(6) var<storage, read_write> square_norm: array<Store>;
@group(0) @binding(7) var<uniform> params: Params;

/// The smallest normal number, below which no scale falls.
const LEAST: f32 = 1.17549435e-38;
/// The bits of an exponent, all of them set in infinity and in what is no number: a compiler may assume that there are
/// neither, but not of bits.
const EXPONENT: u32 = 0x7f800000u;

@compute @workgroup_size(1)
fn main() {
    let scale = f32(loss_scale[0]);
    let sum = f32(square_sum[0]);
    var next = vec2<f32>(scale, f32(good_steps[0]) + 1.0);
    let finite = (bitcast<u32>(sum) & EXPONENT) != EXPONENT;
    if (!finite) {
        next = vec2<f32>(max(scale * params.backoff_factor, LEAST), 0.0);
    } else if (next.y >= params.growth_interval) {
        next = vec2<f32>(select(scale * params.growth_factor, scale, scale > params.limit), 0.0);
    }
    new_loss_scale[0] = Store(next.x);
    new_good_steps[0] = Store(next.y);
    is_finite[0] = Store(select(0.0, 1.0, finite));
    square_norm[0] = Store(0.0);
    if (finite) {
        square_norm[0] = Store(sum / scale / scale);
    }
}
