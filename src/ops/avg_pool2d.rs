//! The mean of every window.
//!
//! **Definition.** y[n, c, i, j] = Σ x[n, c, h, w] over the window's elements inside the image, divided by the number of
//! elements that it sees of the image and its padding (`count_include_pad=yes`) or of the image only (`no`). Windows slide,
//! h in i·stride − padding .. i·stride − padding + kernel_size, or are adaptive, h in ⌊i·H/H'⌋ .. ⌈(i + 1)·H/H'⌉; w alike.
//!
//! **Shape.** x [N, C, H, W]; y [N, C, H', W']. Adaptive windows have [H', W'] as the attribute `output_size`; it is 0 for
//! windows that slide, where H' = ⌊(H + 2·padding − kernel_size) / stride⌋ + 1, or with `ceil_mode=yes` the quotient rounded
//! up, unless the last window would start behind the image. The padding is at most half the window, so that no window is
//! empty.
//!
//! **Gradient.** Every element gets its windows' ∂L/∂y over their divisors, see `avg_pool2d_grad`.
//!
//! **Numerics.** As many additions as the window has elements, and a division.
//!
//! **Cost.** An addition for every element of every window.
//!
//! **Reference.** `torch.nn.functional.avg_pool2d` and `adaptive_avg_pool2d`.

use super::Pooling;
use super::support::{Windows, normal, shapes};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "avg_pool2d",
    text: include_str!("../../shaders/avg_pool2d.wgsl"),
    uses: &[library::STORE, library::INDEX, library::WINDOWS],
};

/// What a window's sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountIncludePad {
    /// The number of elements that the window sees of the image and its padding.
    Yes,
    /// The number of its elements inside the image.
    No,
}

impl CountIncludePad {
    /// The words that stand for the choice in attributes.
    pub const WORDS: [(&'static str, CountIncludePad); 2] =
        [("yes", CountIncludePad::Yes), ("no", CountIncludePad::No)];

    /// The word that stands for this choice in attributes.
    pub fn word(self) -> &'static str {
        match self {
            CountIncludePad::Yes => "yes",
            CountIncludePad::No => "no",
        }
    }

    /// The divisors of all windows along an axis; those of both axes are multiplied.
    pub(super) fn divisors(self, windows: &Windows, axis: usize) -> Vec<usize> {
        let divisor = |(index, inside): (usize, Range<usize>)| match self {
            CountIncludePad::Yes => windows.padded_length(axis, index),
            CountIncludePad::No => inside.len(),
        };
        windows
            .all(axis)
            .into_iter()
            .enumerate()
            .map(divisor)
            .collect()
    }
}

/// The mean of every window, see the room's documentation.
#[derive(Clone, Debug)]
pub struct AvgPool2d {
    /// Where the windows lie.
    pub pooling: Pooling,
    /// What their sums are divided by.
    pub count_include_pad: CountIncludePad,
}

/// The means of the windows over the images x.
///
/// ```
/// # use axenic::{eval, ops::{self, CountIncludePad, Pooling}};
/// let [y] = eval(|r| {
///     let x = r.constant([[[[1.0, 2.0], [3.0, 6.0]]]]);
///     let pooling = Pooling::Adaptive { output_size: [1, 1] };
///     Ok([ops::avg_pool2d(x, pooling, CountIncludePad::Yes)?])
/// })?;
/// assert_eq!(y, [[[[3.0]]]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x is not [N, C, H, W], or the windows do not fit.
#[track_caller]
pub fn avg_pool2d<'g>(
    x: Tensor<'g>,
    pooling: Pooling,
    count_include_pad: CountIncludePad,
) -> Result<Tensor<'g>> {
    let op = AvgPool2d {
        pooling,
        count_include_pad,
    };
    x.recorder().apply_one(op, &[x])
}

impl AvgPool2d {
    /// The windows, where the shape rule has accepted them, and their divisors along each axis.
    fn windows(&self, inputs: &[View<impl Real>]) -> (Windows, [Vec<usize>; 2]) {
        let windows = Windows::over(Self::NAME, &self.pooling, inputs[0].shape);
        let (windows, _) = windows.unwrap_or_else(|e| unreachable!("{e}"));
        let divisors = [0, 1].map(|axis| self.count_include_pad.divisors(&windows, axis));
        (windows, divisors)
    }
}

impl Op for AvgPool2d {
    const NAME: &'static str = "avg_pool2d";
    const INPUTS: &'static [&'static str] = &["x"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        self.pooling
            .attributes()
            .with("count_include_pad", self.count_include_pad.word())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let choices = &CountIncludePad::WORDS;
        Ok(Self {
            pooling: Pooling::from_attributes(attributes)?,
            count_include_pad: attributes.choice(
                "count_include_pad",
                CountIncludePad::Yes,
                choices,
            )?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        let (_, y) = Windows::over(Self::NAME, &self.pooling, x)?;
        Ok(vec![Spec::real(y)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let x = call.inputs[0].shape();
        let (pooling, count) = (self.pooling, self.count_include_pad);
        let back = |grad| super::avg_pool2d_grad(grad, pooling, count, [x[2], x[3]]);
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (x, image) = (inputs[0].real(), inputs[0].shape);
        let result = outputs[0].shape;
        let (windows, divisors) = self.windows(inputs);
        for (y, i) in outputs[0].real().iter_mut().zip(range) {
            let [i, column] = [i / result[3], i % result[3]];
            let [plane, row] = [i / result[2], i % result[2]];
            let columns = windows.inside(1, column);
            let mut sum = R::sum(windows.area());
            for h in windows.inside(0, row) {
                let start = (plane * image[2] + h) * image[3];
                x[start + columns.start..start + columns.end]
                    .iter()
                    .for_each(|&x| sum.add(x));
            }
            *y = sum.total() / R::count(divisors[0][row] * divisors[1][column]);
        }
    }

    /// Plane by plane: the sums of all columns over a window's rows at once, then along the width.
    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let (x, image, result) = (inputs[0].real(), inputs[0].shape, outputs[0].shape);
        let [height, width] = [image[2], image[3]];
        let (windows, divisors) = self.windows(inputs);
        let (rows, columns) = (windows.all(0), windows.all(1));
        let run = Windows::planes_per_task(height * width);
        let length = run * result[2] * result[3];
        workers.each_chunk(
            outputs[0].real(),
            length,
            #[inline(always)]
            |task, y| {
                let mut sums = vec![0.0; width];
                for (i, y) in y.chunks_mut(result[3]).enumerate() {
                    let plane =
                        &x[(task * run + i / result[2]) * height * width..][..height * width];
                    let (rows, divisor) = (&rows[i % result[2]], divisors[0][i % result[2]]);
                    sums.fill(0.0);
                    for row in plane[rows.start * width..rows.end * width].chunks(width) {
                        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
                    }
                    let columns = columns.iter().zip(&divisors[1]);
                    for (y, (columns, along)) in y.iter_mut().zip(columns) {
                        *y = sums[columns.clone()].iter().sum::<f32>() / (divisor * along) as f32;
                    }
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let (windows, result) = Windows::over(Self::NAME, &self.pooling, inputs[0].shape)?;
        let bindings = [Binding::Input(0), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings);
        let count_padding = u8::from(self.count_include_pad == CountIncludePad::Yes);
        let launch = launch.constant("COUNT_PADDING", f64::from(count_padding));
        Ok(vec![windows.words(launch, result.elements())])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let windows = Windows::over(Self::NAME, &self.pooling, inputs[0].shape);
        let added = windows.map_or(0, |(windows, y)| y.elements() * windows.area());
        Cost::new(added, inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |(about, pooling, count_include_pad, image): shapes::Averaging| {
            let op = Self {
                pooling,
                count_include_pad,
            };
            Case::new(about, op, vec![normal(image, 1)])
        };
        shapes::averaging().map(of).collect()
    }
}
