//! Where indices differ from a given one.
//!
//! **Definition.** y = 1 where x ≠ value, else 0.
//!
//! **Shape.** That of x; both hold indices.
//!
//! **Gradient.** None: indices do not vary.
//!
//! **Numerics.** Exact.
//!
//! **Cost.** One comparison an element; bound by memory.
//!
//! **Reference.** `torch.ne`.

use super::support::{WORKGROUP, array, indices, shapes};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_index, expect_inputs, library,
};
use crate::real::Real;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "not_equal",
    text: include_str!("../../shaders/not_equal.wgsl"),
    uses: &[library::STORE, library::INDEX],
};

/// x ≠ value, see the room's documentation.
#[derive(Clone, Debug)]
pub struct NotEqual {
    /// The index to differ from.
    pub value: usize,
}

/// A mask of ones where x differs from `value`, zeros elsewhere.
///
/// ```
/// # use axenic::{Array, eval, ops};
/// let [y] = eval(|r| Ok([ops::not_equal(r.constant([0u32, 3, 1]), 0)?]))?;
/// assert_eq!(y, Array::from([0u32, 1, 1]));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x holds real numbers, or `value` is larger than an index can be.
#[track_caller]
pub fn not_equal<'g>(x: Tensor<'g>, value: usize) -> Result<Tensor<'g>> {
    x.recorder().apply_one(NotEqual { value }, &[x])
}

impl Op for NotEqual {
    const NAME: &'static str = "not_equal";
    const INPUTS: &'static [&'static str] = &["x"];

    fn attributes(&self) -> Attributes {
        Attributes::none().with("value", self.value)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            value: attributes.int("value", 0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_inputs(Self::NAME, inputs)?;
        let shape = expect_index(Self::NAME, "x", x)?;
        if self.value > u32::MAX as usize {
            let value = self.value;
            return Err(Error::shape(format!(
                "not_equal: value {value} is larger than any index"
            )));
        }
        Ok(vec![Spec::index(shape)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        _output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        Ok(vec![None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let x = &inputs[0].index()[range];
        let differs = |&x: &u32| u32::from(x as usize != self.value);
        outputs[0]
            .index()
            .iter_mut()
            .zip(x)
            .for_each(|(y, x)| *y = differs(x));
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let n = inputs[0].shape.elements();
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)]);
        Ok(vec![launch.words(&[n, self.value]).elements(n, WORKGROUP)])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(inputs[0].shape.elements(), inputs, inputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let from = |value| Self { value };
        let case = |(about, shape)| Case::new(about, from(1), vec![indices(shape, 3, 1)]);
        let mut cases: Vec<_> = shapes::elements().map(case).collect();
        cases.extend([
            Case::new("zero", from(0), vec![indices([31], 2, 2)]),
            Case::new(
                "a value that is not there",
                from(9),
                vec![indices([31], 4, 3)],
            ),
            Case::new(
                "the largest index",
                from(u32::MAX as usize),
                vec![array([2].into(), vec![u32::MAX, 0])],
            ),
        ]);
        cases
    }
}
