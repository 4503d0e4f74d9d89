//! The mean of every window.
//!
//! **Definition.** y[n, c, i, j] = Σ x[n, c, h, w] over the window's elements inside the image, divided by the window's size
//! (`count_include_pad=yes`) or by the number of those elements (`no`). The window is h in
//! i·stride − padding .. i·stride − padding + kernel_size, w alike.
//!
//! **Shape.** x [N, C, H, W]; y [N, C, H', W'] with H' = ⌊(H + 2·padding − kernel_size) / stride⌋ + 1. The padding is at most
//! half the window, so that no window is empty.
//!
//! **Gradient.** Every element gets its windows' ∂L/∂y over their divisors, see `avg_pool2d_grad`.
//!
//! **Numerics.** As many additions as the window has elements, and a division.
//!
//! **Cost.** An addition for every element of every window.
//!
//! **Reference.** `torch.nn.functional.avg_pool2d`.

use super::support::{Windows, normal, shapes};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Launch, Limits, Op, Shader, Tensor, View, ViewMut,
    expect_reals, library,
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
    /// The size of the window.
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

    /// The divisor of a window that sees these rows and columns.
    pub(super) fn divisor(
        self,
        kernel_size: [usize; 2],
        rows: &Range<usize>,
        columns: &Range<usize>,
    ) -> usize {
        match self {
            CountIncludePad::Yes => kernel_size[0] * kernel_size[1],
            CountIncludePad::No => rows.len() * columns.len(),
        }
    }
}

/// The mean of every window, see the room's documentation.
#[derive(Clone, Debug)]
pub struct AvgPool2d {
    windows: Windows,
    count_include_pad: CountIncludePad,
}

/// The means of the windows over the images x.
///
/// ```
/// # use axenic::{eval, ops};
/// let [y] = eval(|r| {
///     let x = ops::reshape(r.constant([1.0, 2.0, 3.0, 6.0]), [1, 1, 2, 2])?;
///     let y = ops::avg_pool2d(x, [2, 2], [2, 2], [0, 0], ops::CountIncludePad::Yes)?;
///     Ok([ops::reshape(y, [1])?])
/// })?;
/// assert_eq!(y, [3.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// x is not [N, C, H, W], or the windows do not fit.
#[track_caller]
pub fn avg_pool2d<'g>(
    x: Tensor<'g>,
    kernel_size: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    count_include_pad: CountIncludePad,
) -> Result<Tensor<'g>> {
    let windows = Windows {
        kernel_size,
        stride,
        padding,
    };
    let op = AvgPool2d {
        windows,
        count_include_pad,
    };
    x.recorder().apply_one(op, &[x])
}

impl Op for AvgPool2d {
    const NAME: &'static str = "avg_pool2d";
    const INPUTS: &'static [&'static str] = &["x"];

    fn attributes(&self) -> Attributes {
        self.windows
            .attributes()
            .with("count_include_pad", self.count_include_pad.word())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let choices = &CountIncludePad::WORDS;
        Ok(Self {
            windows: Windows::from_attributes(attributes)?,
            count_include_pad: attributes.choice(
                "count_include_pad",
                CountIncludePad::Yes,
                choices,
            )?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x] = expect_reals(Self::NAME, inputs)?;
        Ok(vec![Spec::real(self.windows.outputs(Self::NAME, x)?)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let x = call.inputs[0].shape();
        let Windows {
            kernel_size,
            stride,
            padding,
        } = self.windows;
        let count = self.count_include_pad;
        let back =
            |grad| super::avg_pool2d_grad(grad, kernel_size, stride, padding, count, [x[2], x[3]]);
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (x, image) = (inputs[0].real(), inputs[0].shape);
        let result = outputs[0].shape;
        for (y, i) in outputs[0].real().iter_mut().zip(range) {
            let [i, column] = [i / result[3], i % result[3]];
            let [plane, row] = [i / result[2], i % result[2]];
            let rows = self.windows.inside(0, row, image[2]);
            let columns = self.windows.inside(1, column, image[3]);
            let kernel_size = self.windows.kernel_size;
            let divisor = self.count_include_pad.divisor(kernel_size, &rows, &columns);
            let mut sum = R::sum(self.windows.area());
            for h in rows {
                let start = (plane * image[2] + h) * image[3];
                x[start + columns.start..start + columns.end]
                    .iter()
                    .for_each(|&x| sum.add(x));
            }
            *y = sum.total() / R::count(divisor);
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
        let ([height, width], windows) = ([image[2], image[3]], self.windows);
        let run = Windows::planes_per_task(height * width);
        let length = run * result[2] * result[3];
        workers.each_chunk(outputs[0].real(), length, |task, y| {
            let mut sums = vec![0.0; width];
            for (i, y) in y.chunks_mut(result[3]).enumerate() {
                let plane = &x[(task * run + i / result[2]) * height * width..][..height * width];
                let rows = windows.inside(0, i % result[2], height);
                sums.fill(0.0);
                for row in plane[rows.start * width..rows.end * width].chunks(width) {
                    sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
                }
                for (j, y) in y.iter_mut().enumerate() {
                    let columns = windows.inside(1, j, width);
                    let kernel_size = windows.kernel_size;
                    let divisor = self.count_include_pad.divisor(kernel_size, &rows, &columns);
                    *y = sums[columns].iter().sum::<f32>() / divisor as f32;
                }
            }
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let result = self.outputs(inputs)?[0].shape;
        let bindings = [Binding::Input(0), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings);
        let count_padding = u8::from(self.count_include_pad == CountIncludePad::Yes);
        let launch = launch.constant("COUNT_PADDING", f64::from(count_padding));
        Ok(vec![self.windows.words(
            launch,
            inputs[0].shape,
            result,
            result.elements(),
        )])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let windows: usize = outputs.iter().map(|y| y.shape.elements()).sum();
        Cost::new(windows * self.windows.area(), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        use CountIncludePad::{No, Yes};
        let of =
            |about, count_include_pad, ([kernel_size, stride, padding], shape): shapes::Sliding| {
                let windows = Windows {
                    kernel_size,
                    stride,
                    padding,
                };
                let op = Self {
                    windows,
                    count_include_pad,
                };
                Case::new(about, op, vec![normal(shape, 1)])
            };
        let mut cases: Vec<_> = shapes::windows()
            .map(|(about, sliding)| of(about, Yes, sliding))
            .collect();
        let padded = shapes::windows().filter(|(_, ([_, _, padding], _))| *padding != [0, 0]);
        cases.extend(padded.map(|(about, sliding)| of(about, No, sliding)));
        cases
    }
}
