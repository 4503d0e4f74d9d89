//! Images in another size.
//!
//! **Definition.** Row i of y lies at row p = i·H/H' of x and takes row ⌊p⌋ (`mode=nearest`), or (`bilinear`) lies at
//! p = (i + ½)·H/H' − ½, with the corners aligned at p = i·(H − 1)/(H' − 1), held between 0 and H − 1, and takes
//! (1 − s) times row ⌊p⌋ and s times the next, s = p − ⌊p⌋. Columns alike.
//!
//! **Shape.** x [N, C, H, W]; y [N, C, H', W'], where the attribute `size` is [H', W']. No length may be 0, nor one times its
//! new length more than 2³⁰.
//!
//! **Gradient.** Every element gets ∂L/∂y of the positions that take it, with their weights: see `resize_grad`.
//!
//! **Numerics.** Places are fractions of whole numbers, so that rounding never decides which element is read; where p is a
//! whole number the element is taken as it is. Otherwise three roundings for s, and three more in each direction.
//!
//! **Cost.** Nine operations for every element of y if bilinear, none if nearest; bound by memory.
//!
//! **Reference.** `torch.nn.functional.interpolate` with `size`; it finds places in floating point, so that its nearest
//! element may be another where i·H/H' is just a whole number.

use super::support::normal;
use super::support::resizing::{EXAMPLES, Example, Resizing, image_size};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::Real;
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "resize",
    text: include_str!("../../shaders/resize.wgsl"),
    uses: &[library::STORE, library::INDEX, library::RESIZING],
};

/// What a position between elements takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The element before it, along either axis.
    Nearest,
    /// A mean of the four around it.
    Bilinear(AlignCorners),
}

/// Which points of the two images lie on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlignCorners {
    /// The outer edges of the elements at the border.
    No,
    /// The centres of the elements in the corners.
    Yes,
}

impl Interpolation {
    /// As the attributes `mode` and `align_corners`.
    pub(super) fn with(self, attributes: Attributes) -> Attributes {
        let [mode, corners] = match self {
            Interpolation::Nearest => ["nearest", "no"],
            Interpolation::Bilinear(AlignCorners::No) => ["bilinear", "no"],
            Interpolation::Bilinear(AlignCorners::Yes) => ["bilinear", "yes"],
        };
        attributes.with("mode", mode).with("align_corners", corners)
    }

    /// From attributes: nearest by default.
    pub(super) fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let corners = [("no", AlignCorners::No), ("yes", AlignCorners::Yes)];
        let corners = attributes.choice("align_corners", AlignCorners::No, &corners)?;
        let bilinear = Interpolation::Bilinear(corners);
        let modes = [("nearest", Interpolation::Nearest), ("bilinear", bilinear)];
        match attributes.choice("mode", Interpolation::Nearest, &modes)? {
            Interpolation::Nearest if corners == AlignCorners::Yes => Err(Error::input(
                "align_corners=yes is for mode=bilinear: the nearest element has no corners to align",
            )),
            mode => Ok(mode),
        }
    }

    /// How many elements past the first a position takes, along each axis.
    pub(super) fn neighbours(self) -> usize {
        usize::from(self != Interpolation::Nearest)
    }
}

/// Images in another size, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Resize {
    /// Height and width of y.
    pub size: [usize; 2],
    /// What y takes from x.
    pub interpolation: Interpolation,
}

/// The images x in another `size` (height, width).
///
/// ```
/// # use axenic::{eval, ops::{self, AlignCorners, Interpolation}};
/// let [y] = eval(|r| {
///     let x = r.constant([[[[0.0, 8.0]]]]);
///     Ok([ops::resize(x, [1, 4], Interpolation::Bilinear(AlignCorners::No))?])
/// })?;
/// assert_eq!(y, [[[[0.0, 2.0, 6.0, 8.0]]]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x is not [N, C, H, W], or one of the sizes has no element or is too large.
#[track_caller]
pub fn resize<'g>(
    x: Tensor<'g>,
    size: [usize; 2],
    interpolation: Interpolation,
) -> Result<Tensor<'g>> {
    let op = Resize {
        size,
        interpolation,
    };
    x.recorder().apply_one(op, &[x])
}

impl Resize {
    fn resizing(&self, x: Shape) -> Result<Resizing> {
        let from = image_size(Self::NAME, "x", x)?;
        Resizing::new(Self::NAME, self.interpolation, from, self.size)
    }

    /// The geometry, where the shape rule has accepted it.
    fn known(&self, inputs: &[View<impl Real>]) -> Resizing {
        self.resizing(inputs[0].shape)
            .unwrap_or_else(|e| unreachable!("{e}"))
    }
}

impl Op for Resize {
    const NAME: &'static str = "resize";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        self.interpolation
            .with(Attributes::none().with("size", &self.size[..]))
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            size: attributes.pair("size", [1, 1])?,
            interpolation: Interpolation::from_attributes(attributes)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        self.resizing(x)?;
        let y = Shape::new(&[x[0], x[1], self.size[0], self.size[1]]);
        Ok(vec![Spec::real(y.map_err(|e| e.within(Self::NAME))?)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let x = call.inputs[0].shape();
        let back = |grad| super::resize_grad(grad, [x[2], x[3]], self.interpolation);
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let [rows, columns] = self.known(inputs).axes;
        let (x, image) = (inputs[0].real(), inputs[0].shape);
        let [height, width] = self.size;
        for (y, i) in outputs[0].real().iter_mut().zip(range) {
            let (plane, row, column) =
                (i / width / height, rows.tap(i / width % height), i % width);
            let x = &x[plane * image[2] * image[3]..];
            let in_column = |w: usize| rows.take(row, |h| x[h * image[3] + w]);
            *y = columns.take(columns.tap(column), in_column);
        }
    }

    /// Row by row: between two rows of x for all columns at once, then along the width.
    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let axes = self.known(inputs).axes;
        let [rows, columns] = axes.map(|axis| axis.taps());
        let (x, [height, width]) = (inputs[0].real(), [inputs[0].shape[2], inputs[0].shape[3]]);
        let run = (16_384 / self.size[1].max(width)).max(1);
        workers.each_chunk(
            outputs[0].real(),
            run * self.size[1],
            #[inline(always)]
            |task, y| {
                let mut mean = vec![0.0; width];
                for (i, y) in y.chunks_mut(self.size[1]).enumerate() {
                    let (plane, row) =
                        ((task * run + i) / rows.len(), (task * run + i) % rows.len());
                    let (tap, share) = rows[row];
                    let x = &x[(plane * height + tap.first) * width..];
                    let line = if tap.part == 0 {
                        &x[..width]
                    } else {
                        let pairs = x[..width].iter().zip(&x[width..2 * width]);
                        for (mean, (first, second)) in mean.iter_mut().zip(pairs) {
                            *mean = (1.0 - share) * first + share * second;
                        }
                        &mean[..]
                    };
                    for (y, &(tap, share)) in y.iter_mut().zip(&columns) {
                        *y = if tap.part == 0 {
                            line[tap.first]
                        } else {
                            (1.0 - share) * line[tap.first] + share * line[tap.first + 1]
                        };
                    }
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let y = self.outputs(inputs)?[0].shape;
        let launch = Launch::new(&SHADER, [Binding::Input(0), Binding::Output(0)]);
        let resizing = self.resizing(inputs[0].shape)?;
        Ok(vec![resizing.launch(launch, y.elements())])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let elements: usize = outputs.iter().map(|y| y.shape.elements()).sum();
        Cost::new(
            9 * elements * self.interpolation.neighbours(),
            inputs,
            &outputs,
        )
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |example: &Example| {
            let op = Self {
                size: example.size,
                interpolation: example.interpolation,
            };
            Case::new(example.about, op, vec![normal(example.image, 1)])
        };
        EXAMPLES.iter().map(of).collect()
    }
}
