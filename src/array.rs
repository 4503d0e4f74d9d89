//! Numbers with a shape, on the host: what goes into an executor and what comes out.

use crate::error::{Error, Result};
use crate::shape::Shape;
use std::borrow::Cow;

/// The type of a value's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// A real number; its precision is the executor's (f64 on the reference, f32 elsewhere).
    Real,
    /// An unsigned index: labels, positions, masks.
    Index,
}

/// Shape and element type: all that is known of a value before it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The lengths of the axes.
    pub shape: Shape,
    /// The type of the elements.
    pub element: Element,
}

impl Spec {
    /// Real numbers of this shape.
    pub fn real(shape: impl Into<Shape>) -> Self {
        Self {
            shape: shape.into(),
            element: Element::Real,
        }
    }

    /// Indices of this shape.
    pub fn index(shape: impl Into<Shape>) -> Self {
        Self {
            shape: shape.into(),
            element: Element::Index,
        }
    }
}

impl std::fmt::Display for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.element {
            Element::Real => write!(f, "{}", self.shape),
            Element::Index => write!(f, "u32{}", self.shape),
        }
    }
}

/// Numbers with a shape, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Shape,
    numbers: Numbers,
}

/// The elements of an [`Array`].
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Reals in single precision.
    F32(Vec<f32>),
    /// Reals in double precision.
    F64(Vec<f64>),
    /// Indices.
    U32(Vec<u32>),
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Numbers::F32(v) => v.len(),
            Numbers::F64(v) => v.len(),
            Numbers::U32(v) => v.len(),
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<f32>> for Numbers {
    fn from(v: Vec<f32>) -> Self {
        Numbers::F32(v)
    }
}

impl From<Vec<f64>> for Numbers {
    fn from(v: Vec<f64>) -> Self {
        Numbers::F64(v)
    }
}

impl From<Vec<u32>> for Numbers {
    fn from(v: Vec<u32>) -> Self {
        Numbers::U32(v)
    }
}

impl Array {
    /// Numbers arranged in a shape.
    ///
    /// # Errors
    /// The shape asks for another number of elements.
    pub fn new(shape: impl Into<Shape>, numbers: impl Into<Numbers>) -> Result<Self> {
        let (shape, numbers) = (shape.into(), numbers.into());
        if shape.elements() != numbers.len() {
            return Err(Error::shape(format!(
                "the shape {shape} has {} elements, but {} numbers were given",
                shape.elements(),
                numbers.len()
            )));
        }
        Ok(Self { shape, numbers })
    }

    /// A single real number.
    pub fn scalar(value: f64) -> Self {
        Self {
            shape: Shape::SCALAR,
            numbers: Numbers::F64(vec![value]),
        }
    }

    /// Zeros of the given kind.
    pub fn zeros(spec: Spec) -> Self {
        let n = spec.shape.elements();
        let numbers = match spec.element {
            Element::Real => Numbers::F32(vec![0.0; n]),
            Element::Index => Numbers::U32(vec![0; n]),
        };
        Self {
            shape: spec.shape,
            numbers,
        }
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Shape and element type.
    pub fn spec(&self) -> Spec {
        let element = match self.numbers {
            Numbers::F32(_) | Numbers::F64(_) => Element::Real,
            Numbers::U32(_) => Element::Index,
        };
        Spec {
            shape: self.shape,
            element,
        }
    }

    /// The elements.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The elements in single precision: as they are, or rounded. Indices become their value.
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        match &self.numbers {
            Numbers::F32(v) => Cow::Borrowed(v),
            Numbers::F64(v) => v.iter().map(|&x| x as f32).collect(),
            Numbers::U32(v) => v.iter().map(|&x| x as f32).collect(),
        }
    }

    /// The elements in double precision: as they are, or widened.
    pub fn to_f64(&self) -> Cow<'_, [f64]> {
        match &self.numbers {
            Numbers::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Numbers::F64(v) => Cow::Borrowed(v),
            Numbers::U32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        }
    }

    /// As [`to_f32`](Self::to_f32); numbers that are in single precision stay where they are.
    pub fn into_f32(self) -> Vec<f32> {
        match self.numbers {
            Numbers::F32(v) => v,
            _ => self.to_f32().into_owned(),
        }
    }

    /// As [`to_f64`](Self::to_f64); numbers that are in double precision stay where they are.
    pub fn into_f64(self) -> Vec<f64> {
        match self.numbers {
            Numbers::F64(v) => v,
            _ => self.to_f64().into_owned(),
        }
    }

    /// Whether there is neither NaN nor infinity among the elements.
    pub fn is_finite(&self) -> bool {
        match &self.numbers {
            Numbers::F32(v) => v.iter().all(|x| x.is_finite()),
            Numbers::F64(v) => v.iter().all(|x| x.is_finite()),
            Numbers::U32(_) => true,
        }
    }

    /// The elements, if they are indices.
    pub fn as_u32(&self) -> Option<&[u32]> {
        match &self.numbers {
            Numbers::U32(v) => Some(v),
            _ => None,
        }
    }
}

/// A number alone is a scalar array, an array of numbers has one axis, nested arrays have two or four: for examples and tests.
impl From<f64> for Array {
    fn from(value: f64) -> Self {
        Array::scalar(value)
    }
}

impl<const N: usize> From<[f64; N]> for Array {
    fn from(values: [f64; N]) -> Self {
        Array {
            shape: [N].into(),
            numbers: Numbers::F64(values.to_vec()),
        }
    }
}

impl<const N: usize> From<[u32; N]> for Array {
    fn from(values: [u32; N]) -> Self {
        Array {
            shape: [N].into(),
            numbers: Numbers::U32(values.to_vec()),
        }
    }
}

impl<const M: usize, const N: usize> From<[[f64; N]; M]> for Array {
    fn from(values: [[f64; N]; M]) -> Self {
        Array {
            shape: [M, N].into(),
            numbers: Numbers::F64(values.concat()),
        }
    }
}

impl<const A: usize, const B: usize, const M: usize, const N: usize> From<[[[[f64; N]; M]; B]; A]>
    for Array
{
    fn from(values: [[[[f64; N]; M]; B]; A]) -> Self {
        let numbers = values.concat().concat().concat();
        Array {
            shape: [A, B, M, N].into(),
            numbers: Numbers::F64(numbers),
        }
    }
}
