//! What a file's container says and the decoders do not tell: whether a file holds further pictures, and whether its
//! pixels are numbers of a palette.

use image::ImageFormat;

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

/// True if the pixels are numbers of colours in a palette.
pub(super) fn has_palette(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        // The colour type in the header chunk, which comes first.
        ImageFormat::Png => bytes.get(25) == Some(&3),
        // Bits per pixel, in a header of either length.
        ImageFormat::Bmp => {
            let at = if bytes.get(14) == Some(&12) { 24 } else { 28 };
            bytes.get(at).is_some_and(|&bits| bits <= 8)
        }
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
