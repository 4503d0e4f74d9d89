//! The arithmetic of `shaders/lib/tile_split.wgsl` and of a matrix unit, imitated on the host, against what is said of their
//! errors.

use super::*;
use crate::real::UNIT;
use crate::rng::Stream;

/// Which neighbour a conversion takes.
#[derive(Clone, Copy, Debug)]
enum Rounding {
    Nearest,
    TowardsZero,
}

fn half(x: f32, rounding: Rounding) -> f32 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    let x = f64::from(x);
    // Numbers of half precision around x are this far apart.
    let spacing = (x.abs().log2().floor().max(-14.0) - 10.0).exp2();
    let count = match rounding {
        Rounding::Nearest => (x / spacing).round_ties_even(),
        Rounding::TowardsZero => (x / spacing).trunc(),
    };
    let rounded = count * spacing;
    match rounding {
        Rounding::Nearest if rounded.abs() > 65_504.0 => f32::INFINITY.copysign(x as f32),
        _ => rounded.clamp(-65_504.0, 65_504.0) as f32,
    }
}

fn power(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// The exponent of the scale of a tensor.
fn raised(tensor: &[f32]) -> i32 {
    let finite = tensor.iter().filter(|x| x.is_finite());
    let largest = finite.fold(0.0, |top: f32, x| top.max(x.abs()));
    let exponent = (largest.to_bits() >> 23) as i32 - 127;
    (14 - exponent).min(126)
}

/// High and low part of x.
fn parts(x: f32, scale: f32, rounding: Rounding) -> [f32; 2] {
    let scaled = x * scale;
    let high = f32::from_bits((scaled.to_bits() + 0x1000) & 0xffff_e000);
    let low = (scaled - high) * 2048.0;
    if scaled.is_finite() {
        [half(high, rounding), half(low, rounding)]
    } else {
        [half(scaled, rounding), 0.0]
    }
}

fn largest(tensor: &[f32]) -> f64 {
    tensor
        .iter()
        .fold(0.0, |top: f64, x| top.max(f64::from(x.abs())))
}

/// What the parts' three products may be off by.
fn bound([a, b]: [f32; 2], [a_top, b_top]: [f64; 2]) -> f64 {
    let (a, b) = (f64::from(a), f64::from(b));
    let (a_error, b_error) = (
        Parts::Split.operand_error(a, a_top),
        Parts::Split.operand_error(b, b_top),
    );
    a.abs() * b_error + b.abs() * a_error + a_error * b_error
}

/// Tensors worth splitting: what they are about, and their numbers.
fn tensors(stream: &mut Stream) -> Vec<(&'static str, Vec<f32>)> {
    let mut draw = |of: &mut dyn FnMut(&mut Stream) -> f32| -> Vec<f32> {
        (0..4096).map(|_| of(stream)).collect()
    };
    vec![
        ("normal", draw(&mut |s| s.normal() as f32)),
        ("of one size", draw(&mut |s| s.range(1.0, 2.0) as f32)),
        (
            "from 1e-30 to 1e30",
            draw(&mut |s| s.normal().signum() as f32 * 10f64.powf(s.range(-30.0, 30.0)) as f32),
        ),
        (
            "around what becomes subnormal",
            draw(&mut |s| s.normal().signum() as f32 * s.range(-40.0, 0.0).exp2() as f32),
        ),
        (
            "subnormal",
            draw(&mut |s| f32::from_bits((s.normal().abs() * 1e5) as u32)),
        ),
        (
            "up to the largest",
            draw(&mut |s| f32::MAX * s.range(-1.0, 1.0) as f32),
        ),
        (
            "zeros and one number",
            draw(&mut |s| f32::from(u8::from(s.range(0.0, 1.0) < 0.01))),
        ),
        ("zeros", vec![0.0; 4]),
    ]
}

#[test]
fn three_products_of_parts_are_as_good_as_is_said() {
    let mut stream = Stream::new(1, "parts", 0, 0);
    let (all, others) = (tensors(&mut stream), tensors(&mut stream));
    for rounding in [Rounding::Nearest, Rounding::TowardsZero] {
        let mut worst: f64 = 0.0;
        for (a_about, a) in &all {
            for (b_about, b) in &others {
                let exponents = [raised(a), raised(b)];
                let tops = [largest(a), largest(b)];
                let unscale = (-f64::from(exponents[0] + exponents[1])).exp2();
                for (&x, &y) in a.iter().zip(b) {
                    let [x_high, x_low] = parts(x, power(exponents[0]), rounding).map(f64::from);
                    let [y_high, y_low] = parts(y, power(exponents[1]), rounding).map(f64::from);
                    let got = x_high * y_high + (x_high * y_low + x_low * y_high) / 2048.0;
                    let error = (got * unscale - f64::from(x) * f64::from(y)).abs();
                    let bound = bound([x, y], tops);
                    assert!(
                        error <= bound,
                        "{a_about} × {b_about}: {x:e} · {y:e}: {error:e} > {bound:e}, {rounding:?}"
                    );
                    worst = worst.max(if bound > 0.0 { error / bound } else { 0.0 });
                }
            }
        }
        assert!(
            worst > 0.1,
            "a bound ten times too wide: {worst}, {rounding:?}"
        );
    }
}

#[test]
fn what_is_not_finite_keeps_to_its_high_part() {
    let tensor = [1.0, f32::INFINITY, -3.0, f32::NAN, f32::NEG_INFINITY];
    let scale = power(raised(&tensor));
    assert_eq!(scale, 8192.0, "the finite numbers say: 3 becomes 1.5 · 2¹⁴");
    assert_eq!(
        parts(tensor[1], scale, Rounding::Nearest),
        [f32::INFINITY, 0.0]
    );
    assert_eq!(
        parts(tensor[4], scale, Rounding::Nearest),
        [f32::NEG_INFINITY, 0.0]
    );
    let [high, low] = parts(f32::from_bits(0x7fff_ffff), scale, Rounding::Nearest);
    assert!(high.is_nan() && low == 0.0);
}

/// Cuts a number to a multiple of 2⁻²³ of a power of two.
fn cut(x: f64, exponent: f64) -> f64 {
    let spacing = (exponent - 23.0).exp2();
    (x / spacing).trunc() * spacing
}

fn exponent(x: f64) -> f64 {
    if x == 0.0 {
        -1000.0
    } else {
        x.abs().log2().floor()
    }
}

/// A matrix unit's sum of some products beside `sum`: in blocks, each aligned to its largest addend and cut off.
fn unit_sum(sum: f64, products: &[f64], block: usize) -> f64 {
    products.chunks(block).fold(sum, |sum, block| {
        let top = block
            .iter()
            .copied()
            .map(exponent)
            .fold(exponent(sum), f64::max);
        let total = block
            .iter()
            .fold(cut(sum, top), |total, &term| total + cut(term, top));
        cut(total, exponent(total))
    })
}

#[test]
fn sums_are_as_good_as_is_said() {
    let mut stream = Stream::new(1, "sums", 0, 0);
    for block in [1, 4, 8, 16] {
        for depth in [64usize, 128, 1024] {
            for draw in 0..20 {
                // Of one sign the cut-off parts add up; products of halves have 22 bits.
                let product = |stream: &mut Stream| {
                    let mut of =
                        || f64::from(half(stream.range(1.0, 2.0) as f32, Rounding::Nearest));
                    of() * of()
                };
                let high: Vec<f64> = (0..depth).map(|_| product(&mut stream)).collect();
                let low: Vec<f64> = (0..2 * depth).map(|_| product(&mut stream)).collect();
                let add =
                    |sum: f64, step: &[f64]| f64::from((sum + unit_sum(0.0, step, block)) as f32);
                let sum = high.chunks(16).fold(0.0, add);
                let rest = unit_sum(0.0, &low, block);
                let got = f64::from((sum + f64::from((rest / 2048.0) as f32)) as f32);
                let exact = high.iter().sum::<f64>() + low.iter().sum::<f64>() / 2048.0;
                let units = (got - exact).abs() / (UNIT * high.iter().sum::<f64>());
                let said = 50.0 + 5.0 * depth as f64 / 64.0;
                assert!(
                    units <= said,
                    "{depth} terms by {block}, {draw}: {units} > {said}"
                );
                assert!(said <= depth as f64, "the definition's bound is below");
            }
        }
    }
}

#[test]
fn matrices_multiply_where_a_device_has_them_and_sums_are_long() {
    use crate::graph::{Class, Limits};
    let matrices = Matrices {
        side: Side::Sixteen,
        subgroup: 32,
    };
    let limits = Limits {
        matrices: Some(matrices),
        tiling: Class::Discrete.tiling(),
        ..Limits::default()
    };
    let split = Products::Matrices(matrices, Parts::Split);
    let size = [1024, 1024];
    assert_eq!(limits.products(1, size, 64), split);
    assert_eq!(
        limits.products(1, size, 63),
        Products::Lanes,
        "the bound would not hold"
    );
    assert_eq!(
        limits.products(1, [64, 64], 64),
        Products::Lanes,
        "not worth a launch"
    );
    assert_eq!(limits.products(1000, [64, 64], 64), split);
    let without = Limits {
        matrices: None,
        ..limits
    };
    assert_eq!(without.products(1, size, 1024), Products::Lanes);
    assert_eq!(
        limits.storing(Storage::Half).products(1, size, 64),
        Products::Matrices(matrices, Parts::Halves)
    );
    for class in [Class::Integrated, Class::Software] {
        let tiling = class.tiling();
        let limits = Limits { tiling, ..limits };
        assert_eq!(limits.products(1, size, 1024), Products::Lanes, "{class:?}");
    }
}
