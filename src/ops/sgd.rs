//! A step of stochastic gradient descent with momentum.
//!
//! **Definition.** With g = gradient_scale · gradient + weight_decay · parameter:
//! momentum_buffer' = momentum · momentum_buffer + g,
//! parameter' = parameter − learning_rate · (g + momentum · momentum_buffer' if `nesterov=yes`, else momentum_buffer').
//! A gradient_scale of 0 skips the step, whatever the gradient: parameter' = parameter, momentum_buffer' = momentum_buffer.
//!
//! **Shape.** parameter, gradient and momentum_buffer have the same shape, learning_rate and gradient_scale are scalars;
//! the results are parameter' and momentum_buffer', shaped as parameter.
//!
//! **Gradient.** None: a step is not differentiated.
//!
//! **Numerics.** Up to nine roundings, in the order of the formula.
//!
//! **Cost.** Nine operations an element; bound by memory.
//!
//! **Reference.** I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and momentum in
//! deep learning", ICML 2013; `torch.optim.SGD` with dampening 0, whose buffer starts at 0.

use super::support::{WORKGROUP, array, normal, shapes};
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
    name: "sgd",
    text: include_str!("../../shaders/sgd.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// Whether the step looks ahead by Nesterov's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nesterov {
    /// It does.
    Yes,
    /// It follows the buffer.
    No,
}

impl Nesterov {
    /// The words that stand for the choice in attributes.
    pub const WORDS: [(&'static str, Nesterov); 2] = [("yes", Nesterov::Yes), ("no", Nesterov::No)];

    /// The word that stands for this choice in attributes.
    pub fn word(self) -> &'static str {
        match self {
            Nesterov::Yes => "yes",
            Nesterov::No => "no",
        }
    }
}

/// A step of gradient descent, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// The share of the buffer that is kept.
    pub momentum: f64,
    /// The share of the parameter that is added to its gradient.
    pub weight_decay: f64,
    /// Whether the step looks ahead.
    pub nesterov: Nesterov,
}

/// The new parameter and the new momentum buffer.
///
/// ```
/// # use axenic::{eval, ops};
/// let [parameter, buffer] = eval(|r| {
///     let [parameter, gradient, buffer] = [1.0, 2.0, 4.0].map(|x| r.constant([x]));
///     let (rate, scale) = (r.constant(0.5), r.constant(1.0));
///     let settings = ops::Sgd { momentum: 0.5, weight_decay: 0.0, nesterov: ops::Nesterov::No };
///     Ok(ops::sgd(parameter, gradient, buffer, rate, scale, settings)?.into())
/// })?;
/// assert_eq!((parameter, buffer), ([-1.0].into(), [4.0].into()));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shapes differ, or a scalar is none.
#[track_caller]
pub fn sgd<'g>(
    parameter: Tensor<'g>,
    gradient: Tensor<'g>,
    momentum_buffer: Tensor<'g>,
    learning_rate: Tensor<'g>,
    gradient_scale: Tensor<'g>,
    settings: Sgd,
) -> Result<(Tensor<'g>, Tensor<'g>)> {
    let inputs = [
        parameter,
        gradient,
        momentum_buffer,
        learning_rate,
        gradient_scale,
    ];
    let outputs = parameter.recorder().apply(settings, &inputs)?;
    Ok((outputs[0], outputs[1]))
}

impl Op for Sgd {
    const NAME: &'static str = "sgd";
    const INPUTS: &'static [&'static str] = &[
        "parameter",
        "gradient",
        "momentum_buffer",
        "learning_rate",
        "gradient_scale",
    ];

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("momentum", self.momentum)
            .with("weight_decay", self.weight_decay)
            .with("nesterov", self.nesterov.word())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            momentum: attributes.float("momentum", 0.0)?,
            weight_decay: attributes.float("weight_decay", 0.0)?,
            nesterov: attributes.choice("nesterov", Nesterov::No, &Nesterov::WORDS)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [parameter, gradient, buffer, rate, scale] = expect_reals(Self::NAME, inputs)?;
        if gradient != parameter || buffer != parameter {
            return Err(Error::shape(format!(
                "sgd: parameter {parameter}, gradient {gradient} and momentum_buffer {buffer} differ in shape"
            )));
        }
        if rate != Shape::SCALAR || scale != Shape::SCALAR {
            return Err(Error::shape(format!(
                "sgd: learning_rate {rate} and gradient_scale {scale} must be scalars"
            )));
        }
        Ok(vec![Spec::real(parameter); 2])
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
        let [rate, scale] = [inputs[3].real()[0], inputs[4].real()[0]];
        let [momentum, decay] = [self.momentum, self.weight_decay].map(R::constant);
        let [parameters, gradients, buffers] =
            [0, 1, 2].map(|i| inputs[i].real()[range.clone()].iter());
        let [new_parameters, new_buffers] = outputs else {
            unreachable!("there are two outputs")
        };
        let new = new_parameters.real().iter_mut().zip(new_buffers.real());
        let old = parameters.zip(gradients).zip(buffers);
        for ((new_parameter, new_buffer), ((&parameter, &gradient), &buffer)) in new.zip(old) {
            if scale == R::ZERO {
                (*new_parameter, *new_buffer) = (parameter, buffer);
                continue;
            }
            let gradient = scale * gradient + decay * parameter;
            let buffer = momentum * buffer + gradient;
            let step = match self.nesterov {
                Nesterov::Yes => gradient + momentum * buffer,
                Nesterov::No => buffer,
            };
            (*new_parameter, *new_buffer) = (parameter - rate * step, buffer);
        }
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let n = inputs[0].shape.elements();
        let mut bindings: Vec<_> = (0..5).map(Binding::Input).collect();
        bindings.extend([Binding::Output(0), Binding::Output(1)]);
        let nesterov = u8::from(self.nesterov == Nesterov::Yes);
        let launch = Launch::new(&SHADER, bindings)
            .word(n)
            .float(self.momentum)
            .float(self.weight_decay)
            .constant("NESTEROV", f64::from(nesterov))
            .elements(n, WORKGROUP);
        Ok(vec![launch])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(9 * inputs[0].shape.elements(), inputs, &inputs[..2])
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, [momentum, weight_decay]: [f64; 2], nesterov, shape: Shape| {
            let scalar = |x: f32| array(Shape::SCALAR, vec![x]);
            let mut inputs: Vec<_> = (1..4).map(|seed| normal(shape, seed)).collect();
            inputs.extend([scalar(0.01), scalar(0.37)]);
            let op = Self {
                momentum,
                weight_decay,
                nesterov,
            };
            Case::new(about, op, inputs)
        };
        let (yes, no) = (Nesterov::Yes, Nesterov::No);
        let mut cases: Vec<_> = shapes::elements()
            .map(|(about, shape)| of(about, [0.9, 1e-3], yes, shape))
            .collect();
        let mut skipped = of("a step that is skipped", [0.9, 0.1], yes, [3].into());
        let overflown = vec![f32::INFINITY, f32::NAN, 1.0];
        skipped.inputs[1] = array([3].into(), overflown);
        skipped.inputs[4] = array(Shape::SCALAR, vec![0.0]);
        cases.push(skipped);
        cases.extend([
            of("plain", [0.0, 0.0], no, [5, 7].into()),
            of("momentum", [0.9, 0.0], no, [5, 7].into()),
            of("decay", [0.0, 0.1], no, [5, 7].into()),
            of("momentum and decay", [0.9, 1e-2], no, [13].into()),
            of(
                "Nesterov's without decay",
                [0.5, 0.0],
                yes,
                [4, 3, 3, 3].into(),
            ),
        ]);
        cases
    }
}
