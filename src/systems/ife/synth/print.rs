//! Letters, numbers, frames, dust: everything black on a scan.

use super::chance::{around, between, pick};
use super::layout::Layout;
use super::letters::glyph_of;
use super::plane::Plane;
use super::style::{Frame, Letters, Style};
use crate::rng::Stream;

/// Where frames run along the migration axis.
pub(super) const FRAME_ENDS: [f32; 2] = [-0.13, 1.09];

/// All that the style prints, as coverage by ink from 0 to 1.
pub(super) fn ink(style: &Style, layout: &Layout, stream: &mut Stream) -> Plane {
    let mut plane = Plane::new(style.width, style.height);
    let mut pen = Pen {
        plane: &mut plane,
        layout,
    };
    if let Some(letters) = &style.print.letters {
        pen.letters(style, letters, stream);
    }
    match style.print.frame {
        Frame::None => {}
        Frame::Corners => pen.corners(style, stream),
        Frame::Gel(line) | Frame::Lanes(line) => {
            for rectangle in frames(style, layout) {
                pen.rectangle(rectangle, (line * style.width as f32).max(1.0));
            }
        }
    }
    if let Some(digit) = style.print.digit {
        pen.digit(style, digit, stream);
    }
    dust(style, &mut plane, stream);
    plane
}

/// The frames' rectangles in the gel plane: left, upper, right, lower.
pub(super) fn frames(style: &Style, layout: &Layout) -> Vec<[f32; 4]> {
    let (a, b) = (
        layout.height_of(FRAME_ENDS[0]),
        layout.height_of(FRAME_ENDS[1]),
    );
    let half = 0.47 * layout.pitch;
    let six = &layout.places[..6];
    match style.print.frame {
        Frame::Gel(_) => vec![[
            six[0].centre - half,
            a.min(b),
            six[5].centre + half,
            a.max(b),
        ]],
        Frame::Lanes(_) => six
            .iter()
            .map(|place| [place.centre - half, a.min(b), place.centre + half, a.max(b)])
            .collect(),
        Frame::None | Frame::Corners => Vec::new(),
    }
}

/// Draws in the gel plane.
struct Pen<'a> {
    plane: &'a mut Plane,
    layout: &'a Layout,
}

impl Pen<'_> {
    fn line(&mut self, from: [f32; 2], to: [f32; 2], thickness: f32) {
        let (from, to) = (self.layout.to_image(from), self.layout.to_image(to));
        self.plane.line(from, to, thickness, 1.0);
    }

    fn rectangle(&mut self, [left, upper, right, lower]: [f32; 4], thickness: f32) {
        let corners = [[left, upper], [right, upper], [right, lower], [left, lower]];
        for i in 0..4 {
            self.line(corners[i], corners[(i + 1) % 4], thickness);
        }
    }

    /// Writes a word around a middle point.
    fn word(&mut self, word: &str, middle: [f32; 2], size: f32, weight: f32) {
        let gap = (0.14 + 1.1 * weight) * size;
        let glyphs: Vec<_> = word.chars().map(glyph_of).collect();
        let length: f32 = glyphs
            .iter()
            .map(|glyph| glyph.width * size + gap)
            .sum::<f32>()
            - gap;
        let mut left = middle[0] - 0.5 * length;
        for glyph in &glyphs {
            for stroke in &glyph.strokes {
                for pair in stroke.windows(2) {
                    let place = |point: [f32; 2]| {
                        [left + point[0] * size, middle[1] + (point[1] - 0.5) * size]
                    };
                    self.line(place(pair[0]), place(pair[1]), weight * size);
                }
            }
            left += glyph.width * size + gap;
        }
    }

    fn letters(&mut self, style: &Style, letters: &Letters, stream: &mut Stream) {
        let height = style.height as f32;
        let size = letters.size * height;
        for place in &self.layout.places {
            let unsteady = around(stream, 0.0, 0.03);
            let middle = [
                place.centre + (letters.shift + unsteady) * self.layout.pitch,
                letters.middle * height + around(stream, 0.0, 0.02) * size,
            ];
            // The strokes' own thickness adds to the height of the letters.
            let body = size * (1.0 - letters.weight);
            let word = letters.words[place.lane];
            // A long word in a narrow lane is set smaller.
            let fit = (1.15 * self.layout.pitch / (word.len() as f32 * 0.8 * size)).min(1.0);
            self.word(word, middle, body * fit, letters.weight);
        }
    }

    /// Angles, crosses or dashes at some of the four corners, partly outside of the image.
    fn corners(&mut self, style: &Style, stream: &mut Stream) {
        let (width, height) = (style.width as f32, style.height as f32);
        let inset = between(stream, -0.005, 0.02) * width;
        let arm = between(stream, 0.02, 0.05) * width;
        let thickness = between(stream, 0.0035, 0.008) * width;
        let upper = between(stream, 0.01, 0.08) * height;
        let lower = height - between(stream, -0.01, 0.16) * height;
        for (x, inwards) in [(inset, 1.0), (width - inset, -1.0)] {
            for (y, downwards) in [(upper, 1.0), (lower, -1.0)] {
                if stream.chance(0.25) {
                    continue;
                }
                let outer = pick(stream, &[0.0, 0.0, 0.7]);
                self.line(
                    [x - outer * inwards * arm, y],
                    [x + inwards * arm, y],
                    thickness,
                );
                if stream.chance(0.6) {
                    let from = y - outer * downwards * arm;
                    self.line([x, from], [x, y + downwards * 0.9 * arm], thickness);
                }
            }
        }
    }

    fn digit(&mut self, style: &Style, digit: usize, stream: &mut Stream) {
        let (width, height) = (style.width as f32, style.height as f32);
        let size = between(stream, 0.05, 0.075) * height;
        let x = if stream.chance(0.85) {
            between(stream, 0.92, 0.99)
        } else {
            between(stream, 0.02, 0.06)
        };
        let middle = [x * width, between(stream, 0.05, 0.18) * height];
        let weight = between(stream, 0.12, 0.24);
        self.word(&digit.to_string(), middle, size * (1.0 - weight), weight);
    }
}

/// Dots and short hairs, some dark, most faint.
fn dust(style: &Style, plane: &mut Plane, stream: &mut Stream) {
    let (width, height) = (style.width as f32, style.height as f32);
    let scale = width / 300.0;
    for _ in 0..style.scan.specks {
        let mut point = [between(stream, 0.0, width), between(stream, 0.0, height)];
        let level = between(stream, 0.08, 0.5);
        let thickness = between(stream, 0.6, 2.2) * scale;
        let mut angle = between(stream, 0.0, std::f32::consts::TAU);
        for _ in 0..pick(stream, &[1, 1, 1, 2, 4]) {
            let step = between(stream, 0.3, 2.5) * scale;
            let next = [point[0] + step * angle.cos(), point[1] + step * angle.sin()];
            plane.line(point, next, thickness, level);
            angle += around(stream, 0.0, 0.5);
            point = next;
        }
    }
}
