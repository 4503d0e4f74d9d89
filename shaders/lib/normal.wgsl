// The standard normal distribution, with its relative accuracy in both tails.

/// exp(−z²/2) within 12 units in the last place; 0 below the normal numbers. WGSL promises of its `exp` 3 + z² units here.
///
/// Method: z²/2 = s + t, where s is half the square of z's leading 12 bits and exact; e⁻ˢ⁻ᵗ = e^−⌊s⌋ · e^(⌊s⌋ − s − t), the first
/// as a product of powers, the second by the device with an argument between −1.1 and 0. Nothing cancels that a compiler
/// might regroup.
fn gauss(z: f32) -> f32 {
    let size = abs(z);
    let high = bitcast<f32>(bitcast<u32>(size) & 0xfffff000u);
    let s = 0.5 * high * high;
    let t = 0.5 * (size - high) * (size + high);
    let whole = floor(s);
    let bits = u32(whole);
    var y = exp(-((s - whole) + t));
    y *= select(1.0, 0.367879441, (bits & 1u) != 0u);
    y *= select(1.0, 0.135335283, (bits & 2u) != 0u);
    y *= select(1.0, 0.0183156389, (bits & 4u) != 0u);
    y *= select(1.0, 3.35462628e-4, (bits & 8u) != 0u);
    y *= select(1.0, 1.12535175e-7, (bits & 16u) != 0u);
    y *= select(1.0, 1.26641655e-14, (bits & 32u) != 0u);
    y *= select(1.0, 1.60381089e-28, (bits & 64u) != 0u);
    return select(y, 0.0, s > 87.3);
}

/// Φ(z) = ½ erfc(−z / √2) within 18 units in the last place.
///
/// Method: Φ(−z) · exp(z²/2) · (z + 3) is a smooth function of u = (z − 3) / (z + 3) over z ≥ 0; a polynomial fits it to 2⁻³⁰
/// of itself. Taking z as it is, not z / √2 for erfc, saves its rounding, which the exponential would magnify z² times.
///
/// Reference: M. Shepherd and J. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x²) erfc x in 0 ≤ x < ∞",
/// Mathematics of Computation 36 (1981), for the form; the coefficients are a fit of our own.
fn normal_cdf(z: f32) -> f32 {
    // Beyond 40 the tail is 0, and the quotients below would be of infinities.
    let size = select(abs(z), 40.0, abs(z) > 40.0);
    let share = 1.0 / (size + 3.0);
    let u = (size - 3.0) * share;
    var fit = 1.30839530e-4 + u * 5.42788136e-5;
    fit = -2.44914380e-4 + u * fit;
    fit = -1.03227112e-3 + u * fit;
    fit = 1.02495645e-3 + u * fit;
    fit = 6.96926045e-3 + u * fit;
    fit = -1.04625614e-2 + u * fit;
    fit = -4.72626863e-2 + u * fit;
    fit = 2.30017703e-1 + u * fit;
    fit = -5.09331991e-1 + u * fit;
    fit = 7.29083690e-1 + u * fit;
    let tail = gauss(z) * (fit * share);
    return select(tail, 1.0 - tail, z > 0.0);
}
