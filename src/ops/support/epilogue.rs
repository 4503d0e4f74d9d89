//! What a product does with its sums before it writes them: multiplies them by factors, adds a bias and a residual, and applies
//! an activation.

use super::vectorised::normal_cdf;
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{Attributes, Call, Follower, Launch, Op, Tensor, View, expect_reals};
use crate::ops;
use crate::real::Real;
use crate::shape::Shape;

/// A function of each element that follows a product in the same pass over memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// The rectifier: the room `relu`.
    Relu,
    /// The Gaussian error linear unit: the room `gelu`.
    Gelu,
}

impl Activation {
    const WORDS: [(&'static str, Self); 3] = [
        ("identity", Self::Identity),
        ("relu", Self::Relu),
        ("gelu", Self::Gelu),
    ];

    fn apply<R: Real>(self, x: R) -> R {
        match self {
            Activation::Identity => x,
            // Not as the room does it, whose x is exact: here a bound must outlive the rectifier.
            Activation::Relu => x.max(R::ZERO),
            Activation::Gelu => x * x.normal_cdf(),
        }
    }

    /// Appends the attribute, unless it says nothing.
    pub(in crate::ops) fn describe(self, attributes: Attributes) -> Attributes {
        let word = Self::WORDS.iter().find(|(_, own)| *own == self);
        match (self, word) {
            (Activation::Identity, _) | (_, None) => attributes,
            (_, Some((word, _))) => attributes.with("activation", *word),
        }
    }

    /// What the attributes say.
    pub(in crate::ops) fn of(attributes: &Attributes) -> Result<Self> {
        attributes.choice("activation", Activation::Identity, &Self::WORDS)
    }
}

/// The shapes of a product's inputs: the two operands, and the bias and the residual if there are any.
pub(in crate::ops) struct Inputs {
    pub operands: [Shape; 2],
    pub bias: Option<Shape>,
    pub residual: Option<Shape>,
}

impl Inputs {
    /// Those of a product that takes these.
    pub(in crate::ops) fn expect(name: &str, inputs: &[Spec]) -> Result<Self> {
        let (own, rest) = inputs.split_at(inputs.len().min(2));
        let operands = expect_reals(name, own)?;
        let (bias, residual) = match rest {
            [] => (None, None),
            [_] => (Some(expect_reals::<1>(name, rest)?[0]), None),
            _ => {
                let [_, _, bias, residual] = expect_reals(name, inputs)?;
                (Some(bias), Some(residual))
            }
        };
        Ok(Self {
            operands,
            bias,
            residual,
        })
    }

    /// That the residual, if there is one, is of the result's shape.
    pub(in crate::ops) fn expect_residual(&self, name: &str, result: Shape) -> Result<()> {
        match self.residual {
            Some(residual) => {
                ops::support::expect_same(name, [result, residual], ["the product", "the residual"])
            }
            None => Ok(()),
        }
    }
}

/// What follows a product, with the numbers that it takes.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Epilogue<'a, R> {
    factors: Option<&'a [R]>,
    bias: Option<&'a [R]>,
    residual: Option<&'a [R]>,
    activation: Activation,
}

impl<'a, R: Real> Epilogue<'a, R> {
    /// Nothing.
    pub(in crate::ops) fn none() -> Self {
        Self::new(&[], Activation::Identity)
    }

    /// That of a product of these inputs. A bias of two rows has factors before it.
    pub(in crate::ops) fn new(inputs: &[View<'a, R>], activation: Activation) -> Self {
        let (factors, bias) = match inputs.get(2) {
            Some(both) if both.shape.len() == 2 => {
                let (factors, bias) = both.real().split_at(both.shape[1]);
                (Some(factors), Some(bias))
            }
            bias => (None, bias.map(|bias| bias.real())),
        };
        Self {
            factors,
            bias,
            residual: inputs.get(3).map(|residual| residual.real()),
            activation,
        }
    }

    /// The element `index` of the result, whose bias is number `bias` of all, for its sum.
    pub(in crate::ops) fn apply(&self, sum: R, bias: usize, index: usize) -> R {
        let sum = self.factors.map_or(sum, |all| sum * all[bias]);
        let sum = self.bias.map_or(sum, |all| sum + all[bias]);
        let sum = self.residual.map_or(sum, |all| sum + all[index]);
        self.activation.apply(sum)
    }
}

// Loops, for closures as long as GELU's are not inlined into iterators, and then not compiled for the machine's vectors.
impl Epilogue<'_, f32> {
    /// Applies it to neighbours that share the bias number `bias` of all; the first is element `index` of the result.
    #[inline(always)]
    pub(in crate::ops) fn finish_run(&self, run: &mut [f32], bias: usize, index: usize) {
        match (self.factors, self.bias) {
            (Some(factors), Some(all)) => {
                let (factor, bias) = (factors[bias], all[bias]);
                for y in run.iter_mut() {
                    *y = *y * factor + bias;
                }
            }
            (None, Some(all)) => {
                let bias = all[bias];
                for y in run.iter_mut() {
                    *y += bias;
                }
            }
            (_, None) => {}
        }
        self.finish(run, index);
    }

    /// Applies it to neighbours whose biases are neighbours too, from number `bias` of all on.
    #[inline(always)]
    pub(in crate::ops) fn finish_row(&self, row: &mut [f32], bias: usize, index: usize) {
        if let Some(all) = self.bias {
            for (y, bias) in row.iter_mut().zip(&all[bias..]) {
                *y += bias;
            }
        }
        self.finish(row, index);
    }

    /// What comes after the bias.
    #[inline(always)]
    fn finish(&self, run: &mut [f32], index: usize) {
        if let Some(all) = self.residual {
            for (y, other) in run.iter_mut().zip(&all[index..]) {
                *y += other;
            }
        }
        match self.activation {
            Activation::Identity => {}
            Activation::Relu => {
                for y in run {
                    *y = if *y < 0.0 { 0.0 } else { *y };
                }
            }
            Activation::Gelu => {
                for y in run {
                    *y *= normal_cdf(*y);
                }
            }
        }
    }
}

/// Whether the bias has factors before it.
fn has_factors(inputs: &[Spec]) -> bool {
    inputs.get(2).is_some_and(|bias| bias.shape.len() == 2)
}

/// Operations for each element of the result.
pub(in crate::ops) fn flops(inputs: &[Spec], activation: Activation) -> usize {
    let activation = match activation {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::Gelu => 40,
    };
    let factors = usize::from(has_factors(inputs));
    inputs.len() - 2 + factors + activation
}

/// Lets a launch apply the epilogue, as `shaders/lib/epilogue.wgsl` says.
pub(in crate::ops) fn describe(launch: Launch, inputs: &[Spec], activation: Activation) -> Launch {
    let is = |condition| f64::from(u8::from(condition));
    let code = match activation {
        Activation::Identity => 0.0,
        Activation::Relu => 1.0,
        Activation::Gelu => 2.0,
    };
    launch
        .constant("BIAS", is(inputs.len() > 2))
        .constant("FACTORS", is(has_factors(inputs)))
        .constant("RESIDUAL", is(inputs.len() > 3))
        .constant("ACTIVATION", code)
}

/// What bias and residual of a launch are bound to: where there are none, nothing is read, but something must be bound, which
/// is one reason why both are `Store`.
pub(in crate::ops) fn bindings(inputs: &[Spec]) -> [usize; 2] {
    [2, 3].map(|input| if input < inputs.len() { input } else { 0 })
}

/// The gradient of a product's result before the activation, which is also its residual's. `plain` is the same product without the
/// activation: where its result is needed, it is computed once more.
pub(in crate::ops) fn vjp<'g>(
    call: &Call<'g>,
    plain: impl Op,
    activation: Activation,
    grad: Tensor<'g>,
) -> Result<Tensor<'g>> {
    match activation {
        Activation::Identity => Ok(grad),
        Activation::Relu => ops::relu_grad(call.outputs[0], grad),
        Activation::Gelu => {
            let before = grad.recorder().apply_one(plain, &call.inputs)?;
            ops::gelu_grad(before, grad)
        }
    }
}

/// Whether a product of `inputs` values with this activation can compute in its own last pass what reads its result; and if so
/// with which activation.
pub(in crate::ops) fn followed_by(
    inputs: usize,
    activation: Activation,
    next: &Follower,
) -> Option<Activation> {
    match (next.op.name(), activation, inputs) {
        // A bias that is added later than the residual would be another sum.
        (ops::Add::NAME, Activation::Identity, 3) if next.specs[0] == next.specs[1] => {
            Some(activation)
        }
        (ops::Relu::NAME, Activation::Identity, _) => Some(Activation::Relu),
        (ops::Gelu::NAME, Activation::Identity, _) => Some(Activation::Gelu),
        _ => None,
    }
}
