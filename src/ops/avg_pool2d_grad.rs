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

use super::support::{Windows, normal, shapes};
use super::{CountIncludePad, Pooling};
use crate::array::Spec;
use crate::error::Result;
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
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
    /// Where the windows lie.
    pub pooling: Pooling,
    /// What their sums were divided by.
    pub count_include_pad: CountIncludePad,
    /// Height and width of x.
    pub input_size: [usize; 2],
}

/// `output_grad` sent back in equal shares to what the windows saw of an image of `input_size` (height, width).
///
/// ```
/// # use axenic::{eval, ops::{self, CountIncludePad, Pooling}};
/// let [x_grad] = eval(|r| {
///     let pooling = Pooling::sliding([2, 2], [2, 2], [0, 0]);
///     let grad = r.constant([[[[8.0]]]]);
///     Ok([ops::avg_pool2d_grad(grad, pooling, CountIncludePad::Yes, [2, 2])?])
/// })?;
/// assert_eq!(x_grad, [[[[2.0, 2.0], [2.0, 2.0]]]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The shape does not fit the windows.
#[track_caller]
pub fn avg_pool2d_grad<'g>(
    output_grad: Tensor<'g>,
    pooling: Pooling,
    count_include_pad: CountIncludePad,
    input_size: [usize; 2],
) -> Result<Tensor<'g>> {
    let op = AvgPool2dGrad {
        pooling,
        count_include_pad,
        input_size,
    };
    output_grad.recorder().apply_one(op, &[output_grad])
}

impl AvgPool2dGrad {
    fn over(&self, output_grad: Shape) -> Result<(Windows, Shape)> {
        Windows::under(Self::NAME, &self.pooling, output_grad, self.input_size)
    }

    /// The windows, where the shape rule has accepted them, and their divisors along each axis.
    fn windows(&self, inputs: &[View<impl Real>]) -> (Windows, [Vec<usize>; 2]) {
        let windows = self.over(inputs[0].shape);
        let (windows, _) = windows.unwrap_or_else(|e| unreachable!("{e}"));
        let divisors = [0, 1].map(|axis| self.count_include_pad.divisors(&windows, axis));
        (windows, divisors)
    }
}

impl Op for AvgPool2dGrad {
    const NAME: &'static str = "avg_pool2d_grad";
    const INPUTS: &'static [&'static str] = &["output_grad"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        self.pooling
            .attributes()
            .with("count_include_pad", self.count_include_pad.word())
            .with("input_size", &self.input_size[..])
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
            input_size: attributes.pair("input_size", [2, 2])?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [output_grad] = expect_reals(Self::NAME, inputs)?;
        let (_, image) = self.over(output_grad)?;
        Ok(vec![Spec::real(image)])
    }

    fn vjp<'g>(
        &self,
        _call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let back = |grad| super::avg_pool2d(grad, self.pooling, self.count_include_pad);
        Ok(vec![output_grads[0].map(back).transpose()?])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (output_grad, result) = (inputs[0].real(), inputs[0].shape);
        let [height, width] = self.input_size;
        let (windows, divisors) = self.windows(inputs);
        for (x_grad, i) in outputs[0].real().iter_mut().zip(range) {
            let (plane, h, w) = (i / width / height, i / width % height, i % width);
            // The fast version adds along the width first: one addition more.
            let mut sum = R::sum(windows.overlap() + 1);
            for row in windows.covering(0, h) {
                for column in windows.covering(1, w) {
                    let grad = output_grad[(plane * result[2] + row) * result[3] + column];
                    sum.add(grad / R::count(divisors[0][row] * divisors[1][column]));
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
        let (windows, divisors) = self.windows(inputs);
        let (rows, columns) = (windows.all(0), windows.all(1));
        let run = Windows::planes_per_task(height * width);
        workers.each_chunk(
            outputs[0].real(),
            run * height * width,
            #[inline(always)]
            |task, x_grad| {
                let mut spread = vec![0.0; width];
                x_grad.fill(0.0);
                for (plane, x_grad) in x_grad.chunks_mut(height * width).enumerate() {
                    for (row, rows) in rows.iter().enumerate() {
                        let start = ((task * run + plane) * result[2] + row) * result[3];
                        spread.fill(0.0);
                        let grads = output_grad[start..start + result[3]].iter();
                        for (grad, (columns, along)) in grads.zip(columns.iter().zip(&divisors[1]))
                        {
                            let share = grad / (divisors[0][row] * along) as f32;
                            let seen = spread[columns.clone()].iter_mut();
                            seen.for_each(|sum| *sum += share);
                        }
                        for x_grad in x_grad[rows.start * width..rows.end * width].chunks_mut(width)
                        {
                            x_grad
                                .iter_mut()
                                .zip(&spread)
                                .for_each(|(sum, share)| *sum += share);
                        }
                    }
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let (windows, image) = self.over(inputs[0].shape)?;
        let bindings = [Binding::Input(0), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings);
        let count_padding = u8::from(self.count_include_pad == CountIncludePad::Yes);
        let launch = launch.constant("COUNT_PADDING", f64::from(count_padding));
        Ok(vec![windows.words(launch, image.elements())])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let windows = self.over(inputs[0].shape);
        let shares = windows.map_or(0, |(windows, _)| windows.area() + 1);
        Cost::new(inputs[0].shape.elements() * shares, inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |(about, pooling, count_include_pad, image): shapes::Averaging| {
            let op = Self {
                pooling,
                count_include_pad,
                input_size: [image[2], image[3]],
            };
            let result = Windows::over(Self::NAME, &pooling, image.into());
            let (_, result) = result.unwrap_or_else(|e| unreachable!("{e}"));
            Case::new(about, op, vec![normal(result, 1)])
        };
        shapes::averaging().map(of).collect()
    }
}
