//! What a file's container says and the decoders do not tell: whether a JPEG is whole, how many colour components it
//! stores, and whether a file holds further pictures.

use image::ImageFormat;

/// What walking over a JPEG's segments finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jpeg {
    /// Colour components of the frame: 1 grey, 3 colour, 4 CMYK.
    pub(super) components: u8,
    /// Whether the end-of-image marker is there.
    pub(super) whole: bool,
}

/// Walks over the segments of a JPEG up to its end-of-image marker.
///
/// The decoder fills what a truncated file lacks with grey and reports success; a diagnosis must not rest on that.
pub(super) fn walk_jpeg(bytes: &[u8]) -> Jpeg {
    let mut found = Jpeg {
        components: 0,
        whole: false,
    };
    let mut at = 2; // behind the start-of-image marker
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            0xD9 => {
                found.whole = true;
                break;
            }
            // A stuffed zero or a restart inside compressed data, or another marker without a segment.
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            _ => {
                let Some(length) = u16_be(bytes, at) else {
                    break;
                };
                // Start of frame: length (2), bits per sample (1), height (2), width (2), components (1).
                let is_frame =
                    matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC);
                if is_frame && found.components == 0 {
                    found.components = bytes.get(at + 7).copied().unwrap_or(0);
                }
                at += usize::from(length).max(2);
            }
        }
    }
    found
}

/// The next marker's code at or after `at`, which moves behind it. Bytes that belong to no marker are passed over.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    let rest = bytes.get(*at..)?;
    let start = rest.iter().position(|&b| b == 0xFF)?;
    let code = start + rest[start..].iter().position(|&b| b != 0xFF)?;
    *at += code + 1;
    Some(rest[code])
}

/// True if the file says that it holds more than one picture (an animation, further pages).
pub(super) fn has_several_pictures(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Png => png_is_animated(bytes),
        // VP8X is the extended header; bit 1 of its flags says "animation".
        ImageFormat::WebP => {
            bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0)
        }
        ImageFormat::Tiff => tiff_has_second_page(bytes).unwrap_or(false),
        _ => false,
    }
}

/// An animation-control chunk stands before the first image data.
fn png_is_animated(bytes: &[u8]) -> bool {
    let mut at = 8; // behind the signature
    while let (Some(length), Some(kind)) = (u32_be(bytes, at), bytes.get(at + 4..at + 8)) {
        match kind {
            b"acTL" => return true,
            b"IDAT" => return false,
            // Length, kind and checksum take 12 bytes. Longer than the file: the walk ends there.
            _ => at = at.saturating_add(length as usize).saturating_add(12),
        }
    }
    false
}

/// The first directory's link to a next one is not zero.
fn tiff_has_second_page(bytes: &[u8]) -> Option<bool> {
    let little = bytes.first() == Some(&b'I');
    let u16_at = |at| {
        let value = u16_be(bytes, at)?;
        Some(if little { value.swap_bytes() } else { value })
    };
    let u32_at = |at| {
        let value = u32_be(bytes, at)?;
        Some(if little { value.swap_bytes() } else { value })
    };
    let directory = u32_at(4)? as usize;
    let entries = usize::from(u16_at(directory)?);
    let link = directory.checked_add(2 + 12 * entries)?;
    Some(u32_at(link)? != 0)
}

fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    let word = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(word.try_into().ok()?))
}

fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(word.try_into().ok()?))
}
