//! A value whose elements are all the same number.
//!
//! **Definition.** y = value everywhere.
//!
//! **Shape.** As the attribute `shape` says.
//!
//! **Gradient.** None: there are no inputs.
//!
//! **Numerics.** The number is rounded to f32 once.
//!
//! **Cost.** Writing it.
//!
//! **Reference.** `torch.full`.

use super::support::{WORKGROUP, shapes};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Recorder, Shader, Tensor, View,
    ViewMut, expect_inputs, library,
};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "fill",
    text: include_str!("../../shaders/fill.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// A constant of a shape, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Fill {
    /// The shape.
    pub shape: Shape,
    /// The number.
    pub value: f64,
}

/// A value of this shape whose elements are all `value`.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| Ok([ops::fill(r, [3], 0.5)?]))?;
/// assert_eq!(y, [0.5, 0.5, 0.5].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// None in practice; recording is fallible by convention.
#[track_caller]
pub fn fill(recorder: &Recorder, shape: impl Into<Shape>, value: f64) -> Result<Tensor<'_>> {
    recorder.apply_one(
        Fill {
            shape: shape.into(),
            value,
        },
        &[],
    )
}

impl Op for Fill {
    const NAME: &'static str = "fill";
    const INPUTS: &'static [&'static str] = &[];

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("shape", &*self.shape)
            .with("value", self.value)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            shape: Shape::new(&attributes.ints("shape", &[])?)?,
            value: attributes.float("value", 0.0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [] = expect_inputs(Self::NAME, inputs)?;
        Ok(vec![Spec::real(self.shape)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(Vec::new())
    }

    fn eval<R: Real>(&self, _inputs: &[View<R>], outputs: &mut [ViewMut<R>], _range: Range<usize>) {
        outputs[0].real().fill(R::constant(self.value));
    }

    fn launches(&self, _inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let n = self.shape.elements();
        Ok(vec![
            Launch::new(&SHADER, [Binding::Output(0)])
                .word(n)
                .float(self.value)
                .elements(n, WORKGROUP),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(0, inputs, &[Spec::real(self.shape)])
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |about, shape, value| Case::new(about, Self { shape, value }, vec![]);
        // No f32 is 0.1.
        let mut cases: Vec<_> = shapes::elements()
            .map(|(about, shape)| of(about, shape, 0.1))
            .collect();
        cases.extend([
            of("zero", [5].into(), 0.0),
            of("negative", [3, 257].into(), -2.5),
            of("the largest number", [2].into(), f64::from(f32::MAX)),
            of(
                "the smallest number",
                [2].into(),
                f64::from(f32::MIN_POSITIVE),
            ),
        ]);
        cases
    }
}
