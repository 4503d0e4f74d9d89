//! Horizontal attention over a gel: one weight per row of the network's map, drawn on the image it came from.

use crate::error::{Error, Result};

/// The lane of paper between the image and its strip, in pixels.
const GAP: usize = 2;
/// What the strip and the gap are made of: the off-white of gel paper.
const PAPER: u8 = 250;
/// How much of the tint the rows of lowest and highest attention get. Tinting multiplies, as a marker pen does, so
/// that bands stay darker than the paper around them at any strength.
const STRENGTH: (f32, f32) = (0.0, 0.75);

/// An image with its attention: the tinted gel at the left, a strip of bars with the values at the right.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionOverlay {
    /// RGB, [height, width, 3].
    pub pixels: Vec<u8>,
    /// The image's width, a gap, and the strip.
    pub width: usize,
    /// The image's height.
    pub height: usize,
    /// Lowest and highest attention: what no tint and full tint stand for. `None` if no value is finite.
    pub range: Option<(f32, f32)>,
}

/// Draws one attention map `[rows]` over an RGB image `pixels` [size, size, 3].
///
/// The map is interpolated linearly between the centres of its rows and scaled so that its own minimum gets no tint
/// and its maximum the full one; a map that is the same everywhere gets none. Values that are not finite count as
/// the minimum.
///
/// # Errors
/// The image or the map is empty, or the number of pixels does not fit `size`.
pub fn attention_overlay(pixels: &[u8], size: usize, map: &[f32]) -> Result<AttentionOverlay> {
    let expected = size.checked_mul(size).and_then(|n| n.checked_mul(3));
    if size == 0 || expected != Some(pixels.len()) {
        return Err(Error::input(format!(
            "an RGB image of {size}×{size} pixels cannot have {} samples",
            pixels.len()
        )));
    }
    if map.is_empty() {
        return Err(Error::input(
            "an attention map without rows cannot be drawn",
        ));
    }
    let range = finite_range(map);
    let strip = strip_width(size);
    let width = size + GAP + strip;
    let mut out = Vec::with_capacity(width * size * 3);
    for (row, line) in pixels.chunks_exact(3 * size).enumerate() {
        let value = interpolate(map, row, size, range);
        let colour = viridis(value);
        let strength = STRENGTH.0 + (STRENGTH.1 - STRENGTH.0) * value;
        out.extend(
            line.chunks_exact(3)
                .flat_map(|pixel| tint([pixel[0], pixel[1], pixel[2]], colour, strength)),
        );
        out.extend([PAPER; 3 * GAP]);
        let bar = (value * (strip - 1) as f32).round() as usize + 1;
        let ink = colour.map(to_byte);
        out.extend((0..strip).flat_map(|column| if column < bar { ink } else { [PAPER; 3] }));
    }
    Ok(AttentionOverlay {
        pixels: out,
        width,
        height: size,
        range,
    })
}

/// The strip beside an image of `size` pixels: an eighth of it, wide enough to read.
fn strip_width(size: usize) -> usize {
    (size / 8).max(8)
}

fn finite_range(map: &[f32]) -> Option<(f32, f32)> {
    map.iter()
        .copied()
        .filter(|value| value.is_finite())
        .map(|value| (value, value))
        .reduce(|(low, high), (value, _)| (low.min(value), high.max(value)))
}

/// The map at the centre of image row `row` of `size`, scaled from `range` to 0..1.
///
/// Row centres of map and image are aligned as in image resizing: both stand for the same stretch of the gel. Beyond
/// the first and last centre the map continues flat.
fn interpolate(map: &[f32], row: usize, size: usize, range: Option<(f32, f32)>) -> f32 {
    let Some((low, high)) = range.filter(|(low, high)| high > low) else {
        return 0.0;
    };
    // Halved before subtracting, so that the span of finite values is finite too.
    let scaled = |value: f32| match value.is_finite() {
        true => (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0),
        false => 0.0,
    };
    let last = map.len() - 1;
    let place = (row as f32 + 0.5) * map.len() as f32 / size as f32 - 0.5;
    let place = place.clamp(0.0, last as f32);
    let above = place.floor() as usize;
    let below = (above + 1).min(last);
    let share = place - above as f32;
    (scaled(map[above]) * (1.0 - share) + scaled(map[below]) * share).clamp(0.0, 1.0)
}

/// `pixel` through a coloured glass: strength 0 leaves it, strength 1 multiplies it by `colour` (0..1).
fn tint(pixel: [u8; 3], colour: [f32; 3], strength: f32) -> [u8; 3] {
    std::array::from_fn(|channel| {
        let glass = 1.0 - strength + strength * colour[channel];
        to_byte(f32::from(pixel[channel]) / 255.0 * glass)
    })
}

fn to_byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// The colour map viridis at `t` in 0..1: perceptually uniform, readable in grey and with any colour vision.
///
/// Degree-six polynomials fitted to matplotlib's table by Matt Zucker (<https://www.shadertoy.com/view/WlfXRN>, CC0),
/// within 3/255 of it.
fn viridis(t: f32) -> [f32; 3] {
    const COEFFICIENTS: [[f32; 3]; 7] = [
        [0.277_727_33, 0.005_407_344_5, 0.334_099_8],
        [0.105_093_04, 1.404_613_5, 1.384_590_1],
        [-0.330_861_83, 0.214_847_56, 0.095_095_16],
        [-4.634_230_5, -5.799_101, -19.332_441],
        [6.228_27, 14.179_934, 56.690_55],
        [4.776_385, -13.745_145, -65.353_03],
        [-5.435_456, 4.645_852_6, 26.312_435],
    ];
    std::array::from_fn(|channel| {
        COEFFICIENTS
            .iter()
            .rev()
            .fold(0.0, |sum, row| sum * t + row[channel])
            .clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: [u8; 3 * 16 * 16] = [255; 3 * 16 * 16];

    fn pixel(overlay: &AttentionOverlay, row: usize, column: usize) -> [u8; 3] {
        let start = 3 * (row * overlay.width + column);
        std::array::from_fn(|channel| overlay.pixels[start + channel])
    }

    #[test]
    fn the_colour_map_is_viridis() {
        // matplotlib's table at 0, 0.25, 0.5, 0.75, 1.
        let table = [
            (0.0, [68, 1, 84]),
            (0.25, [59, 82, 139]),
            (0.5, [33, 145, 140]),
            (0.75, [94, 201, 98]),
            (1.0, [253, 231, 37]),
        ];
        for (t, expected) in table {
            let colour = viridis(t).map(to_byte);
            for channel in 0..3 {
                let difference = i32::from(colour[channel]) - expected[channel];
                assert!(difference.abs() <= 4, "{t}: {colour:?} for {expected:?}");
            }
        }
    }

    #[test]
    fn the_strongest_row_is_tinted_and_the_weakest_is_not() {
        let overlay = attention_overlay(&WHITE, 16, &[0.2, 0.2, 0.9, 0.2]).expect("valid");
        assert_eq!(overlay.range, Some((0.2, 0.9)));
        assert_eq!((overlay.width, overlay.height), (16 + 2 + 8, 16));
        assert_eq!(overlay.pixels.len(), 3 * overlay.width * overlay.height);
        assert_eq!(pixel(&overlay, 0, 0), [255; 3]);
        // Rows 9 and 10 lie around the centre of the third of four map rows.
        let blue = |row| pixel(&overlay, row, 3)[2];
        assert!(blue(9) < 120 && blue(9) == blue(10) && blue(9) < blue(7));
        // Only there does the bar fill the strip.
        assert_ne!(pixel(&overlay, 9, overlay.width - 2), [PAPER; 3]);
        assert_eq!(pixel(&overlay, 1, overlay.width - 2), [PAPER; 3]);
    }

    #[test]
    fn interpolation_is_linear_between_row_centres() {
        let at = |row| interpolate(&[0.0, 1.0], row, 8, Some((0.0, 1.0)));
        assert_eq!((at(0), at(1)), (0.0, 0.0));
        assert_eq!((at(2), at(3), at(4)), (0.125, 0.375, 0.625));
        assert_eq!(at(7), 1.0);
    }

    #[test]
    fn bands_stay_darker_than_paper_under_the_tint() {
        let colour = viridis(1.0);
        let band = tint([70, 40, 230], colour, STRENGTH.1);
        let paper = tint([245, 243, 240], colour, STRENGTH.1);
        assert!((0..3).all(|channel| band[channel] <= paper[channel]));
        assert!(paper[0] - band[0] > 120);
    }

    #[test]
    fn flat_and_broken_maps_are_drawn_without_tint() {
        for map in [
            vec![0.5; 7],
            vec![f32::NAN; 7],
            vec![f32::INFINITY],
            vec![0.5, f32::NAN],
        ] {
            let overlay = attention_overlay(&WHITE, 16, &map).expect("valid");
            assert_eq!(pixel(&overlay, 5, 5), [255; 3], "{map:?}");
        }
        let wide = attention_overlay(&WHITE, 16, &[f32::MIN, f32::MAX]).expect("valid");
        assert_ne!(pixel(&wide, 15, 5), [255; 3]);
        let none = attention_overlay(&WHITE, 16, &[f32::NAN]).expect("valid");
        assert_eq!(none.range, None);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for (pixels, size, map) in [
            (&WHITE[..], 15, &[0.5][..]),
            (&[], 0, &[0.5]),
            (&WHITE, usize::MAX, &[0.5]),
            (&WHITE, 16, &[]),
        ] {
            let error = attention_overlay(pixels, size, map).expect_err("invalid");
            assert!(error.is_input());
        }
    }
}
