//! The exponential moving average of a value that changes from step to step.
//!
//! **Definition.** y = decay · average + (1 − decay) · value; where nothing has been averaged yet (n_averaged = 0), y = value.
//!
//! **Shape.** average and value have the same shape, and so has the result; n_averaged is a scalar.
//!
//! **Gradient.** None: averages are state.
//!
//! **Numerics.** Three roundings; both shares are rounded to f32 once. The first value is taken as it is, whatever the average
//! holds.
//!
//! **Cost.** Three operations an element; bound by memory.
//!
//! **Reference.** `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn(decay)`.

use super::support::{WORKGROUP, array, expect_same, normal, uniform};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "ema",
    text: include_str!("../../shaders/ema.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// A moving average, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Ema {
    /// The share of the average that is kept.
    pub decay: f64,
}

/// decay · average + (1 − decay) · value, or the value itself where `n_averaged`, a scalar, is 0.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::ema(r.constant([1.0]), r.constant([3.0]), r.constant(5.0), 0.75)?]))?;
/// assert_eq!(y, [1.5].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, n_averaged is no scalar, or the decay is not between 0 and 1.
#[track_caller]
pub fn ema<'g>(
    average: Tensor<'g>,
    value: Tensor<'g>,
    n_averaged: Tensor<'g>,
    decay: f64,
) -> Result<Tensor<'g>> {
    average
        .recorder()
        .apply_one(Ema { decay }, &[average, value, n_averaged])
}

impl Op for Ema {
    const NAME: &'static str = "ema";
    const INPUTS: &'static [&'static str] = &["average", "value", "n_averaged"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("decay", self.decay)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            decay: attributes.float("decay", 0.999)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [average, value, n_averaged] = expect_reals(Self::NAME, inputs)?;
        expect_same(Self::NAME, [average, value], ["average", "value"])?;
        expect_same(
            Self::NAME,
            [n_averaged, Shape::SCALAR],
            ["n_averaged", "a scalar"],
        )?;
        if !(0.0..=1.0).contains(&self.decay) {
            return Err(Error::shape(format!(
                "ema: the decay must lie between 0 and 1, got {}",
                self.decay
            )));
        }
        Ok(vec![Spec::real(average)])
    }

    fn constant_inputs(&self) -> &'static [usize] {
        &[0, 1, 2]
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None; 3])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (average, value) = (&inputs[0].real()[range.clone()], &inputs[1].real()[range]);
        let y = outputs[0].real();
        if inputs[2].real()[0] == R::ZERO {
            return y.copy_from_slice(value);
        }
        let [kept, taken] = [self.decay, 1.0 - self.decay].map(R::constant);
        for (y, (&average, &value)) in y.iter_mut().zip(average.iter().zip(value)) {
            *y = kept * average + taken * value;
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let n = inputs[0].shape.elements();
        let mut bindings: Vec<_> = (0..3).map(Binding::Input).collect();
        bindings.push(Binding::Output(0));
        let launch = Launch::new(&SHADER, bindings).word(n);
        let launch = launch.float(self.decay).float(1.0 - self.decay);
        Ok(vec![launch.elements(n, WORKGROUP)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(3 * inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, decay, n_averaged: f32, shape: Shape| {
            let seed = shape.elements() as u64;
            let inputs = vec![
                normal(shape, seed),
                normal(shape, seed + 1),
                array(Shape::SCALAR, vec![n_averaged]),
            ];
            Case::new(about, Self { decay }, inputs)
        };
        let mut first = of("the first value, after anything", 0.9, 0.0, [3].into());
        first.inputs[0] = array([3].into(), vec![f32::NAN, f32::INFINITY, f32::MAX]);
        let mut large = of("large numbers", 0.9, 1.0, [11].into());
        large.inputs[0] = uniform([11], -1e38, 1e38, 5);
        vec![
            of("a few", 0.9, 1.0, [5, 7].into()),
            of("a long memory", 0.9999, 1234.0, [13].into()),
            of("a short memory", 0.01, 2.0, [13].into()),
            of("the first value", 0.9, 0.0, [17].into()),
            first,
            of("the second value", 0.5, 1.0, [17].into()),
            of("only the new", 0.0, 3.0, [19].into()),
            of("only the old", 1.0, 3.0, [19].into()),
            large,
            of("scalar", 0.3, 1.0, Shape::SCALAR),
            of("nothing", 0.3, 1.0, [0, 2].into()),
            of("a workgroup", 0.7, 1.0, [256].into()),
            of("one more than a workgroup", 0.7, 1.0, [257].into()),
            of("more than a piece", 0.7, 1.0, [99, 101].into()),
        ]
    }
}
