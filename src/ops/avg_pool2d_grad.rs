//! The gradient of average pooling.
//!
//! **Definition.** x_grad[n, c, h, w] = Σ output_grad[n, c, i, j] / divisor(i, j) over the windows (i, j) that see (h, w); the
//! divisor is that of `avg_pool2d`.
//!
//! **Shape.** output_grad [N, C, H', W']; x_grad [N, C, H, W], where the attribute `input_size` is [H, W].
//!
//! **Gradient.** With respect to output_grad: `avg_pool2d`, whose transpose this operation is.
//!
//! **Numerics.** As many additions as windows overlap, and a division each.
//!
//! **Cost.** A division for every window, an addition for every element that it sees.
//!
//! **Reference.** `torch.ops.aten.avg_pool2d_backward`.

use super::CountIncludePad;
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
    name: "avg_pool2d_grad",
    text: include_str!("../../shaders/avg_pool2d_grad.wgsl"),
    uses: &[library::STORE, library::INDEX, library::WINDOWS],
};

/// The gradient of [`AvgPool2d`](super::AvgPool2d), see the room's documentation.
#[derive(Clone, Debug)]
pub struct AvgPool2dGrad {
    windows: Windows,
    count_include_pad: CountIncludePad,
    input_size: [usize; 2],
}

/// `output_grad` sent back in equal shares to what the windows saw of an image of `input_size` (height, width).
///
/// ```
/// # use axenic::{eval, ops};
/// let [x_grad] = eval(|r| {
///     let output_grad = ops::reshape(r.constant([8.0]), [1, 1, 1, 1])?;
///     let count = ops::CountIncludePad::Yes;
///     let x_grad = ops::avg_pool2d_grad(output_grad, [2, 2], [2, 2], [0, 0], count, [2, 2])?;
///     Ok([ops::reshape(x_grad, [4])?])
/// })?;
/// assert_eq!(x_grad, [2.0, 2.0, 2.0, 2.0].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shape does not fit the windows.
#[track_caller]
pub fn avg_pool2d_grad<'g>(
    output_grad: Tensor<'g>,
    kernel_size: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    count_include_pad: CountIncludePad,
    input_size: [usize; 2],
) -> Result<Tensor<'g>> {
    let windows = Windows {
        kernel_size,
        stride,
        padding,
    };
    let op = AvgPool2dGrad {
        windows,
        count_include_pad,
        input_size,
    };
    output_grad.recorder().apply_one(op, &[output_grad])
}

impl Op for AvgPool2dGrad {
    const NAME: &'static str = "avg_pool2d_grad";
    const INPUTS: &'static [&'static str] = &["output_grad"];

    fn attributes(&self) -> Attributes {
        self.windows
            .attributes()
            .with("count_include_pad", self.count_include_pad.word())
            .with("input_size", &self.input_size[..])
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
            input_size: attributes.pair("input_size", [2, 2])?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [output_grad] = expect_reals(Self::NAME, inputs)?;
        let image = self
            .windows
            .image(Self::NAME, output_grad, self.input_size)?;
        Ok(vec![Spec::real(image)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Windows {
            kernel_size,
            stride,
            padding,
        } = self.windows;
        let count = self.count_include_pad;
        let back = |grad| super::avg_pool2d(grad, kernel_size, stride, padding, count);
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (output_grad, result) = (inputs[0].real(), inputs[0].shape);
        let [height, width] = self.input_size;
        for (x_grad, i) in outputs[0].real().iter_mut().zip(range) {
            let (plane, h, w) = (i / width / height, i / width % height, i % width);
            // The fast version adds along the width first: one addition more.
            let mut sum = R::sum(self.windows.overlap() + 1);
            for row in self.windows.covering(0, h, result[2]) {
                for column in self.windows.covering(1, w, result[3]) {
                    let grad = output_grad[(plane * result[2] + row) * result[3] + column];
                    sum.add(grad / R::count(self.divisor(row, column)));
                }
            }
            *x_grad = sum.total();
        }
    }

    /// Plane by plane: every row of windows is spread along the width, then added to the rows it sees.
    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let (output_grad, result) = (inputs[0].real(), inputs[0].shape);
        let [height, width] = self.input_size;
        let run = Windows::planes_per_task(height * width);
        workers.each_chunk(outputs[0].real(), run * height * width, |task, x_grad| {
            let mut spread = vec![0.0; width];
            x_grad.fill(0.0);
            for (plane, x_grad) in x_grad.chunks_mut(height * width).enumerate() {
                for row in 0..result[2] {
                    let start = ((task * run + plane) * result[2] + row) * result[3];
                    spread.fill(0.0);
                    for (column, grad) in output_grad[start..start + result[3]].iter().enumerate() {
                        let share = grad / self.divisor(row, column) as f32;
                        spread[self.windows.inside(1, column, width)]
                            .iter_mut()
                            .for_each(|sum| *sum += share);
                    }
                    let rows = self.windows.inside(0, row, height);
                    for x_grad in x_grad[rows.start * width..rows.end * width].chunks_mut(width) {
                        x_grad
                            .iter_mut()
                            .zip(&spread)
                            .for_each(|(sum, share)| *sum += share);
                    }
                }
            }
        });
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let image = self.outputs(inputs)?[0].shape;
        let bindings = [Binding::Input(0), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings);
        let count_padding = u8::from(self.count_include_pad == CountIncludePad::Yes);
        let launch = launch.constant("COUNT_PADDING", f64::from(count_padding));
        Ok(vec![self.windows.words(
            launch,
            image,
            inputs[0].shape,
            image.elements(),
        )])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let windows = inputs[0].shape.elements();
        Cost::new(windows * (self.windows.area() + 1), inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        use CountIncludePad::{No, Yes};
        let of =
            |about, count_include_pad, ([kernel_size, stride, padding], image): shapes::Sliding| {
                let windows = Windows {
                    kernel_size,
                    stride,
                    padding,
                };
                let op = Self {
                    windows,
                    count_include_pad,
                    input_size: [image[2], image[3]],
                };
                let result = windows
                    .outputs(Self::NAME, image.into())
                    .unwrap_or_else(|e| unreachable!("{e}"));
                Case::new(about, op, vec![normal(result, 1)])
            };
        let mut cases: Vec<_> = shapes::windows()
            .map(|(about, sliding)| of(about, Yes, sliding))
            .collect();
        let padded = shapes::windows().filter(|(_, ([_, _, padding], _))| *padding != [0, 0]);
        cases.extend(padded.map(|(about, sliding)| of(about, No, sliding)));
        cases
    }
}

impl AvgPool2dGrad {
    fn divisor(&self, row: usize, column: usize) -> usize {
        let rows = self.windows.inside(0, row, self.input_size[0]);
        let columns = self.windows.inside(1, column, self.input_size[1]);
        self.count_include_pad
            .divisor(self.windows.kernel_size, &rows, &columns)
    }
}
