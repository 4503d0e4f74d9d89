//! What operations are checked on.

use crate::array::Array;

/// Inputs on which an operation is checked.
#[derive(Clone, Debug)]
pub struct Case<O> {
    /// What the case is about.
    pub about: &'static str,
    /// The operation with its attributes.
    pub op: O,
    /// Its inputs; reals are representable in f32.
    pub inputs: Vec<Array>,
    /// How inputs follow from others; see [`Case::linked`].
    pub link: Option<Link>,
    /// Whether central differences know the derivative here; see [`Case::without_differences`].
    pub has_differences: bool,
}

/// Computes anew those inputs of a case that are functions of others.
pub type Link = fn(&mut [Array]);

impl<O> Case<O> {
    /// A case.
    pub fn new(about: &'static str, op: O, inputs: Vec<Array>) -> Self {
        Self {
            about,
            op,
            inputs,
            link: None,
            has_differences: true,
        }
    }

    /// The same case, where some inputs are functions of others (a batch's statistics), through which the gradient rule
    /// differentiates. The check against central differences then moves them along.
    pub fn linked(self, link: Link) -> Self {
        Self {
            link: Some(link),
            ..self
        }
    }

    /// The same case, where central differences do not tell the derivative: at a kink (ties of a maximum, the end of a
    /// logarithm), where the operation bends within their step, or where an element's part in a long sum drowns in the
    /// sum's rounding.
    pub fn without_differences(self) -> Self {
        Self {
            has_differences: false,
            ..self
        }
    }
}
