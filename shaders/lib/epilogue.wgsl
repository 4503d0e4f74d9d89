// What a product does with a sum before it is written. The shaders that use this read bias and residual themselves.

/// 1 to add the bias.
override BIAS: u32 = 0u;
/// 1 to multiply by factors, which stand before the bias.
override FACTORS: u32 = 0u;
/// 1 to add the residual.
override RESIDUAL: u32 = 0u;
/// 0: none, 1: the rectifier, 2: the Gaussian error linear unit.
override ACTIVATION: u32 = 0u;

fn activated(x: f32) -> f32 {
    if (ACTIVATION == 1u) {
        return max(x, 0.0);
    }
    if (ACTIVATION == 2u) {
        return x * normal_cdf(x);
    }
    return x;
}
