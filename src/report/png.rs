//! PNG files from RGB pixels, and the same as text inside a page.

use crate::error::{Error, Result};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// The PNG file of an RGB picture: `pixels` [height, width, 3].
///
/// # Errors
/// The number of pixels does not fit the sides, or a side is zero.
pub fn encode_png(pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>> {
    let samples = width.checked_mul(height).and_then(|n| n.checked_mul(3));
    let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    let sides = sides.filter(|_| width > 0 && height > 0 && samples == Some(pixels.len()));
    let Some((columns, rows)) = sides else {
        return Err(Error::input(format!(
            "an RGB image of {width}×{height} pixels cannot have {} samples",
            pixels.len()
        )));
    };
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::Adaptive)
        .write_image(pixels, columns, rows, ExtendedColorType::Rgb8)
        .map_err(|error| Error::input(format!("writing a {width}×{height} PNG: {error}")))?;
    Ok(file)
}

/// The picture as the source of an `<img>`: a PNG in base64, so that a page needs no second file.
pub(super) fn data_uri(pixels: &[u8], width: usize, height: usize) -> Result<String> {
    let file = encode_png(pixels, width, height)?;
    Ok(format!("data:image/png;base64,{}", base64(&file)))
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            // One byte fills two letters, two bytes three; the rest is padding.
            let letter = match place <= chunk.len() {
                true => ALPHABET[(group >> (18 - 6 * place) & 63) as usize],
                false => b'=',
            };
            text.push(char::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_rfc() {
        // RFC 4648, section 10.
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn overlays_survive_their_png() {
        let pixels: Vec<u8> = (0..3 * 20 * 20).map(|n| (n % 251) as u8).collect();
        let overlay =
            crate::explain::attention_overlay(&pixels, 20, &[0.1, 0.8, 0.3]).expect("valid");
        let file = encode_png(&overlay.pixels, overlay.width, overlay.height).expect("valid");
        let decoded = image::load_from_memory(&file).expect("a PNG").to_rgb8();
        assert_eq!(decoded.dimensions(), (30, 20));
        assert_eq!(decoded.into_raw(), overlay.pixels);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for (samples, width, height) in [(11, 2, 2), (0, 0, 0), (0, 0, 5), (12, usize::MAX, 2)] {
            let error = encode_png(&vec![0; samples], width, height).expect_err("invalid");
            assert!(error.is_input());
        }
    }
}
