//! A step of AdamW: gradient descent by running moments, with decay apart from them.
//!
//! **Definition.** With schedule = (learning_rate, gradient_scale, step), g = gradient_scale · gradient and β₁, β₂ the attributes
//! `first_beta`, `second_beta`:
//! exp_avg' = β₁ · exp_avg + (1 − β₁) · g,
//! exp_avg_sq' = β₂ · exp_avg_sq + (1 − β₂) · g²,
//! parameter' = parameter − learning_rate · weight_decay · parameter
//! − learning_rate · (exp_avg' / (1 − β₁^step)) / (√exp_avg_sq' / √(1 − β₂^step) + eps).
//! A gradient_scale of 0 skips the step, whatever the gradient: nothing changes.
//!
//! **Shape.** parameter, gradient, exp_avg and exp_avg_sq have the same shape, schedule is `[3]`; its step counts from 1. The
//! results are parameter', exp_avg' and exp_avg_sq', shaped as parameter.
//!
//! **Gradient.** None: a step is not differentiated.
//!
//! **Numerics.** 1 − β^step = −(e^x − 1) with x = step · ln β, by a series where |x| ≤ ½: the power itself would cancel in the
//! first steps. ln β is taken no lower than −100. Steps are exact up to 2²⁴.
//!
//! **Cost.** Sixteen operations an element; bound by memory.
//!
//! **Reference.** I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019; `torch.optim.AdamW`, whose
//! moments start at 0.

use super::support::{WORKGROUP, array, exp_remainder, normal, uniform};
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
    name: "adamw",
    text: include_str!("../../shaders/adamw.wgsl"),
    uses: &[library::STORE, library::INDEX, library::EXP_REMAINDER],
};

/// A step of AdamW, see the room's documentation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The share of the running mean that is kept.
    pub first_beta: f64,
    /// The share of the running mean of squares that is kept.
    pub second_beta: f64,
    /// Added to the root of the mean of squares.
    pub eps: f64,
    /// The share of the parameter, times the learning rate, that is taken away.
    pub weight_decay: f64,
}

impl Default for AdamW {
    /// PyTorch's: betas 0.9 and 0.999, eps 1e-8, weight_decay 0.01.
    fn default() -> Self {
        Self {
            first_beta: 0.9,
            second_beta: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
        }
    }
}

/// The new parameter, and its new running mean and mean of squares (`moments`). `schedule` `[3]` holds learning rate,
/// gradient scale and step, the first being 1.
///
/// ```
/// # use axenic::{eval, ops};
/// let [parameter] = eval(|r| {
///     let [parameter, gradient, zero] = [1.0, 3.0, 0.0].map(|x| r.constant([x]));
///     let settings = ops::AdamW { weight_decay: 0.0, ..Default::default() };
///     Ok([ops::adamw(parameter, gradient, [zero; 2], r.constant([0.5, 1.0, 1.0]), settings)?[0]])
/// })?;
/// assert!((parameter.to_f64()[0] - 0.5).abs() < 1e-6);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, schedule is not `[3]`, or a beta is not in [0, 1).
#[track_caller]
pub fn adamw<'g>(
    parameter: Tensor<'g>,
    gradient: Tensor<'g>,
    [exp_avg, exp_avg_sq]: [Tensor<'g>; 2],
    schedule: Tensor<'g>,
    settings: AdamW,
) -> Result<[Tensor<'g>; 3]> {
    let inputs = [parameter, gradient, exp_avg, exp_avg_sq, schedule];
    let outputs = parameter.recorder().apply(settings, &inputs)?;
    Ok([outputs[0], outputs[1], outputs[2]])
}

impl AdamW {
    /// ln β, no lower than −100: where a shares' power has vanished.
    fn logarithms(&self) -> [f64; 2] {
        [self.first_beta, self.second_beta].map(|beta| beta.ln().max(-100.0))
    }
}

/// 1 − e^x for x ≤ 0, accurate also near 0.
fn one_less_exp<R: Real>(x: R) -> R {
    if x >= R::constant(-0.5) {
        -(x + exp_remainder(x))
    } else {
        R::ONE - x.exp()
    }
}

impl Op for AdamW {
    const NAME: &'static str = "adamw";
    const INPUTS: &'static [&'static str] =
        &["parameter", "gradient", "exp_avg", "exp_avg_sq", "schedule"];

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("first_beta", self.first_beta)
            .with("second_beta", self.second_beta)
            .with("eps", self.eps)
            .with("weight_decay", self.weight_decay)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let default = Self::default();
        Ok(Self {
            first_beta: attributes.float("first_beta", default.first_beta)?,
            second_beta: attributes.float("second_beta", default.second_beta)?,
            eps: attributes.float("eps", default.eps)?,
            weight_decay: attributes.float("weight_decay", default.weight_decay)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [parameter, gradient, mean, squares, schedule] = expect_reals(Self::NAME, inputs)?;
        if [gradient, mean, squares] != [parameter; 3] {
            return Err(Error::shape(format!(
                "adamw: parameter {parameter}, gradient {gradient}, exp_avg {mean} and exp_avg_sq {squares} differ in shape"
            )));
        }
        if *schedule != [3] {
            return Err(Error::shape(format!(
                "adamw: schedule must hold learning rate, gradient scale and step, got {schedule}"
            )));
        }
        let betas = [self.first_beta, self.second_beta];
        if betas.iter().any(|beta| !(0.0..1.0).contains(beta)) {
            return Err(Error::shape(format!(
                "adamw: the betas must lie in [0, 1), got {betas:?}"
            )));
        }
        Ok(vec![Spec::real(parameter); 3])
    }

    fn constant_inputs(&self) -> &'static [usize] {
        &[0, 1, 2, 3, 4]
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None; 5])
    }

    fn pieces(&self, outputs: &[Spec]) -> usize {
        outputs[0].shape.elements()
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let [rate, scale, step] = [0, 1, 2].map(|i: usize| inputs[4].real()[i]);
        let kept = [self.first_beta, self.second_beta].map(R::constant);
        let taken = [1.0 - self.first_beta, 1.0 - self.second_beta].map(R::constant);
        let [eps, decay] = [self.eps, self.weight_decay].map(R::constant);
        let corrections = self
            .logarithms()
            .map(|log| one_less_exp(step * R::constant(log)));
        let (rate_of_mean, root) = (rate / corrections[0], corrections[1].sqrt());
        let old = range.map(|i| [0, 1, 2, 3].map(|input: usize| inputs[input].real()[i]));
        let [parameters, means, squares] = outputs else {
            unreachable!("there are three outputs")
        };
        let new = parameters
            .real()
            .iter_mut()
            .zip(means.real())
            .zip(squares.real());
        for (((new, new_mean), new_square), [parameter, gradient, mean, square]) in new.zip(old) {
            if scale == R::ZERO {
                (*new, *new_mean, *new_square) = (parameter, mean, square);
                continue;
            }
            let gradient = scale * gradient;
            *new_mean = kept[0] * mean + taken[0] * gradient;
            *new_square = kept[1] * square + taken[1] * (gradient * gradient);
            let kept_parameter = parameter - rate * decay * parameter;
            *new = kept_parameter - rate_of_mean * *new_mean / (new_square.sqrt() / root + eps);
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let n = inputs[0].shape.elements();
        let mut bindings: Vec<_> = (0..5).map(Binding::Input).collect();
        bindings.extend((0..3).map(Binding::Output));
        let launch = Launch::new(&SHADER, bindings)
            .word(n)
            .float(self.eps)
            .float(self.weight_decay)
            .word(0);
        let betas = [self.first_beta, self.second_beta];
        let taken = betas.map(|beta| 1.0 - beta);
        let numbers = [betas, taken, self.logarithms()].concat();
        let launch = numbers.into_iter().fold(launch, Launch::float);
        Ok(vec![launch.elements(n, WORKGROUP)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(16 * inputs[0].shape.elements(), inputs, &inputs[..3])
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, op: Self, schedule: [f32; 3], shape: Shape| {
            let seed = shape.elements() as u64;
            let mut inputs: Vec<_> = (0..3).map(|i| normal(shape, seed + i)).collect();
            inputs.push(uniform(shape, 0.0, 2.0, seed + 3));
            inputs.push(array([3].into(), schedule.to_vec()));
            Case::new(about, op, inputs)
        };
        let usual = Self::default();
        let betas = |first_beta, second_beta| Self {
            first_beta,
            second_beta,
            ..usual
        };
        let decay = |weight_decay| Self {
            weight_decay,
            ..usual
        };
        let eps = |eps| Self { eps, ..usual };
        let mut start = of(
            "nothing has happened yet",
            usual,
            [1e-3, 1.0, 1.0],
            [5].into(),
        );
        for input in &mut start.inputs[1..4] {
            *input = crate::array::Array::zeros(input.spec());
        }
        let mut skipped = of("a step that is skipped", usual, [0.1, 0.0, 0.0], [3].into());
        let overflown = vec![f32::INFINITY, f32::NAN, 1.0];
        skipped.inputs[1] = array([3].into(), overflown);
        vec![
            skipped,
            of("the first step", usual, [1e-3, 1.0, 1.0], [5, 7].into()),
            of("the second step", usual, [1e-2, 1.0, 2.0], [5, 7].into()),
            of(
                "either side of the series",
                usual,
                [1e-2, 1.0, 5.0],
                [11].into(),
            ),
            of(
                "the series of the second ends",
                usual,
                [1e-2, 1.0, 500.0],
                [13].into(),
            ),
            of("a late step", usual, [3e-4, 1.0, 123_457.0], [13].into()),
            of(
                "a scaled gradient",
                usual,
                [0.1, 0.037, 17.0],
                [4, 3, 3, 3].into(),
            ),
            of("no decay", decay(0.0), [0.1, 1.0, 3.0], [17].into()),
            of("much decay", decay(0.7), [0.1, 1.0, 3.0], [19].into()),
            of("a large eps", eps(0.5), [0.1, 1.0, 3.0], [23].into()),
            of(
                "other betas",
                betas(0.8, 0.95),
                [0.1, 2.0, 7.0],
                [29].into(),
            ),
            of("no memory", betas(0.0, 0.0), [0.1, 1.0, 1.0], [31].into()),
            of("no rate", usual, [0.0, 1.0, 4.0], [5].into()),
            of("scalar", usual, [0.1, 1.0, 2.0], Shape::SCALAR),
            of("nothing", usual, [0.1, 1.0, 2.0], [0].into()),
            start,
            of("a workgroup", usual, [0.1, 1.0, 2.0], [256].into()),
            of(
                "one more than a workgroup",
                usual,
                [0.1, 1.0, 2.0],
                [257].into(),
            ),
            of(
                "more than a piece",
                usual,
                [0.1, 1.0, 2.0],
                [99, 101].into(),
            ),
        ]
    }
}
