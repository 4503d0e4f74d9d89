//! The factor that shortens a gradient to a largest norm.
//!
//! **Definition.** y = min(1, max_norm / (√square_sum + 1e-6)).
//!
//! **Shape.** square_sum is a scalar, and so is y.
//!
//! **Gradient.** None: it serves the optimiser.
//!
//! **Numerics.** A root, an addition, a division. NaN stays NaN on the host; a device may give 1.
//!
//! **Cost.** None to speak of.
//!
//! **Reference.** R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks", ICML
//! 2013; `torch.nn.utils.clip_grad_norm_`.

use super::support::array;
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
    name: "clip_factor",
    text: include_str!("../../shaders/clip_factor.wgsl"),
    uses: &[library::STORE],
};

/// The factor for a largest norm, see the room's documentation.
#[derive(Clone, Debug)]
pub struct ClipFactor {
    /// The largest norm.
    pub max_norm: f64,
}

/// What a gradient whose squares add up to `square_sum` is multiplied by to have `max_norm` at most.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::clip_factor(r.constant(0.25), 1.0)?]))?;
/// assert_eq!(y, 1.0.into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// square_sum is not a scalar.
#[track_caller]
pub fn clip_factor<'g>(square_sum: Tensor<'g>, max_norm: f64) -> Result<Tensor<'g>> {
    square_sum
        .recorder()
        .apply_one(ClipFactor { max_norm }, &[square_sum])
}

impl Op for ClipFactor {
    const NAME: &'static str = "clip_factor";
    const INPUTS: &'static [&'static str] = &["square_sum"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("max_norm", self.max_norm)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let max_norm = attributes.float("max_norm", 1.0)?;
        Ok(Self { max_norm })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [square_sum] = expect_reals(Self::NAME, inputs)?;
        if square_sum != Shape::SCALAR {
            return Err(Error::shape(format!(
                "clip_factor: square_sum has shape {square_sum}, a scalar is needed"
            )));
        }
        Ok(vec![Spec::real(square_sum)])
    }

    fn constant_inputs(&self) -> &'static [usize] {
        &[0]
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], _range: Range<usize>) {
        let norm = inputs[0].real()[0].sqrt();
        let factor = R::constant(self.max_norm) / (norm + R::constant(1e-6));
        outputs[0].real()[0] = factor.min(R::ONE);
    }

    fn launches(&self, _inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)]);
        Ok(vec![launch.float(self.max_norm)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(4, inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, max_norm, square_sum: f32| {
            let square_sum = array(Shape::SCALAR, vec![square_sum]);
            Case::new(about, Self { max_norm }, vec![square_sum])
        };
        vec![
            of("longer", 1.0, 37.0),
            of("much longer", 0.1, 1e12),
            of("as long as numbers go", 1.0, 1e38),
            of("twice as long", 2.0, 16.0),
            of("shorter", 5.0, 0.3),
            of("hardly shorter", 2.0, 3.999),
            of("hardly longer", 2.0, 4.001),
            of("just as long", 2.0, 4.0),
            of("no gradient", 1.0, 0.0),
            of("no gradient, hardly a norm", 1e-9, 0.0),
            of("a tiny norm", 1e-7, 1e-12),
            of("a tiny gradient", 1e-6, 1e-12),
            of("a large norm", 1e10, 1e24),
        ]
    }
}
