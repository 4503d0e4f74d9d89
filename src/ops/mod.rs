//! The operations, a room each: a table of contents.
//!
//! # How to add an operation
//! 1. Write its room, `src/ops/<op>.rs`: the type with its attributes, [`Op`] for it (mathematics, shape rule, gradient
//!    rule, host formula, launches, cost, cases; [`Op::HALVES`] if mixed precision may store it as f16), and the function
//!    that records it.
//! 2. Write its shader, `shaders/<op>.wgsl`, and any further passes, `shaders/<op>.<pass>.wgsl`.
//! 3. Add it to the list below.
//!
//! Everything else follows from the list: conformance on every executor, gradient checks, the command line, the tables.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph::{
    AnyOp, Asked, Attribute, Attributes, Class, Limits, Link, Matrices, Op, Side, Tiling,
};
use std::collections::BTreeMap;
use std::sync::Arc;

mod support;

/// A room, its type forgotten.
#[derive(Clone, Copy)]
pub struct Room {
    /// The operation's name.
    pub name: &'static str,
    /// The names of its inputs; a last name ending in `…` stands for any number.
    pub inputs: &'static [&'static str],
    /// The text of the room: its documentation and its definition.
    pub text: &'static str,
    build: fn(&Attributes) -> Result<Arc<dyn AnyOp>>,
    cases: fn() -> Vec<RoomCase>,
}

/// A test case, its operation's type forgotten.
#[derive(Clone, Debug)]
pub struct RoomCase {
    /// What the case is about.
    pub about: &'static str,
    /// The operation with its attributes.
    pub op: Arc<dyn AnyOp>,
    /// Its inputs.
    pub inputs: Vec<Array>,
    /// How inputs follow from others; see [`Case::linked`](crate::graph::Case::linked).
    pub link: Option<Link>,
    /// Whether central differences know the derivative here; see
    /// [`Case::without_differences`](crate::graph::Case::without_differences).
    pub has_differences: bool,
}

impl Room {
    const fn of<O: Op>(text: &'static str) -> Self {
        Self {
            name: O::NAME,
            inputs: O::INPUTS,
            text,
            build: |attributes| Ok(Arc::new(O::from_attributes(attributes)?)),
            cases: || {
                let forget = |case: crate::graph::Case<O>| RoomCase {
                    about: case.about,
                    op: Arc::new(case.op),
                    inputs: case.inputs,
                    link: case.link,
                    has_differences: case.has_differences,
                };
                O::cases().into_iter().map(forget).collect()
            },
        }
    }

    /// The operation with the given attributes; those left out take their defaults.
    ///
    /// # Errors
    /// An attribute that the operation does not have, or of the wrong kind.
    pub fn build(&self, attributes: &Attributes) -> Result<Arc<dyn AnyOp>> {
        let op = (self.build)(attributes)?;
        let own: Vec<String> = attributes
            .asked()
            .into_iter()
            .map(|asked| asked.name)
            .collect();
        let stranger = |(name, _): &(&str, &Attribute)| own.iter().all(|own| own != name);
        match attributes.iter().find(stranger) {
            Some((name, _)) => Err(Error::input(format!(
                "{} has no attribute {name:?}; it has: {}",
                self.name,
                if own.is_empty() {
                    "none".into()
                } else {
                    own.join(", ")
                }
            ))),
            None => Ok(op),
        }
    }

    /// The attributes that the operation has, with their types and defaults.
    pub fn attributes(&self) -> Vec<Asked> {
        let none = Attributes::none();
        // An operation without a sensible default may refuse; it has asked all the same.
        (self.build)(&none).ok();
        none.asked()
    }

    /// A paragraph of the room's documentation, in one line, by its title: `Definition`, `Shape`, `Gradient`, `Numerics`,
    /// `Cost`, `Reference`; an empty title stands for the sentence that opens it.
    pub fn section(&self, title: &str) -> String {
        let head = format!("**{title}.** ");
        let documentation = self.text.lines().map_while(|line| line.strip_prefix("//!"));
        let lines: Vec<&str> = documentation.map(str::trim).collect();
        lines
            .split(|line| line.is_empty())
            .map(|paragraph| paragraph.join(" "))
            .find_map(|paragraph| match title {
                "" => Some(paragraph),
                _ => paragraph.strip_prefix(&head).map(str::to_string),
            })
            .unwrap_or_default()
    }

    /// The inputs worth checking.
    pub fn cases(&self) -> Vec<RoomCase> {
        (self.cases)()
    }
}

/// The room of this name.
///
/// # Errors
/// There is none.
pub fn room(name: &str) -> Result<&'static Room> {
    ROOMS.iter().find(|room| room.name == name).ok_or_else(|| {
        let names: Vec<_> = ROOMS.iter().map(|room| room.name).collect();
        Error::input(format!(
            "there is no operation {name:?}; there are: {}",
            names.join(", ")
        ))
    })
}

/// The whole text of every shader that a room launches in any of its cases, on devices small and large, in full precision and
/// in half, by [`Launch::name`](crate::graph::Launch::name).
pub fn shaders() -> BTreeMap<String, String> {
    let mut shaders = BTreeMap::new();
    for case in ROOMS.iter().flat_map(Room::cases) {
        let inputs: Vec<_> = case.inputs.iter().map(Array::spec).collect();
        for &storage in case.op.halves().storages() {
            for limits in devices() {
                let launches = case.op.launches(&inputs, &limits.storing(storage));
                for launch in launches.into_iter().flatten() {
                    let launch = launch.stored(storage);
                    let text = shaders.entry(launch.name());
                    text.or_insert_with(|| launch.source());
                }
            }
        }
    }
    shaders
}

/// A device that offers what every one does, a large one, and large ones whose matrices multiply whatever they can.
fn devices() -> Vec<Limits> {
    let large = Limits {
        binding_bytes: 4 << 30,
        storage_buffers: 32,
        invocations: 1024,
        workgroup_bytes: 64 << 10,
        tiling: Class::Discrete.tiling(),
        ..Limits::default()
    };
    let with = |side| Limits {
        matrices: Some(Matrices { side, subgroup: 32 }),
        tiling: Tiling {
            worthwhile: 0,
            ..large.tiling
        },
        ..large
    };
    vec![
        Limits::default(),
        large,
        with(Side::Eight),
        with(Side::Sixteen),
    ]
}

macro_rules! rooms {
    ($($file:ident: $op:ident => $($function:ident),*;)*) => {
        $(mod $file; pub use $file::{$op, $($function),*};)*

        /// All operations, in alphabetical order.
        pub const ROOMS: &[Room] = &[$(Room::of::<$op>(include_str!(concat!(stringify!($file), ".rs")))),*];
    };
}

rooms! {
    accumulate_square_sum: AccumulateSquareSum => accumulate_square_sum;
    adamw: AdamW => adamw;
    add: Add => add;
    arg_max: ArgMax => arg_max;
    asymmetric_loss: AsymmetricLoss => asymmetric_loss;
    asymmetric_loss_grad: AsymmetricLossGrad => asymmetric_loss_grad;
    attention: Attention => attention, ScoreMap;
    attention_grad: AttentionGrad => attention_grad;
    attention_weights: AttentionWeights => attention_weights;
    avg_pool2d: AvgPool2d => avg_pool2d, CountIncludePad;
    avg_pool2d_grad: AvgPool2dGrad => avg_pool2d_grad;
    batch_norm: BatchNorm => batch_norm, batch_norm_add_relu, batch_norm_relu, NormActivation, Statistics;
    batch_norm_affine_grad: BatchNormAffineGrad => batch_norm_affine_grad;
    batch_norm_fold: BatchNormFold => batch_norm_fold;
    batch_norm_input_grad: BatchNormInputGrad => batch_norm_input_grad;
    batch_statistics: BatchStatistics => batch_statistics;
    batch_statistics_grad: BatchStatisticsGrad => batch_statistics_grad;
    bce_with_logits: BceWithLogits => bce_with_logits;
    bce_with_logits_grad: BceWithLogitsGrad => bce_with_logits_grad;
    broadcast: Broadcast => broadcast;
    clamp: Clamp => clamp;
    clamp_grad: ClampGrad => clamp_grad;
    clip_factor: ClipFactor => clip_factor;
    concat: Concat => concat;
    conv2d: Convolution => conv2d, conv2d_bias, with_winograd, Activation, Conv2d, WinogradTile;
    conv2d_input_grad: Conv2dInputGrad => conv2d_input_grad;
    conv2d_weight_grad: Conv2dWeightGrad => conv2d_weight_grad;
    cross_entropy: CrossEntropy => cross_entropy;
    cross_entropy_grad: CrossEntropyGrad => cross_entropy_grad;
    div: Div => div;
    dropout: Dropout => dropout, Noise;
    ema: Ema => ema;
    exp: Exp => exp;
    fill: Fill => fill;
    focal_loss: FocalLoss => focal_loss;
    focal_loss_grad: FocalLossGrad => focal_loss_grad;
    gather: Gather => gather;
    gather_grad: GatherGrad => gather_grad;
    gelu: Gelu => gelu;
    gelu_grad: GeluGrad => gelu_grad;
    js_divergence: JsDivergence => js_divergence;
    js_divergence_grad: JsDivergenceGrad => js_divergence_grad;
    kl_divergence: KlDivergence => kl_divergence;
    kl_divergence_grad: KlDivergenceGrad => kl_divergence_grad;
    layer_norm: LayerNorm => layer_norm;
    layer_norm_affine_grad: LayerNormAffineGrad => layer_norm_affine_grad;
    layer_norm_grad: LayerNormGrad => layer_norm_grad;
    log: Log => log;
    log_softmax: LogSoftmax => log_softmax;
    log_softmax_grad: LogSoftmaxGrad => log_softmax_grad;
    loss_scale_update: LossScaleUpdate => loss_scale_update;
    masked_mean: MaskedMean => masked_mean;
    masked_mean_grad: MaskedMeanGrad => masked_mean_grad;
    matmul: Matmul => matmul, linear, Transpose;
    max: Max => max;
    max_grad: MaxGrad => max_grad;
    max_pool2d: MaxPool2d => max_pool2d, CeilMode, Pooling;
    max_pool2d_grad: MaxPool2dGrad => max_pool2d_grad;
    maximum: Maximum => maximum;
    maximum_grad: MaximumGrad => maximum_grad;
    mean: Mean => mean;
    mul: Mul => mul;
    not_equal: NotEqual => not_equal;
    pad: Pad => pad;
    relu: Relu => relu;
    relu_grad: ReluGrad => relu_grad;
    reshape: Reshape => reshape;
    resize: Resize => resize, AlignCorners, Interpolation;
    resize_grad: ResizeGrad => resize_grad;
    running_update: RunningUpdate => running_update;
    select: Select => select;
    sgd: Sgd => sgd, Nesterov;
    sigmoid: Sigmoid => sigmoid;
    sigmoid_grad: SigmoidGrad => sigmoid_grad;
    silu: Silu => silu;
    silu_grad: SiluGrad => silu_grad;
    slice: Slice => slice;
    softmax: Softmax => softmax;
    softmax_grad: SoftmaxGrad => softmax_grad;
    softmax_js_divergence: SoftmaxJsDivergence => softmax_js_divergence;
    softmax_js_divergence_grad: SoftmaxJsDivergenceGrad => softmax_js_divergence_grad;
    softmax_kl_divergence: SoftmaxKlDivergence => softmax_kl_divergence;
    softmax_kl_divergence_grad: SoftmaxKlDivergenceGrad => softmax_kl_divergence_grad;
    sqrt: Sqrt => sqrt;
    stop_gradient: StopGradient => stop_gradient;
    sub: Sub => sub;
    sum: Sum => sum;
    tanh: Tanh => tanh;
    tanh_grad: TanhGrad => tanh_grad;
    transpose: Transposition => transpose;
}
