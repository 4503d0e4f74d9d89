//! The functions of `shaders/lib` that replace those of WGSL, as operations made for this test: over their whole range they
//! keep the accuracy that `Bounded` counts on.
#![cfg(feature = "gpu")]

use axenic::array::{Array, Spec};
use axenic::conformance::{Sample, audit};
use axenic::error::Result;
use axenic::graph::{
    Attributes, Binding, Call, Case, Cost, Graph, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use axenic::real::Real;
use std::ops::Range;
use std::sync::Arc;

mod common;

macro_rules! shader {
    ($name:literal, $value:literal) => {
        Shader {
            name: $name,
            text: concat!(
                "
struct Params {
    count: u32,
}
@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> y: array<Store>;
@group(0) @binding(2) var<storage, read_write> z: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i < params.count) {
        z[i] = Store(",
                $value,
                ");
    }
}
"
            ),
            uses: &[
                library::STORE,
                library::INDEX,
                library::LOG_ONE_PLUS,
                library::EXP_REMAINDER,
            ],
        }
    };
}

static LOG_ONE_PLUS: Shader = shader!("log_one_plus_everywhere", "log_one_plus(f32(x[i]))");
static LOG_RATIO: Shader = shader!("log_ratio_everywhere", "log_ratio(f32(x[i]), f32(y[i]))");
static EXP_REMAINDER: Shader = shader!("exp_remainder_everywhere", "exp_remainder(f32(x[i]))");
static EXP_DIFFERENCE: Shader = shader!(
    "exp_difference_everywhere",
    "exp_difference(f32(x[i]), f32(y[i]))"
);

/// z = f(x, y), where f is a function of the library.
#[derive(Clone, Copy, Debug)]
enum Function {
    /// ln(1 + x).
    LogOnePlus,
    /// ln(x / y).
    LogRatio,
    /// eˣ − 1 − x.
    ExpRemainder,
    /// eˣ − eʸ.
    ExpDifference,
}

impl Function {
    fn shader(self) -> &'static Shader {
        match self {
            Function::LogOnePlus => &LOG_ONE_PLUS,
            Function::LogRatio => &LOG_RATIO,
            Function::ExpRemainder => &EXP_REMAINDER,
            Function::ExpDifference => &EXP_DIFFERENCE,
        }
    }

    fn value<R: Real>(self, x: R, y: R) -> R {
        match self {
            Function::LogOnePlus => x.ln_1p(),
            Function::LogRatio => {
                let excess = (x - y) / y;
                if excess >= R::constant(-0.5) && excess <= R::ONE {
                    excess.ln_1p()
                } else {
                    (x / y).ln()
                }
            }
            Function::ExpRemainder => series(x),
            Function::ExpDifference => {
                let difference = x - y;
                if difference.abs() <= R::constant(0.5) {
                    y.exp() * (difference + series(difference))
                } else {
                    x.exp() - y.exp()
                }
            }
        }
    }
}

/// x²/2 + x³/6 + …, to many more terms than a device takes.
fn series<R: Real>(x: R) -> R {
    let step = |tail: R, n: u32| R::ONE + x * R::constant(1.0 / f64::from(n)) * tail;
    let tail = (3..20).rev().fold(R::ONE, step);
    R::constant(0.5) * (x * x) * tail
}

impl Op for Function {
    const NAME: &'static str = "library_function";
    const INPUTS: &'static [&'static str] = &["x", "y"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("function", self.shader().name)
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self::LogOnePlus)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x, _] = expect_reals(Self::NAME, inputs)?;
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(&self, _: &Call<'g>, _: &[Option<Tensor<'g>>]) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None, None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (x, y) = (&inputs[0].real()[range.clone()], &inputs[1].real()[range]);
        let z = outputs[0].real().iter_mut();
        z.zip(x.iter().zip(y))
            .for_each(|(z, (&x, &y))| *z = self.value(x, y));
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let n = inputs[0].shape.elements();
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        Ok(vec![
            Launch::new(self.shader(), bindings)
                .word(n)
                .elements(n, 256),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        Vec::new()
    }
}

/// Every 2,048th f32 in (−1, 2¹²⁷), of either sign: some eight thousand in each decade near 1.
fn everywhere() -> Vec<f32> {
    let positive = (0..f32::from_bits(0x7f00_0000).to_bits()).step_by(2048);
    let negative = (0x8000_0000..(-1.0f32).to_bits()).step_by(2048);
    let near_minus_one = (0..4096).map(|i| (-1.0f32).to_bits() - 1 - i);
    let near_breaks = [-0.29f32, 0.41]
        .into_iter()
        .flat_map(|x| x.to_bits() - 500..x.to_bits() + 500);
    let bits = positive
        .chain(negative)
        .chain(near_minus_one)
        .chain(near_breaks);
    bits.map(f32::from_bits).collect()
}

/// Computes a function on a device for all pairs, and holds it to its bound; some error must come near.
fn check(function: Function, pairs: impl Iterator<Item = (f32, f32)>, least: f64) {
    let Some(mut gpu) = common::gpu(axenic::exec::gpu::Checks::On) else {
        return;
    };
    let (x, y): (Vec<f32>, Vec<f32>) = pairs.unzip();
    let [x, y] = [x, y].map(|values| Array::new([values.len()], values).expect("it fits"));
    let graph = Graph::record(|r| {
        let (x, y) = (r.input("x", x.spec())?, r.input("y", y.spec())?);
        r.output("z", r.apply_one(function, &[x, y])?)
    });
    let findings = audit(
        &Arc::new(graph.expect("it records")),
        &mut gpu,
        &[],
        &[("x", &x), ("y", &y)],
        Sample::All,
    );
    let findings = findings.expect("it runs");
    let worst = &findings[0];
    let at = [&x, &y].map(|values| values.to_f32()[worst.element]);
    assert!(worst.ratio <= 1.0, "{function:?} at {at:?}: {worst:?}");
    assert!(
        worst.ratio > least,
        "{function:?}: a bound that wide proves nothing: {worst:?}"
    );
}

/// Every f32 between two of one sign, in steps, and the same of the other sign.
fn either_sign(low: f32, high: f32, step: usize) -> impl Iterator<Item = f32> + Clone {
    let bits = (low.to_bits()..=high.to_bits()).step_by(step);
    bits.map(f32::from_bits).flat_map(|x| [x, -x])
}

#[test]
fn the_logarithm_near_one_keeps_its_promise() {
    let x = everywhere();
    check(Function::LogOnePlus, x.into_iter().map(|x| (x, 0.0)), 0.05);
}

#[test]
fn the_logarithm_of_a_ratio_keeps_its_promise() {
    let excess = either_sign(1e-7, 0.9, 3001).chain(either_sign(0.9, 4.0, 9001));
    let ratios = excess.map(|x| 1.0 + x).filter(|&ratio| ratio > 0.0);
    let pairs = ratios.flat_map(|ratio| [0.37, 2.5e-5, 911.0].map(|y: f32| (y * ratio, y)));
    check(Function::LogRatio, pairs, 0.05);
}

#[test]
fn the_remainder_of_the_exponential_keeps_its_promise() {
    let x = either_sign(1e-15, 0.5, 1009);
    check(Function::ExpRemainder, x.map(|x| (x, 0.0)), 0.2);
}

#[test]
fn the_difference_of_exponentials_keeps_its_promise() {
    let differences = either_sign(1e-7, 3.0, 5003).chain(either_sign(0.499, 0.501, 97));
    let pairs = differences.flat_map(|d| [0.0, -0.7, -3.0, 5.0f32].map(|y| (y + d, y)));
    check(Function::ExpDifference, pairs, 0.01);
}
