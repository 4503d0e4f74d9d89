//! The gradient of a convolution with respect to its input: a transposed convolution.
//!
//! **Definition.** x_grad[n, c, h, w] = Σ over k, r, s and the positions (i, j) from which tap (r, s) sees (h, w),
//! i·stride + r·dilation − padding = h and j alike, of output_grad[n, k, i, j] · weight[k, c, r, s]; k runs over the maps of
//! c's group.
//!
//! **Shape.** output_grad [N, K, H′, W′] and weight [K, C/groups, R, S] give [N, C, H, W], where the attribute `input_size`
//! is (H, W): several heights have the same H′.
//!
//! **Gradient.** The operation is linear in both inputs: with respect to output_grad it is `conv2d`, with respect to
//! weight it is `conv2d_weight_grad`.
//!
//! **Numerics.** At most K/groups·R·S products of one element are added, in an order that depends on the executor.
//! On the host 3 × 3 windows of stride 1 go through Winograd's algorithm where it is faster; then the bound is at least
//! γ(K + 11), or γ(K + 27) with tiles of 4 × 4,
//! times its equation over absolute values, as `support/convolution/winograd.rs` derives.
//! On a device whose cooperative matrices multiply (tensor cores), sums of 64 terms or more have operands split in two
//! numbers of half precision, or in mixed precision are halves already; `src/graph/matrices.rs` derives what that costs.
//!
//! **Cost.** As many operations as the convolution. The elements of x whose rows and columns agree modulo the stride see
//! output_grad through the same taps: executors compute these *phases* one by one, each as a convolution of stride 1. Where
//! groups are small a device computes one element after the other.
//!
//! **Reference.** `torch.nn.grad.conv2d_input`; Dumoulin and Visin, *A guide to convolution arithmetic for deep
//! learning*, 2016.

use super::Conv2d;
use super::support::convolution::{Cut, Geometry, Phase, Planes, Unfold, Winograd};
use super::support::epilogue::Epilogue;
use super::support::{WORKGROUP, normal, scaled, scales_scratch};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Kept, Launch, Limits, Op, Shader, Target,
    Tensor, View, ViewMut, expect_reals, library,
};
use crate::product::{Matrix, MatrixMut};
use crate::real::{Real, Sum as _};
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "conv2d_input_grad",
    text: include_str!("../../shaders/conv2d_input_grad.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::TILE,
        library::TILE_LANES,
        library::CONVOLUTION,
    ],
};

static DIRECT: Shader = Shader {
    name: "conv2d_input_grad.direct",
    text: include_str!("../../shaders/conv2d_input_grad.direct.wgsl"),
    uses: &[library::STORE, library::INDEX, library::CONVOLUTION],
};

/// The channels of x whose weights are packed together.
const PACKED: usize = 16;

/// The gradient of [`Conv2d`] with respect to x, see the room's documentation.
#[derive(Clone, Debug)]
pub struct Conv2dInputGrad {
    /// The convolution.
    pub conv: Conv2d,
    /// Height and width of x.
    pub input_size: [usize; 2],
}

/// The gradient of `conv2d(x, weight, conv)` with respect to x, which has `input_size` rows and columns.
///
/// ```
/// # use axenic::{eval, ops::{self, Conv2d}};
/// let [x_grad] = eval(|r| {
///     let (grad, weight) = (r.constant([[[[1.0, 2.0]]]]), r.constant([[[[10.0, 1.0]]]]));
///     Ok([ops::conv2d_input_grad(grad, weight, Conv2d::default(), [1, 3])?])
/// })?;
/// assert_eq!(x_grad, [[[[10.0, 21.0, 2.0]]]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// `output_grad` is not of the shape that the convolution gives.
#[track_caller]
pub fn conv2d_input_grad<'g>(
    output_grad: Tensor<'g>,
    weight: Tensor<'g>,
    conv: Conv2d,
    input_size: [usize; 2],
) -> Result<Tensor<'g>> {
    output_grad
        .recorder()
        .apply_one(Conv2dInputGrad { conv, input_size }, &[output_grad, weight])
}

impl Conv2dInputGrad {
    fn geometry(&self, output_grad: Shape, weight: Shape) -> Result<Geometry> {
        if output_grad.len() != 4 || weight.len() != 4 {
            return Err(Error::shape(format!(
                "conv2d_input_grad: output_grad {output_grad} and weight {weight} need four axes each"
            )));
        }
        let channels = weight[1].saturating_mul(self.conv.groups);
        let x = Shape::new(&[
            output_grad[0],
            channels,
            self.input_size[0],
            self.input_size[1],
        ])?;
        let geometry = Geometry::new(Self::NAME, &self.conv, x, weight)?;
        let y = geometry.y()?;
        if y != output_grad {
            return Err(Error::shape(format!(
                "conv2d_input_grad: the convolution of {x} with {weight} gives {y}, output_grad is {output_grad}"
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

/// A part of x: the elements whose row and column have the given remainders modulo the stride.
struct Part {
    remainders: [usize; 2],
    phases: [Phase; 2],
    unfold: Unfold,
    /// Where its weights start: one row for each channel of x, one column for each map of its group and tap.
    weights: usize,
}

/// The parts that some tap sees, in order of their remainders. Where the stride is longer than the window there are others,
/// whose gradient is zero.
fn parts(geometry: &Geometry) -> Vec<Part> {
    let [rows, columns] = [0, 1].map(|axis| geometry.seen_remainders(axis));
    let mut weights = 0;
    let remainders = rows
        .iter()
        .flat_map(|&row| columns.iter().map(move |&column| [row, column]));
    let part = |remainders: [usize; 2]| {
        let phases = [0, 1].map(|axis| geometry.phase(axis, remainders[axis]));
        let unfold = geometry.unfold_phase(&phases[0], &phases[1]);
        let own = geometry.groups * geometry.channels * geometry.maps * unfold.taps.len();
        weights += own;
        Part {
            remainders,
            phases,
            unfold,
            weights: weights - own,
        }
    };
    remainders.map(part).collect()
}

/// Whether the parts together are all of x.
fn are_all(geometry: &Geometry, parts: &[Part]) -> bool {
    let along = |axis: usize| geometry.conv.stride[axis].min(geometry.input[axis]);
    parts.len() == along(0) * along(1)
}

/// How the host cuts x, and the scratch memory of a worker: panel, then sums.
fn cut(geometry: &Geometry, parts: &[Part]) -> (Cut, [usize; 2]) {
    let tiles = parts.iter().map(|part| part.unfold.rows_per_tile());
    let tile = tiles.min().unwrap_or(1);
    let columns = geometry.input[1].div_ceil(geometry.conv.stride[1]);
    let planes = [geometry.groups, geometry.channels];
    let cut = Cut::new(
        geometry.images,
        planes,
        geometry.input,
        geometry.conv.stride,
        tile,
    );
    let panel = parts
        .iter()
        .map(|part| part.unfold.panels(geometry.maps, tile))
        .max();
    (cut, [panel.unwrap_or(0), cut.block * tile * columns])
}

/// Sorts the weight `[K, C/G, R, S]` by parts of x and channels of x.
fn pack(
    geometry: &Geometry,
    parts: &[Part],
    weight: &[f32],
    packed: &mut [f32],
    workers: &Workers,
) {
    let Geometry {
        groups,
        channels,
        maps,
        kernel,
        ..
    } = *geometry;
    let mut rest = packed;
    for part in parts {
        let [rows, columns] = part.phases;
        let row = |r: usize| columns.taps().map(move |s| r * kernel[1] + s);
        let taps: Vec<usize> = rows.taps().flat_map(row).collect();
        let length = maps * taps.len();
        let (own, after) = rest.split_at_mut(length * groups * channels);
        rest = after;
        if length == 0 {
            continue;
        }
        // Some channels at a time: their windows are neighbours in the weight.
        workers.each_chunk(own, length * PACKED, |chunk, rows| {
            for k in 0..maps {
                for (i, row) in rows.chunks_exact_mut(length).enumerate() {
                    let (group, c) = (
                        (chunk * PACKED + i) / channels,
                        (chunk * PACKED + i) % channels,
                    );
                    let start = ((group * maps + k) * channels + c) * geometry.taps();
                    let window = &weight[start..start + geometry.taps()];
                    let to = &mut row[k * taps.len()..(k + 1) * taps.len()];
                    to.iter_mut()
                        .zip(&taps)
                        .for_each(|(to, &tap)| *to = window[tap]);
                }
            }
        });
    }
}

impl Op for Conv2dInputGrad {
    const NAME: &'static str = "conv2d_input_grad";
    const INPUTS: &'static [&'static str] = &["output_grad", "weight"];
    const HALVES: Halves = Halves::ALWAYS;

    fn attributes(&self) -> Attributes {
        self.conv
            .attributes()
            .with("input_size", self.input_size.as_slice())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            conv: Conv2d::from_attributes(attributes)?,
            input_size: attributes.pair("input_size", [1; 2])?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [output_grad, weight] = expect_reals(Self::NAME, inputs)?;
        Ok(vec![Spec::real(self.geometry(output_grad, weight)?.x()?)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(x) = output_grads[0] else {
            return Ok(vec![None, None]);
        };
        let (output_grad, weight) = (call.inputs[0], call.inputs[1]);
        let kernel = weight.shape();
        Ok(vec![
            Some(super::conv2d(x, weight, self.conv)?),
            Some(super::conv2d_weight_grad(
                x,
                output_grad,
                self.conv,
                [kernel[2], kernel[3]],
            )?),
        ])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let geometry = self.known(inputs);
        let Geometry {
            groups,
            channels,
            maps,
            input,
            kernel,
            output,
            ..
        } = geometry;
        let (output_grad, weight) = (inputs[0].real(), inputs[1].real());
        let winograd = Winograd::new(&geometry).map(|winograd| winograd.input_grad());
        for (x_grad, index) in outputs[0].real().iter_mut().zip(range) {
            let (w, h) = (index % input[1], index / input[1] % input[0]);
            let plane = index / (input[0] * input[1]);
            let (n, group, c) = (
                plane / (groups * channels),
                plane / channels % groups,
                plane % channels,
            );
            let mut sum = R::sum(maps * geometry.taps());
            for k in group * maps..(group + 1) * maps {
                for r in 0..kernel[0] {
                    let Some(i) = geometry.seen_from(0, h, r) else {
                        continue;
                    };
                    for s in 0..kernel[1] {
                        let Some(j) = geometry.seen_from(1, w, s) else {
                            continue;
                        };
                        let tap = ((k * channels + c) * kernel[0] + r) * kernel[1] + s;
                        let position = ((n * groups * maps + k) * output[0] + i) * output[1] + j;
                        sum.add(output_grad[position] * weight[tap]);
                    }
                }
            }
            *x_grad = sum.total();
            if let Some(winograd) = winograd {
                let at = [n, plane % (groups * channels), h, w];
                *x_grad = x_grad.or_within(|| winograd.error([output_grad, weight], at));
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
        if let Some(winograd) = Winograd::new(&geometry) {
            let [memory, windows] = scratch else {
                unreachable!("two buffers")
            };
            let operands = [inputs[0].real(), &**windows];
            let x_grad = outputs[0].real();
            return winograd.input_grad().convolve(
                operands,
                Epilogue::none(),
                x_grad,
                memory,
                workers,
            );
        }
        let parts = parts(&geometry);
        let (cut, [panel, _]) = cut(&geometry, &parts);
        let [memory, packed] = scratch else {
            unreachable!("two buffers")
        };
        if !are_all(&geometry, &parts) {
            outputs[0].real().fill(0.0);
        }
        pack(&geometry, &parts, inputs[1].real(), packed, workers);
        let (output_grad, weights) = (inputs[0].real(), &**packed);
        workers.each_with_panel(
            memory,
            cut.pieces(outputs[0].real()),
            #[inline(always)]
            |mut piece, memory| {
                let (panel, sums) = memory.split_at_mut(panel);
                for part in &parts {
                    let (width, depth) = (
                        piece.units.len() * part.unfold.grid[1],
                        maps * part.unfold.taps.len(),
                    );
                    let mut done = piece.planes.start;
                    while done < piece.planes.end {
                        let group = done / channels;
                        let next = ((group + 1) * channels).min(piece.planes.end);
                        let planes = Planes {
                            elements: output_grad,
                            all: groups * maps,
                            first: group * maps,
                            count: maps,
                        };
                        let weights = (
                            next - done,
                            Matrix::rows(&weights[part.weights + done * depth..], depth),
                        );
                        let sums = &mut sums[(done - piece.planes.start) * width..];
                        let mut sums = MatrixMut::rows(sums, width);
                        part.unfold.multiply(
                            weights,
                            planes,
                            piece.units.clone(),
                            panel,
                            &mut sums,
                        );
                        done = next;
                    }
                    piece.write(&cut, part.remainders, sums);
                }
            },
        );
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        match (target, self.geometry(inputs[0].shape, inputs[1].shape)) {
            (Target::Cpu { threads }, Ok(geometry)) => {
                if let Some(winograd) = Winograd::new(&geometry) {
                    return vec![winograd.input_grad().scratch(*threads)];
                }
                let panel: usize = cut(&geometry, &parts(&geometry)).1.iter().sum();
                vec![threads * panel, inputs[1].shape.elements()]
            }
            (Target::Gpu(limits), _) => {
                let launches = self.launches(inputs, limits).unwrap_or_default();
                scales_scratch(&launches).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn kept(&self, inputs: &[Spec]) -> Option<Kept> {
        let geometry = self.geometry(inputs[0].shape, inputs[1].shape).ok()?;
        let winograd = Winograd::new(&geometry)?.input_grad();
        Some(Kept {
            input: 1,
            length: winograd.windows(),
        })
    }

    fn keep(&self, inputs: &[View<f32>], kept: &mut [f32], workers: &Workers) {
        if let Some(winograd) = Winograd::new(&self.known(inputs)) {
            let winograd = winograd.input_grad();
            winograd.transform(inputs[1].real(), kept, workers);
        }
    }

    fn launches(&self, inputs: &[Spec], limits: &Limits) -> Result<Vec<Launch>> {
        let geometry = self.geometry(inputs[0].shape, inputs[1].shape)?;
        let Geometry {
            images,
            groups,
            channels,
            maps,
            ..
        } = geometry;
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        if geometry.is_direct() {
            let quads = (geometry.input[0] * geometry.input[1]).div_ceil(4);
            let launch = geometry.describe(Launch::new(&DIRECT, bindings));
            return Ok(vec![
                launch.elements(images * groups * channels * quads, WORKGROUP),
            ]);
        }
        let describe = |geometry: &Geometry, [height, width]: [usize; 2]| {
            let size = [channels, images * height * width];
            let launch = geometry.describe(Launch::new(&SHADER, bindings));
            let tile = limits.tiling.tile(groups, size);
            tile.cover(launch, groups, size)
                .constant("QUADS", geometry.quads())
        };
        let launch = |part: &Part| {
            let [rows, columns] = part.phases;
            let [height, width] = part.unfold.grid;
            let size = [channels, images * height * width];
            let depth = maps * rows.count * columns.count;
            describe(&geometry, part.unfold.grid)
                .by(limits.products(groups, size, depth))
                .words(&part.remainders)
                .words(&part.unfold.grid)
                .words(&[rows.first, columns.first, rows.step, columns.step])
                .words(&[
                    rows.offset as usize,
                    columns.offset as usize,
                    rows.shift,
                    columns.shift,
                ])
                .constant("TAPS_H", rows.count as f64)
                .constant("TAPS_W", columns.count as f64)
        };
        let parts = parts(&geometry);
        let mut launches = Vec::with_capacity(parts.len() + 1);
        if !are_all(&geometry, &parts) {
            // All of x as one phase that no tap sees.
            let conv = Conv2d {
                stride: [1; 2],
                ..self.conv
            };
            let whole = describe(&Geometry { conv, ..geometry }, geometry.input);
            let words = [
                0,
                0,
                geometry.input[0],
                geometry.input[1],
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ];
            launches.push(
                whole
                    .words(&words)
                    .constant("TAPS_H", 0.0)
                    .constant("TAPS_W", 0.0),
            );
        }
        launches.extend(parts.iter().map(launch));
        Ok(scaled(launches, inputs, [1, 0], 0))
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
            let (y, weight) = (geometry.y(), geometry.weight());
            let inputs = y.and_then(|y| Ok(vec![normal(y, 1), normal(weight?, 2)]));
            let op = Self {
                conv,
                input_size: geometry.input,
            };
            Case::new(about, op, inputs.unwrap_or_else(|e| unreachable!("{e}")))
        };
        cases.into_iter().map(case).collect()
    }
}
