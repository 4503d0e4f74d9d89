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

static SHADER: Shader = Shader {
    name: "log_one_plus_everywhere",
    text: "
struct Params {
    count: u32,
}
@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read_write> y: array<Store>;
@group(0) @binding(2) var<uniform> params: Params;
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i < params.count) {
        y[i] = Store(log_one_plus(f32(x[i])));
    }
}
",
    uses: &[library::STORE, library::INDEX, library::LOG_ONE_PLUS],
};

/// y = ln(1 + x).
#[derive(Clone, Debug)]
struct LogOnePlus;

impl Op for LogOnePlus {
    const NAME: &'static str = "log_one_plus_everywhere";
    const INPUTS: &'static [&'static str] = &["x"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
    }

    fn from_attributes(_attributes: &Attributes) -> Result<Self> {
        Ok(Self)
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(&self, _: &Call<'g>, _: &[Option<Tensor<'g>>]) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let x = &inputs[0].real()[range];
        outputs[0]
            .real()
            .iter_mut()
            .zip(x)
            .for_each(|(y, x)| *y = x.ln_1p());
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let n = inputs[0].shape.elements();
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)]);
        Ok(vec![launch.word(n).elements(n, 256)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        Vec::new()
    }
}

/// Every 2,048th f32 in (−1, 2¹²⁷), of either sign: some eight thousand in each decade near 1.
fn everywhere() -> Array {
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
    let values: Vec<f32> = bits.map(f32::from_bits).collect();
    Array::new([values.len()], values).expect("it fits")
}

#[test]
fn the_logarithm_near_one_keeps_its_promise() {
    let Some(mut gpu) = common::gpu(axenic::exec::gpu::Checks::On) else {
        return;
    };
    let x = everywhere();
    let graph = Graph::record(|r| {
        let x = r.input("x", x.spec())?;
        r.output("y", r.apply_one(LogOnePlus, &[x])?)
    });
    let findings = audit(
        &Arc::new(graph.expect("it records")),
        &mut gpu,
        &[],
        &[("x", &x)],
        Sample::All,
    );
    let findings = findings.expect("it runs");
    let x = x.to_f32()[findings[0].element];
    assert!(findings[0].ratio <= 1.0, "at {x:e}: {findings:?}");
    assert!(
        findings[0].ratio > 0.05,
        "a bound that wide proves nothing: {findings:?}"
    );
}
