//! Numbers dropped by chance, the others enlarged to make up for it: dropout and stochastic depth.
//!
//! **Definition.** y = 0 with probability p, else x / (1 − p). The draw number r is that of the words of a stream of chance
//! (`rng`): it drops if the upper 24 bits of the word number r of the stream (key, `stream`) are below p · 2²⁴, rounded. Every
//! element has a draw of its own (`noise=element`), or all elements of a channel share one (`channel`: the axes after the
//! second), of a sample (`row`: those after the first), or of everything (`batch`); draws are numbered in row-major order.
//!
//! **Shape.** y has that of x; key `[2]` (indices) is `rng::stream_key` of the seed, a purpose and the step. The attribute
//! `stream` tells apart the layers of one step. The same key and stream give the same draws, on every executor.
//!
//! **Gradient.** ∂L/∂x is the same operation on ∂L/∂y: what was dropped is drawn again, not stored.
//!
//! **Numerics.** The draws are exact; what is kept has one rounding, 1 / (1 − p) another. A dropped NaN has no influence. Where
//! p = 1 nothing is kept.
//!
//! **Cost.** One multiplication an element, and the ten rounds of a block of four random words for four draws.
//!
//! **Reference.** N. Srivastava et al., "Dropout", 2014; G. Huang et al., "Deep networks with stochastic depth", 2016;
//! `torch.nn.functional.dropout`, `torch.nn.functional.dropout2d` (`channel`), `torchvision.ops.stochastic_depth` (`row`,
//! `batch`). The draws are not those of PyTorch.

use super::support::{WORKGROUP, array, normal};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Attributes, Binding, Call, Case, Cost, Halves, Launch, Limits, Op, Shader, Tensor, View,
    ViewMut, expect_index, expect_inputs, expect_reals, library,
};
use crate::real::Real;
use crate::rng::{philox, philox_side_by_side, stream_counter, stream_key};
use crate::shape::Shape;
use crate::workers::Workers;
use std::ops::Range;

static SHADER: Shader = Shader {
    name: "dropout",
    text: include_str!("../../shaders/dropout.wgsl"),
    uses: &[library::STORE, library::INDEX, library::PHILOX],
};

/// What shares a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Noise {
    /// Nothing: every element has its own.
    Element,
    /// The elements of a channel of a sample.
    Channel,
    /// The elements of a sample.
    Row,
    /// Everything.
    Batch,
}

impl Noise {
    const WORDS: [(&'static str, Noise); 4] = [
        ("element", Noise::Element),
        ("channel", Noise::Channel),
        ("row", Noise::Row),
        ("batch", Noise::Batch),
    ];

    fn word(self) -> &'static str {
        match self {
            Noise::Element => "element",
            Noise::Channel => "channel",
            Noise::Row => "row",
            Noise::Batch => "batch",
        }
    }

    /// How many of the outer axes tell draws apart; `None` means all axes.
    fn outer_axes(self) -> Option<usize> {
        match self {
            Noise::Element => None,
            Noise::Channel => Some(2),
            Noise::Row => Some(1),
            Noise::Batch => Some(0),
        }
    }
}

/// Dropout, see the room's documentation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability of being dropped.
    pub p: f64,
    /// What shares a draw.
    pub noise: Noise,
    /// The stream of chance within the key.
    pub stream: usize,
}

/// x with numbers dropped by chance, drawn from the stream of `settings` under `key` `[2]`.
///
/// ```
/// # use axenic::{eval, ops::{self, Dropout, Noise}, rng};
/// let [y] = eval(|r| {
///     let key = r.constant(rng::stream_key(42, "dropout", 0));
///     let settings = Dropout { p: 0.5, noise: Noise::Element, stream: 3 };
///     Ok([ops::dropout(r.constant([1.0; 8]), key, settings)?])
/// })?;
/// assert!(y.to_f64().iter().all(|&y| y == 0.0 || y == 2.0));
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// p is not between 0 and 1, x lacks the axes that tell draws apart, or the key is no pair of indices.
#[track_caller]
pub fn dropout<'g>(x: Tensor<'g>, key: Tensor<'g>, settings: Dropout) -> Result<Tensor<'g>> {
    x.recorder().apply_one(settings, &[x, key])
}

/// The random words that the host draws at once.
const BLOCKS: usize = 16;

impl Dropout {
    /// How many neighbours share a draw.
    fn run(&self, shape: Shape) -> usize {
        let axes = self.noise.outer_axes().unwrap_or(shape.len());
        shape[axes..].iter().product::<usize>().max(1)
    }

    /// What the upper 24 bits of a word must reach for an element to be kept.
    fn threshold(&self) -> u32 {
        (self.p * f64::from(1 << 24)).round() as u32
    }

    /// What the kept are multiplied by.
    fn scale(&self) -> f64 {
        if self.p < 1.0 {
            1.0 / (1.0 - self.p)
        } else {
            0.0
        }
    }

    fn keeps(&self, word: u32) -> bool {
        word >> 8 >= self.threshold()
    }

    /// Whether the draw number `draw` keeps.
    fn draw(&self, key: [u32; 2], draw: usize) -> bool {
        let block = philox(stream_counter(draw as u64 / 4, self.stream as u64), key);
        self.keeps(block[draw % 4])
    }

    /// Where every element has a draw: y from x, whose first element is number `first`, a multiple of four.
    fn drop_elements(&self, key: [u32; 2], first: usize, x: &[f32], y: &mut [f32]) {
        let scale = self.scale() as f32;
        let threshold = self.threshold();
        let pieces = y.chunks_mut(4 * BLOCKS).zip(x.chunks(4 * BLOCKS));
        for (piece, (y, x)) in pieces.enumerate() {
            let block = (first / 4 + piece * BLOCKS) as u64;
            let counters: [_; BLOCKS] =
                std::array::from_fn(|i| stream_counter(block + i as u64, self.stream as u64));
            let words = std::array::from_fn(|word| counters.map(|counter| counter[word]));
            let words = philox_side_by_side(words, key);
            for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
                let kept = words[i % 4][i / 4] >> 8 >= threshold;
                *y = if kept { x * scale } else { 0.0 };
            }
        }
    }
}

fn key_of<R: Real>(key: &View<R>) -> [u32; 2] {
    let key = key.index();
    [key[0], key[1]]
}

impl Op for Dropout {
    const NAME: &'static str = "dropout";
    const INPUTS: &'static [&'static str] = &["x", "key"];
    const HALVES: Halves = Halves::FOLLOWS;

    fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("p", self.p)
            .with("noise", self.noise.word())
            .with("stream", self.stream)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self> {
        Ok(Self {
            p: attributes.float("p", 0.5)?,
            noise: attributes.choice("noise", Noise::Element, &Noise::WORDS)?,
            stream: attributes.int("stream", 0)?,
        })
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [x, key] = expect_inputs(Self::NAME, inputs)?;
        let [x] = expect_reals(Self::NAME, &[x])?;
        let key = expect_index(Self::NAME, "key", key)?;
        if *key != [2] {
            return Err(Error::shape(format!(
                "dropout: the key must be two indices, got {key}"
            )));
        }
        if !(0.0..=1.0).contains(&self.p) {
            return Err(Error::shape(format!(
                "dropout: p must lie between 0 and 1, got {}",
                self.p
            )));
        }
        if self.noise.outer_axes() > Some(x.len()) {
            return Err(Error::shape(format!(
                "dropout: {x} has too few axes for noise={}",
                self.noise.word()
            )));
        }
        Ok(vec![Spec::real(x)])
    }

    fn vjp<'g>(
        &self,
        call: &Call<'g>,
        output_grads: &[Option<Tensor<'g>>],
    ) -> Result<Vec<Option<Tensor<'g>>>> {
        let back = |grad| dropout(grad, call.inputs[1], *self);
        Ok(vec![output_grads[0].map(back).transpose()?, None])
    }

    fn eval<R: Real>(&self, inputs: &[View<R>], outputs: &mut [ViewMut<R>], range: Range<usize>) {
        let (run, key) = (self.run(inputs[0].shape), key_of(&inputs[1]));
        let scale = R::constant(self.scale());
        let x = &inputs[0].real()[range.clone()];
        for ((y, &x), i) in outputs[0].real().iter_mut().zip(x).zip(range) {
            *y = if self.draw(key, i / run) {
                x * scale
            } else {
                R::ZERO
            };
        }
    }

    fn eval_cpu(
        &self,
        inputs: &[View<f32>],
        outputs: &mut [ViewMut<f32>],
        _scratch: &mut [&mut [f32]],
        workers: &Workers,
    ) {
        const CHUNK: usize = 256 * BLOCKS;
        let (run, key) = (self.run(inputs[0].shape), key_of(&inputs[1]));
        let (x, scale) = (inputs[0].real(), self.scale() as f32);
        if run == 1 {
            return workers.each_chunk(
                outputs[0].real(),
                CHUNK,
                #[inline(always)]
                |i, y| {
                    self.drop_elements(key, i * CHUNK, &x[i * CHUNK..], y);
                },
            );
        }
        let runs = (CHUNK / run).max(1);
        workers.each_chunk(
            outputs[0].real(),
            runs * run,
            #[inline(always)]
            |i, y| {
                let x = x[i * runs * run..].chunks(run);
                for (draw, (y, x)) in (i * runs..).zip(y.chunks_mut(run).zip(x)) {
                    if self.draw(key, draw) {
                        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * scale);
                    } else {
                        y.fill(0.0);
                    }
                }
            },
        );
    }

    fn launches(&self, inputs: &[Spec], _limits: &Limits) -> Result<Vec<Launch>> {
        let (count, run) = (inputs[0].shape.elements(), self.run(inputs[0].shape));
        let stream = [self.stream & 0xffff_ffff, self.stream >> 32];
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output(0)];
        let launch = Launch::new(&SHADER, bindings).words(&[count, run]);
        let launch = launch.words(&stream).word(self.threshold() as usize);
        Ok(vec![
            launch
                .float(self.scale())
                .elements(count.div_ceil(4), WORKGROUP),
        ])
    }

    fn cost(&self, inputs: &[Spec]) -> Cost {
        Cost::new(inputs[0].shape.elements(), inputs, &inputs[..1])
    }

    fn cases() -> Vec<Case<Self>> {
        use Noise::{Batch, Channel, Element, Row};
        let key = |step: u64| -> Array {
            let key = stream_key(0x0123_4567_89ab_cdef, "case", step);
            array([2].into(), key.to_vec())
        };
        // The first word of the stream lies on the threshold itself: it keeps.
        let first = philox(
            stream_counter(0, 6),
            stream_key(0x0123_4567_89ab_cdef, "case", 3),
        );
        let exactly = f64::from(first[0] >> 8) / f64::from(1 << 24);
        let late = usize::try_from(0xfedc_ba98_7654_3210_u64).unwrap_or(usize::MAX);
        let rows: [(&'static str, f64, Noise, usize, Shape); 20] = [
            ("half of the elements", 0.5, Element, 0, [3, 5, 7].into()),
            ("few of the elements", 0.1, Element, 1, [1009].into()),
            ("most of the elements", 0.93, Element, 2, [257].into()),
            ("none", 0.0, Element, 3, [67].into()),
            ("all", 1.0, Element, 4, [67].into()),
            (
                "all but one in four million",
                0.999_999_8,
                Element,
                5,
                [67].into(),
            ),
            ("a word on the threshold", exactly, Element, 6, [3].into()),
            ("a stream of many bits", 0.5, Element, late, [131].into()),
            ("scalar", 0.5, Element, 7, Shape::SCALAR),
            ("nothing", 0.5, Element, 8, [0, 3].into()),
            ("samples", 0.3, Row, 9, [37, 3, 2].into()),
            ("many samples of one element", 0.4, Row, 10, [521, 1].into()),
            ("empty samples", 0.4, Row, 11, [5, 0].into()),
            ("channels", 0.25, Channel, 12, [7, 11, 3, 5].into()),
            ("channels without pixels", 0.25, Channel, 13, [7, 11].into()),
            ("everything at once", 0.5, Batch, 14, [3, 5].into()),
            (
                "everything at once, a scalar",
                0.5,
                Batch,
                15,
                Shape::SCALAR,
            ),
            ("more than a workgroup", 0.5, Element, 16, [1025].into()),
            ("more than a piece", 0.2, Element, 17, [3, 4099].into()),
            ("more than 65,535 draws", 0.2, Row, 18, [65_539, 2].into()),
        ];
        let case = |(about, p, noise, stream, shape): (_, _, _, _, Shape)| {
            let op = Self { p, noise, stream };
            let seed = shape.elements() as u64;
            Case::new(about, op, vec![normal(shape, seed), key(seed)])
        };
        rows.into_iter().map(case).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn draws_are_the_words_of_the_stream() {
        let op = Dropout {
            p: 0.25,
            noise: Noise::Element,
            stream: 77,
        };
        let key = stream_key(5, "dropout", 9);
        let mut stream = Stream::new(5, "dropout", 9, 77);
        for draw in 0..1000 {
            assert_eq!(op.draw(key, draw), stream.word() >> 8 >= 1 << 22, "{draw}");
        }
    }

    #[test]
    fn as_many_are_dropped_as_the_probability_says() {
        for p in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let op = Dropout {
                p,
                noise: Noise::Element,
                stream: 1,
            };
            let (x, mut y) = (vec![1.0; 100_000], vec![0.0; 100_000]);
            op.drop_elements(stream_key(1, "share", 0), 0, &x, &mut y);
            let share = y.iter().filter(|y| **y == 0.0).count() as f64 / 1e5;
            assert!((share - p).abs() < 0.006, "{share} of {p}");
        }
    }
}
