//! Image files of any origin to 8-bit RGB, safely: nothing is allocated before the dimensions are known to be sane.
//!
//! Read are JPEG, PNG, BMP, TIFF and WebP, recognised by their first bytes, not by their names. What had to be changed
//! on the way (16 bits to 8, alpha, orientation …) is reported, never silent. Colour profiles and gamma are not applied,
//! as in the usual training pipelines.
//!
//! # Limits
//! | what | limit | why |
//! | --- | --- | --- |
//! | file | 256 MiB ([`MAX_FILE_BYTES`]) | the file is read whole |
//! | side | 16,384 pixels ([`MAX_SIDE`]) | larger than any scanner of gels or X-ray detector |
//! | area | 64 megapixels ([`MAX_PIXELS`]) | 192 MB as RGB |
//! | header | 64 MiB | compressed metadata |
//! | decoder | 1 GiB ([`MAX_DECODER_BYTES`]) | 64 megapixels of 16-bit RGBA and as much in between |
//!
//! Dimensions are checked after the header is read and before any pixel is, whatever the compressed data would expand to.
//!
//! # Damage
//! PNG has checksums and they are checked. JPEG has none: its compressed data are walked through strictly (`jpeg`), so
//! that damage is found where it breaks the code, which it nearly always does; a changed amplitude cannot be told from a
//! changed picture. BMP, TIFF and WebP are found damaged where their structure or their compression breaks.

mod container;
mod jpeg;
#[cfg(test)]
mod tests;

use super::Image;
use super::file::read_whole;
use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use serde::Serialize;
use std::fmt;
use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// The largest height or width, in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// The largest number of pixels.
pub const MAX_PIXELS: u64 = 64_000_000;
/// The most memory that decoding may take, in bytes.
pub const MAX_DECODER_BYTES: u64 = 1 << 30;
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// A decoded picture, and what was changed to make it 8-bit RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The picture, upright.
    pub image: Image,
    /// What was changed, in a fixed order; empty for an ordinary colour photograph.
    pub conversions: Vec<Conversion>,
}

/// A change made on the way from the file to 8-bit RGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conversion {
    /// One grey channel was copied into three.
    Greyscale,
    /// 16 bits per sample were rounded to 8.
    SixteenBit,
    /// Some pixels were not opaque; they were laid over white.
    Alpha,
    /// Numbers of a palette's colours became these colours.
    Palette,
    /// Printing inks were converted to light by the simple product, without a colour profile.
    Cmyk,
    /// The picture was turned or mirrored as its metadata asks.
    Orientation,
    /// The file holds several pictures or pages, and the first was taken.
    FirstOfSeveral,
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greyscale => "greyscale was copied into three channels",
            Self::SixteenBit => "16 bits per sample were rounded to 8",
            Self::Alpha => "transparent pixels were laid over white",
            Self::Palette => "palette numbers became colours",
            Self::Cmyk => "CMYK was converted to RGB without a colour profile",
            Self::Orientation => "the picture was turned as its metadata asks",
            Self::FirstOfSeveral => "the file holds several pictures and the first was taken",
        })
    }
}

/// Reads and decodes an image file.
///
/// # Errors
/// The file cannot be read, is empty, truncated, damaged, not an image, or beyond the [limits](self#limits).
pub fn decode(path: &Path) -> Result<Decoded> {
    let decoded = read_whole(path, MAX_FILE_BYTES).and_then(|bytes| decode_bytes(&bytes));
    decoded.map_err(|e| e.within(path.display()))
}

/// Decodes an image file that is already in memory.
///
/// # Errors
/// As [`decode`].
pub fn decode_bytes(bytes: &[u8]) -> Result<Decoded> {
    if bytes.is_empty() {
        return Err(Error::input("the file is empty"));
    }
    let format = format_of(bytes)?;
    // The decoders are other people's, and the input may be hostile: a panic there is the file's fault.
    match catch_unwind(AssertUnwindSafe(|| decode_as(bytes, format))) {
        Ok(decoded) => decoded,
        Err(_) => Err(Error::input(format!(
            "the file is damaged: its {} decoder gave up",
            name(format)
        ))),
    }
}

/// The format by the first bytes, if it is one of those that are read.
fn format_of(bytes: &[u8]) -> Result<ImageFormat> {
    const READ: &str = "JPEG, PNG, BMP, TIFF or WebP";
    match image::guess_format(bytes) {
        Ok(
            format @ (ImageFormat::Jpeg
            | ImageFormat::Png
            | ImageFormat::Bmp
            | ImageFormat::Tiff
            | ImageFormat::WebP),
        ) => Ok(format),
        Ok(other) => Err(Error::input(format!(
            "{} images are not read; convert the file to {READ}",
            name(other)
        ))),
        Err(_) if bytes.get(128..132) == Some(b"DICM") => Err(Error::input(format!(
            "DICOM files are not read; export the image as {READ}"
        ))),
        Err(_) => Err(Error::input(format!("this is not a {READ} image"))),
    }
}

/// A format's usual name.
fn name(format: ImageFormat) -> String {
    match format {
        ImageFormat::WebP => "WebP".to_string(),
        other => format!("{other:?}").to_uppercase(),
    }
}

fn decode_as(bytes: &[u8], format: ImageFormat) -> Result<Decoded> {
    let failed = |e| explain(&e);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_HEADER_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(failed)?; // reads the header only
    check_dimensions(decoder.dimensions())?;
    let jpeg = match format {
        ImageFormat::Jpeg => Some(jpeg::walk(bytes)?),
        _ => None,
    };

    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    limits.reserve(decoder.total_bytes()).map_err(failed)?;
    decoder.set_limits(limits).map_err(failed)?;

    let orientation = decoder.orientation().map_err(failed)?;
    let inks = matches!(
        decoder.original_color_type(),
        image::ExtendedColorType::Cmyk8 | image::ExtendedColorType::Cmyk16
    );
    let mut conversions = Vec::new();
    if inks || jpeg.is_some_and(|jpeg| jpeg.components == 4) {
        conversions.push(Conversion::Cmyk);
    }
    if container::has_palette(bytes, format) {
        conversions.push(Conversion::Palette);
    }
    if orientation != Orientation::NoTransforms {
        conversions.push(Conversion::Orientation);
    }
    if container::has_several_pictures(bytes, format) {
        conversions.push(Conversion::FirstOfSeveral);
    }
    let mut picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    picture.apply_orientation(orientation);
    let image = to_rgb(picture, &mut conversions)?;
    conversions.sort_unstable();
    Ok(Decoded { image, conversions })
}

fn check_dimensions((width, height): (u32, u32)) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::input(format!(
            "the image has {width}×{height} pixels, that is none"
        )));
    }
    let pixels = u64::from(width) * u64::from(height);
    if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        return Err(Error::input(format!(
            "the image has {width}×{height} pixels, more than the limit of {MAX_SIDE} per side and {} million in all",
            MAX_PIXELS / 1_000_000
        )));
    }
    Ok(())
}

/// A decoder's failure as a sentence.
fn explain(error: &ImageError) -> Error {
    match error {
        ImageError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => jpeg::truncated(),
        ImageError::Limits(_) => Error::input(format!(
            "decoding the image takes more than {} MiB of memory",
            MAX_DECODER_BYTES >> 20
        )),
        ImageError::Unsupported(e) => Error::input(format!(
            "this kind of image is not supported: {}",
            one_line(e)
        )),
        other => Error::input(format!("the file is damaged: {}", one_line(other))),
    }
}

/// Decoders' messages may have several lines; a sentence has one.
fn one_line(message: impl fmt::Display) -> String {
    let text = message.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn to_rgb(picture: DynamicImage, conversions: &mut Vec<Conversion>) -> Result<Image> {
    let (height, width) = (picture.height() as usize, picture.width() as usize);
    let (channels, samples) = match picture {
        DynamicImage::ImageLuma8(p) => (1, p.into_raw()),
        DynamicImage::ImageLumaA8(p) => (2, p.into_raw()),
        DynamicImage::ImageRgb8(p) => (3, p.into_raw()),
        DynamicImage::ImageRgba8(p) => (4, p.into_raw()),
        DynamicImage::ImageLuma16(p) => (1, eight_bits(p.as_raw(), conversions)),
        DynamicImage::ImageLumaA16(p) => (2, eight_bits(p.as_raw(), conversions)),
        DynamicImage::ImageRgb16(p) => (3, eight_bits(p.as_raw(), conversions)),
        DynamicImage::ImageRgba16(p) => (4, eight_bits(p.as_raw(), conversions)),
        other => {
            return Err(Error::input(format!(
                "samples of type {:?} have no defined range; convert the file to 8 or 16 bits per sample",
                other.color()
            )));
        }
    };
    Image::new(
        height,
        width,
        three_channels(samples, channels, conversions),
    )
}

/// Rounds 0..=65535 to 0..=255; 257 = 65535 / 255.
fn eight_bits(samples: &[u16], conversions: &mut Vec<Conversion>) -> Vec<u8> {
    conversions.push(Conversion::SixteenBit);
    let round = |&v: &u16| ((u32::from(v) + 128) / 257) as u8;
    samples.iter().map(round).collect()
}

/// Grey, grey and alpha, RGB or RGBA (1 to 4 channels) to RGB.
fn three_channels(samples: Vec<u8>, channels: usize, conversions: &mut Vec<Conversion>) -> Vec<u8> {
    if channels < 3 {
        conversions.push(Conversion::Greyscale);
    }
    match channels {
        1 => samples.iter().flat_map(|&v| [v; 3]).collect(),
        3 => samples,
        _ => {
            let pixels = samples.chunks_exact(channels);
            if pixels.clone().any(|pixel| pixel[channels - 1] != 255) {
                conversions.push(Conversion::Alpha);
            }
            pixels.flat_map(over_white).collect()
        }
    }
}

/// Grey and alpha, or RGB and alpha, laid over white.
fn over_white(pixel: &[u8]) -> [u8; 3] {
    let (colour, alpha) = (&pixel[..pixel.len() - 1], u32::from(pixel[pixel.len() - 1]));
    std::array::from_fn(|c| {
        let value = u32::from(colour[c % colour.len()]);
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    })
}
