//! The two-dimensional convolution (cross-correlation, as everywhere in deep learning).
//!
//! **Definition.** y[n, k, i, j] = Σ over c, r, s of x[n, c′, i·stride + r·dilation − padding, j·…] · weight[k, c, r, s],
//! where what lies outside of x contributes nothing, and c′ is channel c of the group that k belongs to; plus bias[k] and
//! residual[n, k, i, j] if there are such inputs; and the `activation` of that. A bias of two rows is factors and biases: the sum
//! times bias[0, k], plus bias[1, k]. That is how a normalisation by constants ends a convolution (`batch_norm_fold`).
//!
//! **Shape.** x [N, C, H, W], weight [K, C/groups, R, S], bias `[K]` or `[2, K]` and residual [N, K, H′, W′] give y [N, K, H′, W′]
//! with H′ = ⌊(H + 2·padding − dilation·(R − 1) − 1) / stride⌋ + 1, W′ alike.
//!
//! **Gradient.** With ∂L/∂s, the gradient of the sum: ∂L/∂x is its `conv2d_input_grad`, ∂L/∂weight its `conv2d_weight_grad`.
//! It is ∂L/∂y, times the factors if there are any. ∂L/∂bias is the sum of ∂L/∂y over all but its maps, that of factors the sum
//! of ∂L/∂y times the convolution, which is computed once more; ∂L/∂residual is ∂L/∂y. Before all of them comes the activation's:
//! `relu_grad`, or `gelu_grad`, for which what the activation saw is computed once more.
//!
//! **Numerics.** The C/groups·R·S products of one element are added in an order that depends on the executor.
//! Factors come last, then the bias, then the residual, each with a rounding of its own; the activation is as in its room.
//! On the host 3 × 3 windows of stride 1 go through Winograd's algorithm where it is faster, in tiles of 2 × 2 results, or of
//! 4 × 4 if so asked for ([`WinogradTile`]); then the bound is at least γ(C + 11), or γ(C + 27), times its equation over absolute
//! values, as `support/convolution/winograd.rs` derives.
//! On a device whose cooperative matrices multiply (tensor cores), sums of 64 terms or more have operands split in two
//! numbers of half precision, or in mixed precision are halves already; `src/graph/matrices.rs` derives what that costs.
//!
//! **Cost.** 2·N·K·H′·W′·C/groups·R·S operations, and a few for each element of y for what follows, where a piece of y is
//! computed. The host unfolds a few rows of x at a time into a panel in the cache and multiplies it; a device computes tiles of maps ×
//! positions and unfolds on the way, or where groups are small one position after the other.
//! At inference the host keeps the weight as Winograd's algorithm needs it, 16/9 of its size, or 4 times where tiles are 4 × 4.
//!
//! **Reference.** `torch.nn.functional.conv2d`; Chellapilla, Puri, Simard, *High Performance Convolutional Neural Networks
//! for Document Processing*, 2006.

use super::support::convolution::{Cut, Geometry, Planes, Winograd};
use super::support::epilogue::{self, Epilogue, Inputs};
use super::support::{WORKGROUP, normal, scaled, scales_scratch};
use super::{
    BatchNorm, BatchNormFold, Conv2dInputGrad, Conv2dWeightGrad, NormActivation, Statistics,
};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Follower, Graph, Halves, Joined, Kept, Launch, Limits,
    Op, Shader, Target, Tensor, View, ViewMut, library,
};
use crate::product::{Matrix, MatrixMut};
use crate::real::{Real, Sum as _};
use crate::shape::{KeepAxes, Shape};
use crate::workers::Workers;
use std::ops::Range;
use std::sync::Arc;

pub use super::support::convolution::{Conv2d, WinogradTile};
pub use super::support::epilogue::Activation;

static SHADER: Shader = Shader {
    name: "conv2d",
    text: include_str!("../../shaders/conv2d.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::NORMAL,
        library::EPILOGUE,
        library::TILE,
        library::TILE_LANES,
        library::CONVOLUTION,
    ],
};

static DIRECT: Shader = Shader {
    name: "conv2d.direct",
    text: include_str!("../../shaders/conv2d.direct.wgsl"),
    uses: &[
        library::STORE,
        library::INDEX,
        library::NORMAL,
        library::EPILOGUE,
        library::CONVOLUTION,
    ],
};

/// The operation: a convolution and what follows it in the same pass. See the room's documentation.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// How the window moves.
    pub conv: Conv2d,
    /// What is applied to each element at last.
    pub activation: Activation,
}

/// The convolution of x `[N, C, H, W]` with weight `[K, C/groups, R, S]`.
///
/// ```
/// # use axenic::{eval, ops::{self, Conv2d}};
/// let [y] = eval(|r| {
///     let (x, weight) = (r.constant([[[[1.0, 2.0, 3.0]]]]), r.constant([[[[10.0, 1.0]]]]));
///     Ok([ops::conv2d(x, weight, Conv2d::default())?])
/// })?;
/// assert_eq!(y, [[[[12.0, 23.0]]]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The channels do not fit, the window is larger than the padded input, or an attribute is out of range.
#[track_caller]
pub fn conv2d<'g>(x: Tensor<'g>, weight: Tensor<'g>, conv: Conv2d) -> Result<Tensor<'g>> {
    x.recorder().apply_one(Convolution::of(conv), &[x, weight])
}

/// The same plus bias `[K]`, in one pass over memory; or with a bias `[2, K]` times its first row and plus its second.
///
/// ```
/// # use axenic::{eval, ops::{self, Conv2d}};
/// let [y] = eval(|r| {
///     let (x, weight) = (r.constant([[[[1.0, 2.0, 3.0]]]]), r.constant([[[[10.0, 1.0]]]]));
///     Ok([ops::conv2d_bias(x, weight, r.constant([0.5]), Conv2d::default())?])
/// })?;
/// assert_eq!(y, [[[[12.5, 23.5]]]].into());
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// As [`conv2d`], or the bias is neither `[K]` nor `[2, K]`.
#[track_caller]
pub fn conv2d_bias<'g>(
    x: Tensor<'g>,
    weight: Tensor<'g>,
    bias: Tensor<'g>,
    conv: Conv2d,
) -> Result<Tensor<'g>> {
    x.recorder()
        .apply_one(Convolution::of(conv), &[x, weight, bias])
}

/// The graph with all its convolutions and their gradients in tiles of this size where the host computes them.
///
/// ```
/// # use axenic::{array::Spec, graph::Graph, ops::{self, Conv2d, WinogradTile}};
/// let graph = Graph::record(|r| {
///     let (x, weight) = (r.input("x", Spec::real([1, 16, 16, 16]))?, r.input("weight", Spec::real([16, 16, 3, 3]))?);
///     r.output("y", ops::conv2d(x, weight, Conv2d::default())?)
/// })?;
/// let graph = ops::with_winograd(&graph, WinogradTile::Four);
/// let attributes = graph.nodes()[2].op().map(|op| op.attributes().to_string());
/// assert!(attributes.is_some_and(|text| text.ends_with("winograd=4x4")));
/// # axenic::Result::Ok(())
/// ```
pub fn with_winograd(graph: &Graph, tile: WinogradTile) -> Graph {
    let tiled = |conv| Conv2d {
        winograd: tile,
        ..conv
    };
    graph.with_operations(|op| {
        let attributes = op.attributes();
        let replaced: Arc<dyn crate::graph::AnyOp> = match op.name() {
            Convolution::NAME => {
                let op = Convolution::from_attributes(&attributes).ok()?;
                let conv = tiled(op.conv);
                Arc::new(Convolution { conv, ..op })
            }
            Conv2dInputGrad::NAME => {
                let op = Conv2dInputGrad::from_attributes(&attributes).ok()?;
                let conv = tiled(op.conv);
                Arc::new(Conv2dInputGrad { conv, ..op })
            }
            Conv2dWeightGrad::NAME => {
                let op = Conv2dWeightGrad::from_attributes(&attributes).ok()?;
                let conv = tiled(op.conv);
                Arc::new(Conv2dWeightGrad { conv, ..op })
            }
            _ => return None,
        };
        Some(replaced)
    })
}

impl Convolution {
    /// Nothing but the convolution.
    fn of(conv: Conv2d) -> Self {
        Self {
            conv,
            activation: Activation::Identity,
        }
    }

    fn geometry(&self, x: Spec, weight: Spec) -> Result<Geometry> {
        Geometry::new(Self::NAME, &self.conv, x.shape, weight.shape)
    }

    /// If what follows is a normalisation by constants, whose factors and biases can follow the sums: its eps and its activation.
    fn folded(&self, inputs: &[Spec], next: &Follower) -> Option<(f64, Activation)> {
        let is_bare = inputs.len() == 2 && self.activation == Activation::Identity;
        if !is_bare || next.op.name() != BatchNorm::NAME || next.place != 0 {
            return None;
        }
        let norm = BatchNorm::from_attributes(&next.op.attributes()).ok()?;
        let activation = match norm.activation {
            NormActivation::Identity => Activation::Identity,
            NormActivation::Relu => Activation::Relu,
        };
        (norm.statistics == Statistics::Running).then_some((norm.eps, activation))
    }

    /// The geometry, where the shape rule has accepted it.
    fn known(&self, inputs: &[View<impl Real>]) -> Geometry {
        Geometry::new(Self::NAME, &self.conv, inputs[0].shape, inputs[1].shape)
            .unwrap_or_else(|e| unreachable!("{e}"))
    }
}

/// How the host cuts y, and the scratch memory of a worker: panel, then sums.
fn cut(geometry: &Geometry) -> (Cut, [usize; 2]) {
    let unfold = geometry.unfold();
    let tile = unfold.rows_per_tile();
    let cut = Cut::new(
        geometry.images,
        [geometry.groups, geometry.maps],
        geometry.output,
        [1, 1],
        tile,
    );
    let sums = cut.block * tile * geometry.output[1];
    (cut, [unfold.panels(geometry.channels, tile), sums])
}

impl Op for Convolution {
    const NAME: &'static str = "conv2d";
    const INPUTS: &'static [&'static str] = &["x", "weight", "bias, residual…"];
    const HALVES: Halves = Halves::ALWAYS;

    fn attributes(&self) -> Attributes {
        self.activation.describe(self.conv.attributes())
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            conv: Conv2d::from_attributes(attributes)?,
            activation: Activation::of(attributes)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let own = Inputs::expect(Self::NAME, inputs)?;
        let [x, weight] = own.operands;
        let geometry = Geometry::new(Self::NAME, &self.conv, x, weight)?;
        let maps = weight[0];
        let fits = |bias: &Shape| *bias == [maps].into() || *bias == [2, maps].into();
        if let Some(bias) = own.bias.filter(|bias| !fits(bias)) {
            return Err(Error::shape(format!(
                "conv2d: the bias is {bias}, the weight {weight} computes {maps} maps"
            )));
        }
        let y = geometry.y()?;
        own.expect_residual(Self::NAME, y)?;
        Ok(vec![Spec::real(y)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let Some(grad) = output_grads[0] else {
            return Ok(vec![None; call.inputs.len()]);
        };
        let plain = Self::of(self.conv);
        let grad = epilogue::vjp(call, plain, self.activation, grad)?;
        let (x, weight) = (call.inputs[0], call.inputs[1]);
        let (size, kernel) = (x.shape(), weight.shape());
        let by_map = |values| super::sum(values, &[0, 2, 3], KeepAxes::No);
        let (sum_grad, bias_grad) = match call.inputs.get(2) {
            None => (grad, None),
            Some(bias) if bias.shape().len() == 1 => (grad, Some(by_map(grad)?)),
            Some(both) => {
                let maps = both.shape()[1];
                let factors = super::slice(*both, 0, 0, 1)?;
                let factors = super::reshape(factors, [maps, 1, 1])?;
                let sums = grad.recorder().apply_one(plain, &[x, weight])?;
                let rows = [by_map(super::mul(grad, sums)?)?, by_map(grad)?];
                let rows = rows.map(|row| super::reshape(row, [1, maps]));
                let [of_factors, of_bias] = rows;
                let both_grad = super::concat(&[of_factors?, of_bias?], 0)?;
                (super::mul(grad, factors)?, Some(both_grad))
            }
        };
        let mut input_grads = vec![
            Some(super::conv2d_input_grad(
                sum_grad,
                weight,
                self.conv,
                [size[2], size[3]],
            )?),
            Some(super::conv2d_weight_grad(
                x,
                sum_grad,
                self.conv,
                [kernel[2], kernel[3]],
            )?),
        ];
        input_grads.extend(bias_grad.map(Some));
        input_grads.extend(call.inputs.iter().skip(3).map(|_| Some(grad)));
        Ok(input_grads)
    }

    fn followed_by(&self, inputs: &[Spec], next: &Follower) -> Option<Joined<Self>> {
        if let Some((eps, activation)) = self.folded(inputs, next) {
            return Some(Joined {
                op: Self {
                    activation,
                    ..*self
                },
                gather: Some((4, Arc::new(BatchNormFold { eps }))),
            });
        }
        let activation = epilogue::followed_by(inputs.len(), self.activation, next)?;
        Some(Joined::of(Self {
            activation,
            ..*self
        }))
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
        let (x, weight) = (inputs[0].real(), inputs[1].real());
        let epilogue = Epilogue::new(inputs, self.activation);
        let winograd = Winograd::new(&geometry);
        for (y, index) in outputs[0].real().iter_mut().zip(range) {
            let (j, i) = (index % output[1], index / output[1] % output[0]);
            let plane = index / (output[0] * output[1]);
            let (n, k) = (plane / (groups * maps), plane % (groups * maps));
            let mut sum = R::sum(channels * geometry.taps());
            for c in 0..channels {
                let x_plane = (n * groups + k / maps) * channels + c;
                for r in 0..kernel[0] {
                    let Some(row) = geometry.seen(0, i, r) else {
                        continue;
                    };
                    for s in 0..kernel[1] {
                        let Some(column) = geometry.seen(1, j, s) else {
                            continue;
                        };
                        let tap = ((k * channels + c) * kernel[0] + r) * kernel[1] + s;
                        sum.add(x[(x_plane * input[0] + row) * input[1] + column] * weight[tap]);
                    }
                }
            }
            *y = sum.total();
            if let Some(winograd) = winograd {
                *y = y.or_within(|| winograd.error([x, weight], [n, k, i, j]));
            }
            *y = epilogue.apply(*y, k, index);
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
        let epilogue = Epilogue::new(inputs, self.activation);
        if let Some(winograd) = Winograd::new(&geometry) {
            let [memory, windows] = scratch else {
                unreachable!("two buffers")
            };
            let operands = [inputs[0].real(), &**windows];
            return winograd.convolve(operands, epilogue, outputs[0].real(), memory, workers);
        }
        let (cut, [panel, _]) = cut(&geometry);
        let (unfold, depth) = (geometry.unfold(), channels * geometry.taps());
        let (x, weight) = (inputs[0].real(), inputs[1].real());
        let pieces = cut.pieces(outputs[0].real());
        workers.each_with_panel(
            scratch[0],
            pieces,
            #[inline(always)]
            |mut piece, memory| {
                let (panel, sums) = memory.split_at_mut(panel);
                let width = piece.units.len() * geometry.output[1];
                let mut done = piece.planes.start;
                // A block lies within one group, or takes whole groups.
                while done < piece.planes.end {
                    let group = done / maps;
                    let next = ((group + 1) * maps).min(piece.planes.end);
                    let planes = Planes {
                        elements: x,
                        all: groups * channels,
                        first: group * channels,
                        count: channels,
                    };
                    let weights = (next - done, Matrix::rows(&weight[done * depth..], depth));
                    let units = piece.units.clone();
                    let first = done - piece.planes.start;
                    // The rows of one image stand side by side in each of its planes.
                    let mut to = match piece.rows.len() == piece.planes.len() {
                        true => MatrixMut::Rows(&mut piece.rows[first..]),
                        false => MatrixMut::rows(&mut sums[first * width..], width),
                    };
                    unfold.multiply(weights, planes, units, panel, &mut to);
                    done = next;
                }
                if piece.rows.len() > piece.planes.len() {
                    piece.write(&cut, [0, 0], sums);
                }
                piece.finish(&cut, &epilogue);
            },
        );
    }

    fn scratch(&self, inputs: &[Spec], target: &Target) -> Vec<usize> {
        match (target, self.geometry(inputs[0], inputs[1])) {
            (Target::Cpu { threads }, Ok(geometry)) => Winograd::new(&geometry).map_or_else(
                || vec![threads * cut(&geometry).1.iter().sum::<usize>()],
                |winograd| vec![winograd.scratch(*threads)],
            ),
            (Target::Gpu(limits), _) => {
                let launches = self.launches(inputs, limits).unwrap_or_default();
                scales_scratch(&launches).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn kept(&self, inputs: &[Spec]) -> Option<Kept> {
        let geometry = self.geometry(inputs[0], inputs[1]).ok()?;
        let winograd = Winograd::new(&geometry)?;
        Some(Kept {
            input: 1,
            length: winograd.windows(),
        })
    }

    fn keep(&self, inputs: &[View<f32>], kept: &mut [f32], workers: &Workers) {
        if let Some(winograd) = Winograd::new(&self.known(inputs)) {
            winograd.transform(inputs[1].real(), kept, workers);
        }
    }

    fn launches(&self, inputs: &[Spec], limits: &Limits) -> Result<Vec<Launch>> {
        let geometry = self.geometry(inputs[0], inputs[1])?;
        let Geometry {
            images,
            groups,
            channels,
            maps,
            output,
            ..
        } = geometry;
        let [bias, residual] = epilogue::bindings(inputs);
        let mut bindings: Vec<_> = [0, 1, bias, residual].map(Binding::Input).into();
        bindings.push(Binding::Output(0));
        let positions = output[0] * output[1];
        if geometry.is_direct() {
            let quads = images * groups * maps * positions.div_ceil(4);
            let launch = geometry.describe(Launch::new(&DIRECT, bindings));
            let launch = epilogue::describe(launch, inputs, self.activation);
            return Ok(vec![launch.elements(quads, WORKGROUP)]);
        }
        let size = [maps, images * positions];
        let launch = geometry.describe(Launch::new(&SHADER, bindings));
        let launch = launch.constant("QUADS", geometry.quads());
        let launch = epilogue::describe(launch, inputs, self.activation);
        let launch = launch.by(limits.products(groups, size, channels * geometry.taps()));
        let launches = vec![limits.tiling.tile(groups, size).cover(launch, groups, size)];
        Ok(scaled(launches, inputs, [1, 0], 0))
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        let outputs = self.outputs(inputs).unwrap_or_default();
        let flops = self
            .geometry(inputs[0], inputs[1])
            .map_or(0, |geometry| geometry.flops());
        let results: usize = outputs.iter().map(|y| y.shape.elements()).sum();
        let each = epilogue::flops(inputs, self.activation);
        Cost::new(flops + each * results, inputs, &outputs)
    }

    fn cases() -> Vec<Case<Self>> {
        let cases = super::support::convolution::cases();
        let case = |(about, conv, geometry): (_, _, Geometry)| {
            let (x, weight) = (geometry.x(), geometry.weight());
            let inputs = x.and_then(|x| Ok(vec![normal(x, 1), normal(weight?, 2)]));
            Case::new(
                about,
                Self::of(conv),
                inputs.unwrap_or_else(|e| unreachable!("{e}")),
            )
        };
        let cases: Vec<_> = cases.into_iter().map(case).collect();
        let followed = |&(about, of, further, activation): &Followed| {
            let case = cases.iter().find(|case: &&Case<Self>| case.about == of);
            let case = case.unwrap_or_else(|| unreachable!("there is no case {of}"));
            let op = Self {
                activation,
                ..case.op
            };
            let mut inputs = case.inputs.clone();
            let y = op.geometry(inputs[0].spec(), inputs[1].spec());
            let y = y.and_then(|geometry| geometry.y());
            let y = y.unwrap_or_else(|e| unreachable!("{e}"));
            let all = [normal([y[1]], 3), normal(y, 4)];
            inputs.extend(all.into_iter().take(further));
            Case::new(about, op, inputs)
        };
        let with_factors = |mut case: Case<Self>| {
            let maps = case.inputs[1].shape()[0];
            case.inputs[2] = normal([2, maps], 5);
            case
        };
        let folded: Vec<_> = FOLDED.iter().map(followed).map(with_factors).collect();
        let followed: Vec<_> = FOLLOWED.iter().map(followed).collect();
        [cases, followed, folded].concat()
    }
}

/// What a case is about; the case of just the convolution; how many further inputs it has: bias, residual; the
/// activation.
type Followed = (&'static str, &'static str, usize, Activation);

#[rustfmt::skip]
const FOLLOWED: [Followed; 18] = [
    ("a stem and a bias", "a stem", 1, Activation::Identity),
    ("two groups and a bias", "two groups", 1, Activation::Identity),
    ("depthwise and a bias", "depthwise, half size", 1, Activation::Identity),
    ("groups over tiles and a bias", "groups over many tiles of maps", 1, Activation::Identity),
    ("long sums and a bias", "long sums over vectors", 1, Activation::Identity),
    ("no channels but a bias", "no channels", 1, Activation::Identity),
    ("no maps and no bias for them", "no maps", 1, Activation::Identity),
    ("no images but a bias", "no images", 1, Activation::Identity),
    ("by Winograd's algorithm, and a bias", "by Winograd's algorithm, many maps", 1, Activation::Identity),
    ("1 × 1, only rectified", "1 × 1", 0, Activation::Relu),
    ("depthwise, only GELU", "depthwise, half size", 0, Activation::Gelu),
    ("a stem, rectified", "a stem", 1, Activation::Relu),
    ("two groups and a residual", "two groups", 2, Activation::Identity),
    ("depthwise, a residual, rectified", "depthwise, half size", 2, Activation::Relu),
    ("groups over tiles, a residual, GELU", "groups over many tiles of maps", 2, Activation::Gelu),
    ("long sums, a residual, rectified", "long sums, half size", 2, Activation::Relu),
    ("no images but all that follows", "no images", 2, Activation::Gelu),
    ("by Winograd's algorithm, a residual, GELU", "by Winograd's algorithm, unequal padding", 2, Activation::Gelu),
];

/// The same, whose biases have factors before them.
#[rustfmt::skip]
const FOLDED: [Followed; 8] = [
    ("a stem, factors, rectified", "a stem", 1, Activation::Relu),
    ("two groups, factors and a residual", "two groups", 2, Activation::Identity),
    ("depthwise, factors", "depthwise, half size", 1, Activation::Identity),
    ("groups over tiles, factors, a residual, GELU", "groups over many tiles of maps", 2, Activation::Gelu),
    ("long sums, factors, a residual, rectified", "long sums, half size", 2, Activation::Relu),
    ("1 × 1 and factors", "1 × 1", 1, Activation::Identity),
    ("no maps and no factors for them", "no maps", 1, Activation::Identity),
    ("by Winograd's algorithm, factors, a residual, rectified", "by Winograd's algorithm, unequal padding", 2, Activation::Relu),
];
