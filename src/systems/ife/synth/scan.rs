//! From stain and ink to the image that a scanner and a file format leave.

use super::band::Row;
use super::chance::{around, between, grain};
use super::layout::Layout;
use super::plane::Plane;
use super::print::{FRAME_ENDS, frames};
use super::serum::Serum;
use super::style::{Frame, Scan, Stain, Style};
use super::{ELP, band::Edge};
use crate::error::{Error, Result};
use crate::rng::Stream;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

/// The stain of a gel, as optical density in green light before the scanner saturates.
pub(super) fn stain(
    style: &Style,
    layout: &Layout,
    sera: [&Serum; 2],
    stream: &mut Stream,
) -> Plane {
    let mut plane = Plane::new(style.width, style.height);
    residue(style, layout, &mut plane, stream);
    for place in &layout.places {
        let serum = sera[usize::from(place.neighbour)];
        let edge = Edge {
            softness: style.lanes.softness * if place.lane == ELP { 0.7 } else { 1.0 },
            rim: style.lanes.rim,
            slope: around(stream, 0.0, 0.05),
        };
        let columns = place.columns(layout, style.width);
        let streaks = streaks(columns.len(), style.lanes.streaks, stream);
        for y in 0..style.height {
            // The lowest and highest u that the row meets: rotation tilts it.
            let ends = [columns.start, columns.end].map(|x| {
                let [_, gel_y] = layout.to_gel(x as f32, y as f32 + 0.5);
                layout.u_at(gel_y)
            });
            let (low, high) = (ends[0].min(ends[1]) - 0.05, ends[0].max(ends[1]) + 0.05);
            let row = Row::new(&serum.lanes[place.lane], low, high);
            if row.is_empty() {
                continue;
            }
            for (x, streak) in columns.clone().zip(&streaks) {
                let (u, s) = layout.in_lane(place, layout.to_gel(x as f32 + 0.5, y as f32 + 0.5));
                if s.abs() < 1.5 {
                    let rough = streak + style.stain.grain * grain(stream);
                    plane.values[y * style.width + x] += row.density(u, s, &edge) * rough;
                }
            }
        }
    }
    bubbles(style, &mut plane, stream);
    plane
}

/// One factor per column of pixels, alike in neighbouring columns: the gel's fine stripes.
fn streaks(columns: usize, strength: f32, stream: &mut Stream) -> Vec<f32> {
    let mut last = 0.0;
    (0..columns)
        .map(|_| {
            last = 0.4 * last + grain(stream);
            1.0 + strength * last
        })
        .collect()
}

/// Stain that was not washed out: even inside frames, and in large pale patches.
fn residue(style: &Style, layout: &Layout, plane: &mut Plane, stream: &mut Stream) {
    let (width, height) = (style.width as f32, style.height as f32);
    if style.stain.residue > 0.0 {
        let mut areas = frames(style, layout);
        if style.print.frame == Frame::None {
            // An unframed gel fills the image, or lies on it as a strip with straight ends.
            let ends = if stream.chance(0.5) {
                FRAME_ENDS
            } else {
                [-9.0, 9.0]
            };
            let (a, b) = (layout.height_of(ends[0]), layout.height_of(ends[1]));
            areas.push([-width, a.min(b), 2.0 * width, a.max(b)]);
        }
        for y in 0..plane.height {
            for x in 0..plane.width {
                let [gel_x, gel_y] = layout.to_gel(x as f32 + 0.5, y as f32 + 0.5);
                let inside = areas.iter().any(|&[left, upper, right, lower]| {
                    (left..right).contains(&gel_x) && (upper..lower).contains(&gel_y)
                });
                if inside {
                    plane.values[y * plane.width + x] += style.stain.residue;
                }
            }
        }
    }
    if style.stain.blotches > 0.0 {
        for _ in 0..4 {
            let centre = [between(stream, 0.0, width), between(stream, 0.0, height)];
            let level = style.stain.blotches * between(stream, 0.2, 1.0);
            let radius = between(stream, 0.1, 0.35) * width;
            plane.disc(centre, radius, |distance, value| {
                *value += level * (1.0 - distance * distance).powi(2);
            });
        }
    }
}

/// Pale discs with a dense rim, where air kept the stain or the antiserum away.
fn bubbles(style: &Style, plane: &mut Plane, stream: &mut Stream) {
    let (width, height) = (style.width as f32, style.height as f32);
    for _ in 0..style.scan.bubbles {
        let centre = [between(stream, 0.0, width), between(stream, 0.0, height)];
        let radius = between(stream, 0.006, 0.02) * width;
        let pale = between(stream, 0.2, 0.8);
        plane.disc(centre, radius, |distance, value| {
            *value *= if distance < 0.75 { 1.0 - pale } else { 1.2 };
        });
    }
}

/// Red, green and blue for densities from 0 to [`Colours::LAST`]: Beer–Lambert with a ceiling and stray light.
struct Colours {
    table: Vec<[f32; 3]>,
}

impl Colours {
    const LAST: f32 = 6.0;
    const STEPS: usize = 1536;

    fn new(stain: &Stain, scan: &Scan) -> Self {
        let table = (0..=Self::STEPS)
            .map(|i| {
                let density = stain.observed(Self::LAST * i as f32 / Self::STEPS as f32);
                std::array::from_fn(|c| {
                    let passed = 10f32.powf(-stain.spectrum[c] * density);
                    scan.paper[c] * (scan.stray[c] + (1.0 - scan.stray[c]) * passed)
                })
            })
            .collect();
        Self { table }
    }

    fn at(&self, density: f32) -> [f32; 3] {
        let position = (density / Self::LAST).clamp(0.0, 1.0) * Self::STEPS as f32;
        self.table[(position + 0.5) as usize]
    }
}

/// Light in three channels, 0 to 255 where the sensor is not yet saturated.
struct Light {
    width: usize,
    height: usize,
    /// Row-major, red, green, blue interleaved.
    values: Vec<f32>,
}

/// The image that a scan of stain and ink gives, before a file format compresses it.
pub(super) fn scan(style: &Style, stain: &Plane, ink: &Plane, stream: &mut Stream) -> RgbImage {
    let scan = &style.scan;
    let mut light = exposed(style, stain, ink);
    light.blur(scan.blur);
    if scan.sharpen > 0.0 {
        light.sharpen(scan.sharpen);
    }
    light.add_noise(scan, stream);
    for value in &mut light.values {
        *value = (*value - 128.0) * scan.contrast + 128.0 + scan.brightness;
    }
    if scan.grey {
        light.remove_colour();
    }
    if scan.subsampled {
        light.subsample();
    }
    let bytes: Vec<u8> = light
        .values
        .iter()
        .map(|&v| (v + 0.5).clamp(0.0, 255.0) as u8)
        .collect();
    RgbImage::from_fn(style.width as u32, style.height as u32, |x, y| {
        let at = 3 * (y as usize * style.width + x as usize);
        image::Rgb([bytes[at], bytes[at + 1], bytes[at + 2]])
    })
}

fn exposed(style: &Style, stain: &Plane, ink: &Plane) -> Light {
    let colours = Colours::new(&style.stain, &style.scan);
    let [across, down] = style.scan.gradient;
    let mut values = Vec::with_capacity(3 * stain.values.len());
    for y in 0..style.height {
        let vertical = 1.0 + down * (2.0 * y as f32 / style.height as f32 - 1.0);
        for x in 0..style.width {
            let shade = vertical * (1.0 + across * (2.0 * x as f32 / style.width as f32 - 1.0));
            let at = y * style.width + x;
            let cover = ink.values[at];
            let colour = colours.at(stain.values[at]);
            let ink = style.print.ink;
            values.extend((0..3).map(|c| colour[c] * shade * (1.0 - cover) + ink[c] * cover));
        }
    }
    Light {
        width: style.width,
        height: style.height,
        values,
    }
}

impl Light {
    /// Gaussian blur, one axis after the other; the border is repeated.
    fn blur(&mut self, deviation: f32) {
        let radius = (2.5 * deviation).ceil() as usize;
        let mut kernel: Vec<f32> = (0..=2 * radius)
            .map(|i| (-0.5 * ((i as f32 - radius as f32) / deviation).powi(2)).exp())
            .collect();
        let sum: f32 = kernel.iter().sum();
        kernel.iter_mut().for_each(|k| *k /= sum);
        self.convolve_columns(&kernel);
        self.convolve_rows(&kernel);
    }

    fn convolve_rows(&mut self, kernel: &[f32]) {
        let radius = kernel.len() / 2;
        let row_length = 3 * self.width;
        let mut padded = vec![0.0; row_length + 6 * radius];
        for row in self.values.chunks_exact_mut(row_length) {
            padded[3 * radius..3 * radius + row_length].copy_from_slice(row);
            for i in 0..radius {
                padded[3 * i..3 * i + 3].copy_from_slice(&row[..3]);
                let at = row_length + 3 * (radius + i);
                padded[at..at + 3].copy_from_slice(&row[row_length - 3..]);
            }
            row.fill(0.0);
            for (i, k) in kernel.iter().enumerate() {
                for (out, value) in row.iter_mut().zip(&padded[3 * i..]) {
                    *out += k * value;
                }
            }
        }
    }

    fn convolve_columns(&mut self, kernel: &[f32]) {
        let radius = kernel.len() / 2;
        let row_length = 3 * self.width;
        let source = self.values.clone();
        for (y, row) in self.values.chunks_exact_mut(row_length).enumerate() {
            row.fill(0.0);
            for (i, k) in kernel.iter().enumerate() {
                let from = (y + i).saturating_sub(radius).min(self.height - 1) * row_length;
                for (out, value) in row.iter_mut().zip(&source[from..from + row_length]) {
                    *out += k * value;
                }
            }
        }
    }

    /// Unsharp masking with a blur of one pixel.
    fn sharpen(&mut self, strength: f32) {
        let sharp = self.values.clone();
        self.blur(1.0);
        for (value, sharp) in self.values.iter_mut().zip(sharp) {
            *value = sharp + strength * (sharp - *value);
        }
    }

    /// Grey noise that is alike in neighbouring pixels, and coloured noise that is not.
    fn add_noise(&mut self, scan: &Scan, stream: &mut Stream) {
        let mut noise = Self {
            width: self.width,
            height: self.height,
            values: Vec::with_capacity(self.values.len()),
        };
        for _ in 0..self.width * self.height {
            let grey = grain(stream) * scan.noise;
            let colour = if scan.chroma > 0.0 {
                grain(stream) * scan.chroma
            } else {
                0.0
            };
            noise
                .values
                .extend([grey + colour, grey - 0.5 * colour, grey - colour]);
        }
        let side = scan.correlation;
        // The kernel keeps the variance: the sum of its squares is 1 on each axis.
        let norm = (1.0 + 2.0 * side * side).sqrt();
        let kernel = [side / norm, 1.0 / norm, side / norm];
        noise.convolve_rows(&kernel);
        noise.convolve_columns(&kernel);
        for (value, noise) in self.values.iter_mut().zip(noise.values) {
            *value += noise;
        }
    }

    fn remove_colour(&mut self) {
        for pixel in self.values.chunks_exact_mut(3) {
            pixel.fill(luminance(pixel));
        }
    }

    /// One colour per two by two pixels, as most JPEG files keep; the brightness stays as it is.
    fn subsample(&mut self) {
        for y in (0..self.height - 1).step_by(2) {
            for x in (0..self.width - 1).step_by(2) {
                let pixels = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)]
                    .map(|(x, y)| 3 * (y * self.width + x));
                let greys = pixels.map(|at| luminance(&self.values[at..at + 3]));
                for c in [0, 1, 2] {
                    let shared = (0..4)
                        .map(|i| self.values[pixels[i] + c] - greys[i])
                        .sum::<f32>()
                        / 4.0;
                    for i in 0..4 {
                        self.values[pixels[i] + c] = greys[i] + shared;
                    }
                }
            }
        }
    }
}

fn luminance(pixel: &[f32]) -> f32 {
    0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]
}

/// Compresses the image once per quality, and returns the last file with the image that it holds.
pub(super) fn compressed(mut image: RgbImage, qualities: &[u8]) -> Result<(RgbImage, Vec<u8>)> {
    let failed = |e: image::ImageError| {
        Error::input(format!("cannot compress a synthetic gel as JPEG: {e}"))
    };
    let mut bytes = Vec::new();
    for &quality in qualities {
        bytes.clear();
        JpegEncoder::new_with_quality(&mut bytes, quality)
            .encode_image(&image)
            .map_err(failed)?;
        image = image::load_from_memory_with_format(&bytes, image::ImageFormat::Jpeg)
            .map_err(failed)?
            .into_rgb8();
    }
    Ok((image, bytes))
}
