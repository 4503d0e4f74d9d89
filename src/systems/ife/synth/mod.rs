//! Synthetic gels: images of immunofixation electrophoresis that no patient stands behind, with exact labels.
//!
//! A gel is made as nature, laboratory and scanner make it, in this order:
//!
//! 1. `style`, `laboratory` — one laboratory and one scan: geometry, print, stain, paper, optics, file ([`Style`]).
//! 2. `serum` — one patient: which proteins lie where in the six lanes. Only here is the class put in.
//! 3. `band`, `layout` — densities of all bands of a lane add up along the migration axis and across the lane; lanes are
//!    shifted, bent, tilted and rotated.
//! 4. `letters`, `print` — letters and digits of our own strokes, frames, marks, dust.
//! 5. `scan` — density to colour by Beer–Lambert with the stain's spectrum and the scanner's ceiling, then paper, blur,
//!    noise, and a real JPEG encoder.
//!
//! Every gel is a pure function of (seed, index): no number of threads and no order of work changes it. Exponentials are
//! those of the platform's mathematics library, so that another platform may differ in last bits, and so in single
//! grey values.

mod band;
mod chance;
mod dataset;
mod laboratory;
mod layout;
mod letters;
mod plane;
mod print;
mod scan;
mod serum;
mod step;
mod style;
#[cfg(test)]
mod tests;

pub use dataset::write_dataset;
pub use step::step_inputs;
pub use style::Style;

use crate::data::gel_table::CLASSES;
use crate::error::{Error, Result};
use crate::rng::Stream;
use image::RgbImage;
use layout::Layout;
use serum::Serum;

/// Lanes by index; G, A, M are 1, 2, 3, as their labels are.
const ELP: usize = 0;
const KAPPA: usize = 4;
const LAMBDA: usize = 5;

/// How often each class is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// As in 14,540 clinical gels: 10,500 Negative, 63 of the rarest class, IgM-λ.
    ///
    /// Known are the total, the number of the rarest and the ratio of the extremes, 0.006. The numbers of the other
    /// seven classes follow what laboratories usually find: IgG-κ is the most frequent, then IgG-λ.
    Real,
    /// All nine equally often.
    Even,
}

impl Balance {
    /// Relative frequencies by class.
    fn weights(self) -> [f32; CLASSES.len()] {
        match self {
            Self::Real => [
                10_500.0, 85.0, 112.0, 1_560.0, 1_060.0, 450.0, 460.0, 250.0, 63.0,
            ],
            Self::Even => [1.0; CLASSES.len()],
        }
    }
}

/// One synthetic gel.
#[derive(Clone, Debug)]
pub struct Sample {
    /// An index into [`CLASSES`].
    pub class: usize,
    /// The image as it is decoded from [`jpeg_bytes`](Self::jpeg_bytes).
    pub image: RgbImage,
    /// The image as a file.
    pub jpeg_bytes: Vec<u8>,
}

/// The gel of a seed at an index, of a class drawn with the given balance.
///
/// # Errors
/// The JPEG encoder fails.
pub fn sample(seed: u64, index: u64, balance: Balance) -> Result<Sample> {
    let mut stream = stream_of(seed, index);
    let class = drawn_class(&mut stream, balance);
    render(class, &mut stream)
}

fn stream_of(seed: u64, index: u64) -> Stream {
    Stream::new(seed, "synthetic gel", index, 0)
}

fn drawn_class(stream: &mut Stream, balance: Balance) -> usize {
    chance::weighted(stream, &balance.weights())
}

/// A gel of a class, in a style drawn from the stream.
///
/// # Errors
/// The class is not one of the nine, or the JPEG encoder fails.
pub fn render(class: usize, stream: &mut Stream) -> Result<Sample> {
    let style = Style::draw(stream);
    render_in(&style, class, stream)
}

/// A gel of a class in a given style.
///
/// # Errors
/// The class is not one of the nine, or the JPEG encoder fails.
pub fn render_in(style: &Style, class: usize, stream: &mut Stream) -> Result<Sample> {
    if class >= CLASSES.len() {
        return Err(Error::input(format!(
            "there is no class {class}: immunofixation has the classes 0 to {}",
            CLASSES.len() - 1
        )));
    }
    let layout = Layout::draw(style, stream);
    let serum = Serum::draw(class, style, stream);
    let neighbour = Serum::draw(
        chance::weighted(stream, &Balance::Real.weights()),
        style,
        stream,
    );
    let stain = scan::stain(style, &layout, [&serum, &neighbour], stream);
    let ink = print::ink(style, &layout, stream);
    let clean = scan::scan(style, &stain, &ink, stream);
    let (image, jpeg_bytes) = scan::compressed(clean, &style.scan.qualities)?;
    Ok(Sample {
        class,
        image,
        jpeg_bytes,
    })
}
