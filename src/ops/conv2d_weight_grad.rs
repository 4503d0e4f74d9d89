//! The gradient of a convolution with respect to its weight.
//!
//! **Definition.** weight_grad[k, c, r, s] = Σ over n, i, j of output_grad[n, k, i, j] · x[n, c′, i·stride + r·dilation −
//! padding, j·…], where what lies outside of x contributes nothing, and c′ is channel c of the group that k belongs to.
//!
//! **Shape.** x [N, C, H, W] and output_grad [N, K, H′, W′] give [K, C/groups, R, S], where the attribute `kernel_size` is
//! (R, S): several windows have the same H′.
//!
//! **Gradient.** The operation is linear in both inputs: with respect to x it is `conv2d_input_grad`, with respect to
//! output_grad it is `conv2d`.
//!
//! **Numerics.** The N·H′·W′ products of one element are added in an order that depends on the executor: in several parts
//! that are cut by the shapes (on a device also by its class), then the parts in order.
//! On the host 3 × 3 windows of stride 1 go through Winograd's algorithm where it is faster; then the bound is at least
//! γ(tiles + 11), or γ(tiles + 27) with tiles of 4 × 4,
//! times its equation over absolute values, as `support/convolution/winograd.rs` derives.
//! On a device whose cooperative matrices multiply (tensor cores), sums of 64 terms or more have operands split in two
//! numbers of half precision, or in mixed precision are halves already; `src/graph/matrices.rs` derives what that costs.
//!
//! **Cost.** As many operations as the convolution. Where groups are small a device computes one element a workgroup.
//!
//! **Reference.** `torch.nn.grad.conv2d_weight`.

use super::Conv2d;
use super::support::convolution::{Geometry, PARTIAL_SUMS, SumCut, Winograd};
use super::support::{WORKGROUP, normal, scaled, scales_scratch};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Target, Tensor,
    Tile, View, ViewMut, expect_reals, library,
};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "conv2d_weight_grad",
    text: include_str!("../../shaders/conv2d_weight_grad.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::TILE,
        library::TILE_LANES,
        library::CONVOLUTION,
    ],
};

static DIRECT: Shader = Shader {
    name: "conv2d_weight_grad.direct",
    text: include_str!("../../shaders/conv2d_weight_grad.direct.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::REDUCE,
        library::CONVOLUTION,
    ],
};

static COMBINE: Shader = Shader {
    name: "conv2d_weight_grad.combine",
    text: include_str!("../../shaders/conv2d_weight_grad.combine.wgsl"),
    uses: &[library::INDEX],
};

/// The terms of a part of a sum on a device, at least.
const PART: usize = 256;

/// The gradient of [`Conv2d`] with respect to the weight, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Conv2dWeightGrad {
    /// The convolution.
    pub conv: Conv2d,
    /// Height and width of the window.
    pub kernel_size: [usize; 2],
}

/// The gradient of `conv2d(x, weight, conv)` with respect to the weight, whose window has `kernel_size` rows and columns.
///
/// ```
/// # use axenic::{eval, ops::{self, Conv2d}};
/// let [weight_grad] = eval(|r| {
///     let (x, grad) = (r.constant([[[[1.0, 2.0, 3.0]]]]), r.constant([[[[10.0, 1.0]]]]));
///     Ok([ops::conv2d_weight_grad(x, grad, Conv2d::default(), [1, 2])?])
/// })?;
/// assert_eq!(weight_grad, [[[[12.0, 23.0]]]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// `output_grad` is not of the shape that the convolution gives.
#[track_caller]
pub fn conv2d_weight_grad<'g>(
    x: Tensor<'g>,
    output_grad: Tensor<'g>,
    conv: Conv2d,
    kernel_size: [usize; 2],
) -> Result<Tensor<'g>> {
    x.recorder()
        .apply_one(Conv2dWeightGrad { conv, kernel_size }, &[x, output_grad])
}

impl Conv2dWeightGrad {
    fn geometry(&self, x: Shape, output_grad: Shape) -> Result<Geometry> {
        if x.len() != 4 || output_grad.len() != 4 {
            return Err(Error::shape(format!(
                "conv2d_weight_grad: x {x} and output_grad {output_grad} need four axes each"
            )));
        }
        let groups = self.conv.groups.max(1);
        let weight = Shape::new(&[
            output_grad[1],
            x[1] / groups,
            self.kernel_size[0],
            self.kernel_size[1],
        ])?;
        let geometry = Geometry::new(Self::NAME, &self.conv, x, weight)?;
        let y = geometry.y()?;
        if y != output_grad {
            return Err(Error::shape(format!(
                "conv2d_weight_grad: the convolution of {x} with {weight} gives {y}, output_grad is {output_grad}"
            )));
        }
        Ok(geometry)
    }

    /// The geometry, where the shape rule has accepted it.
    fn known(&self, inputs: &[View<impl Real>]) -> Geometry {
        self.geometry(inputs[0].shape, inputs[1].shape)
            .unwrap_or_else(|e| unreachable!("{e}"))
    }
}

impl Op for Conv2dWeightGrad {
    const NAME: &'static str = "conv2d_weight_grad";
    const INPUTS: &'static [&'static str] = &["x", "output_grad"];
    const HALVES: Halves = Halves::ALWAYS.except(&[], &[0]);

    fn attributes(&self) -> Attributes {
        self.conv
            .attributes()
            .with("kernel_size", self.kernel_size.as_slice())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            conv: Conv2d::from_attributes(attributes)?,
            kernel_size: attributes.pair("kernel_size", [1; 2])?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x, output_grad] = expect_reals(Self::NAME, inputs)?;
        Ok(vec![Spec::real(self.geometry(x, output_grad)?.weight()?)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(weight) = output_grads[0] else {
            return Ok(vec![None, None]);
        };
        let (x, output_grad) = (call.inputs[0], call.inputs[1]);
        let size = x.shape();
        Ok(vec![
            Some(super::conv2d_input_grad(
                output_grad,
                weight,
                self.conv,
                [size[2], size[3]],
            )?),
            Some(super::conv2d(x, weight, self.conv)?),
        ])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let geometry = self.known(inputs);
        let Geometry {
            images,
            groups,
            channels,
            maps,
            input,
            kernel,
            output,
            ..
        } = geometry;
        let (x, output_grad) = (inputs[0].real(), inputs[1].real());
        let winograd = Winograd::new(&geometry);
        for (weight_grad, index) in outputs[0].real().iter_mut().zip(range) {
            let (s, r) = (index % kernel[1], index / kernel[1] % kernel[0]);
            let (c, k) = (
                index / geometry.taps() % channels,
                index / geometry.taps() / channels,
            );
            let mut sum = R::sum(images * output[0] * output[1]);
            for n in 0..images {
                let x_plane = (n * groups + k / maps) * channels + c;
                let y_plane = n * groups * maps + k;
                for i in 0..output[0] {
                    let Some(row) = geometry.seen(0, i, r) else {
                        continue;
                    };
                    for j in 0..output[1] {
                        let Some(column) = geometry.seen(1, j, s) else {
                            continue;
                        };
                        let position = (y_plane * output[0] + i) * output[1] + j;
                        sum.add(
                            output_grad[position]
                                * x[(x_plane * input[0] + row) * input[1] + column],
                        );
                    }
                }
            }
            *weight_grad = sum.total();
            if let Some(winograd) = winograd {
                let at = [k, c, r, s];
                *weight_grad =
                    weight_grad.or_within(|| winograd.weight_grad_error([x, output_grad], at));
            }
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        let geometry = self.known(inputs);
        let Geometry {
            groups,
            channels,
            maps,
            ..
        } = geometry;
        let weight_grad = outputs[0].real();
        if let Some(winograd) = Winograd::new(&geometry) {
            let operands = [inputs[0].real(), inputs[1].real()];
            return winograd.weight_grad(operands, weight_grad, scratch, workers);
        }
        let cut = SumCut::new(&geometry);
        if weight_grad.is_empty() {
            return;
        }
        let [memory, partial] = scratch else {
            unreachable!("two buffers")
        };
        let operands = [inputs[0].real(), inputs[1].real()];
        workers.each_with_panel(
            memory,
            partial.chunks_exact_mut(cut.piece).enumerate(),
            #[inline(always)]
            |(index, sums), memory| {
                cut.compute(&geometry, operands, index, sums, memory);
            },
        );
        let partial = &**partial;
        let row = channels * geometry.taps();
        workers.each_chunk(
            weight_grad,
            row,
            #[inline(always)]
            |k, row| {
                for (block, to) in row.chunks_mut(cut.block * geometry.taps()).enumerate() {
                    for part in 0..cut.parts {
                        let piece = (part * groups + k / maps) * cut.blocks + block;
                        let start = piece * cut.piece + k % maps * to.len();
                        let from = &partial[start..start + to.len()];
                        if part == 0 {
                            to.copy_from_slice(from);
                        } else {
                            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                        }
                    }
                }
            },
        );
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        let Ok(geometry) = self.geometry(inputs[0].shape, inputs[1].shape) else {
            return Vec::new();
        };
        match target {
            Target::Cpu { threads } => {
                if let Some(winograd) = Winograd::new(&geometry) {
                    return winograd.weight_grad_scratch(*threads);
                }
                let cut = SumCut::new(&geometry);
                let memory: usize = cut.memory(&geometry).iter().sum();
                vec![
                    threads * memory,
                    cut.parts * geometry.groups * cut.blocks * cut.piece,
                ]
            }
            Target::Gpu(_) if geometry.is_direct() => Vec::new(),
            Target::Gpu(limits) => {
                let sums = device_parts(&geometry, limits)
                    * geometry.groups
                    * geometry.maps
                    * geometry.channels
                    * geometry.taps();
                let launches = self.launches(inputs, limits).unwrap_or_default();
                [sums]
                    .into_iter()
                    .chain(scales_scratch(&launches))
                    .collect()
            }
            Target::Reference => Vec::new(),
        }
    }

    fn launches(&self, inputs: &[Spec], limits: &Limits) -> Result<Vec<Launch>> {
        let geometry = self.geometry(inputs[0].shape, inputs[1].shape)?;
        let count = geometry.weight()?.elements();
        if geometry.is_direct() {
            let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
            let launch = geometry.describe(Launch::new(&DIRECT, bindings));
            return Ok(vec![launch.groups(count)]);
        }
        let parts = device_parts(&geometry, limits);
        let (size, depth) = device_product(&geometry);
        let per_part = depth.div_ceil(parts).next_multiple_of(16);
        let partial = Launch::new(
            &SHADER,
            [Binding::Input(0), Binding::Input(1), Binding::Scratch(0)],
        );
        let partial = geometry
            .describe(partial)
            .words(&[parts, per_part])
            .constant("TILE_B_BY_DEPTH", 1.0);
        let partial = partial.by(limits.products(geometry.groups, size, depth));
        let combine = Launch::new(&COMBINE, [Binding::Output(0), Binding::Scratch(0)]);
        let launches = vec![
            device_tile(&geometry, limits).cover(partial, parts * geometry.groups, size),
            combine.words(&[parts, count]).elements(count, WORKGROUP),
        ];
        Ok(scaled(launches, inputs, [1, 0], 1))
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let flops = self
            .geometry(inputs[0].shape, inputs[1].shape)
            .map_or(0, |geometry| geometry.flops());
        Cost::new(flops, inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let cases = super::support::convolution::cases();
        let case = |(about, conv, geometry): (_, _, Geometry)| {
            let (x, y) = (geometry.x(), geometry.y());
            let inputs = x.and_then(|x| Ok(vec![normal(x, 1), normal(y?, 2)]));
            let op = Self {
                conv,
                kernel_size: geometry.kernel,
            };
            Case::new(about, op, inputs.unwrap_or_else(|e| unreachable!("{e}")))
        };
        cases.into_iter().map(case).collect()
    }
}

/// The results of a group on a device, and the terms of each sum.
fn device_product(geometry: &Geometry) -> ([usize; 2], usize) {
    let columns = geometry.channels * geometry.taps();
    let positions = geometry.output[0] * geometry.output[1];
    ([geometry.maps, columns], geometry.images * positions)
}

/// A sum can be cut, so that few tiles of results are work for many workgroups.
fn device_tile(geometry: &Geometry, limits: &Limits) -> Tile {
    let (size, depth) = device_product(geometry);
    let most = (depth / PART).max(1);
    limits.tiling.tile(geometry.groups * most, size)
}

/// The parts into which a device cuts the sum: many where there are few tiles of results.
fn device_parts(geometry: &Geometry, limits: &Limits) -> usize {
    let ([maps, columns], depth) = device_product(geometry);
    let tile = device_tile(geometry, limits);
    let tiles = geometry.groups * tile.count([maps, columns]);
    let most = PARTIAL_SUMS / (geometry.groups * maps * columns).max(1);
    let wanted = limits.tiling.busy.div_ceil(tiles.max(1));
    wanted.min(depth / PART).min(most).max(1)
}
