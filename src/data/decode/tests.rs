//! Every kind of file that is read, and every kind of damage.

use super::*;
use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const FORMATS: [ImageFormat; 5] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
    ImageFormat::WebP,
];

fn encode(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture: DynamicImage = picture.into();
    picture.write_to(&mut bytes, format).expect("encodes");
    bytes.into_inner()
}

fn gradient() -> RgbImage {
    RgbImage::from_fn(37, 23, |x, y| {
        Rgb([x as u8 * 5, y as u8 * 9, 200 - x as u8])
    })
}

fn failure(bytes: &[u8]) -> String {
    decode_bytes(bytes).expect_err("must fail").to_string()
}

#[test]
fn every_format_gives_the_same_picture() {
    for format in FORMATS {
        let decoded = decode_bytes(&encode(gradient(), format)).expect("decodes");
        assert_eq!((decoded.image.width(), decoded.image.height()), (37, 23));
        assert_eq!(decoded.conversions, [], "{format:?}");
        let tolerance = if format == ImageFormat::Jpeg { 40 } else { 0 };
        let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= tolerance;
        assert!(
            decoded
                .image
                .samples()
                .iter()
                .zip(gradient().as_raw())
                .all(near),
            "{format:?}"
        );
    }
}

#[test]
fn conversions_are_done_and_reported() {
    let check = |picture: DynamicImage, expected: [u8; 3], conversions: &[Conversion]| {
        let decoded = decode_bytes(&encode(picture, ImageFormat::Png)).expect("decodes");
        assert_eq!(decoded.image.samples(), expected);
        assert_eq!(decoded.conversions, conversions);
    };
    check(
        GrayImage::from_pixel(1, 1, Luma([7])).into(),
        [7; 3],
        &[Conversion::Greyscale],
    );
    // 128 over white at alpha 51/255 = 0.2: 0.2·128 + 0.8·255 = 229.6.
    check(
        GrayAlphaImage::from_pixel(1, 1, image::LumaA([128, 51])).into(),
        [230; 3],
        &[Conversion::Greyscale, Conversion::Alpha],
    );
    check(
        RgbaImage::from_pixel(1, 1, Rgba([0, 128, 255, 51])).into(),
        [204, 230, 255],
        &[Conversion::Alpha],
    );
    check(
        RgbaImage::from_pixel(1, 1, Rgba([1, 2, 3, 255])).into(),
        [1, 2, 3],
        &[],
    );
    // 385.4 rounds down and 385.6 up: 385 / 257 = 1.498, 386 / 257 = 1.502.
    let deep: ImageBuffer<Rgb<u16>, Vec<u16>> =
        ImageBuffer::from_pixel(1, 1, Rgb([385, 386, 65535]));
    check(deep.into(), [1, 2, 255], &[Conversion::SixteenBit]);
}

#[test]
fn floating_samples_are_refused() {
    let float = image::Rgb32FImage::from_pixel(2, 2, Rgb([0.5; 3]));
    let text = failure(&encode(float, ImageFormat::Tiff));
    assert!(text.contains("no defined range"), "{text}");
}

/// Puts an Exif segment with an orientation behind a JPEG's start-of-image marker.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif =
        b"\xFF\xE1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

#[test]
fn orientation_is_applied() {
    // Black on the left, white on the right; 6 asks for a quarter turn clockwise: black comes to the top.
    let picture = RgbImage::from_fn(16, 8, |x, _| Rgb([if x < 8 { 0 } else { 255 }; 3]));
    let jpeg = encode(picture, ImageFormat::Jpeg);
    let decoded = decode_bytes(&with_orientation(&jpeg, 6)).expect("decodes");
    assert_eq!(decoded.conversions, [Conversion::Orientation]);
    assert_eq!((decoded.image.width(), decoded.image.height()), (8, 16));
    assert!(decoded.image.row(0).iter().all(|&v| v < 10));
    assert!(decoded.image.row(15).iter().all(|&v| v > 245));
    let upright = decode_bytes(&with_orientation(&jpeg, 1)).expect("decodes");
    assert_eq!(upright.conversions, []);
}

/// A JPEG of one block with four constant components, as printing software writes them (0 = full ink).
fn cmyk_jpeg(inks: [u8; 4]) -> Vec<u8> {
    let mut file = vec![0xFF, 0xD8];
    file.extend(b"\xFF\xEE\x00\x0EAdobe\x00\x64\0\0\0\0\0");
    // Quantisation by 8 makes a block's first coefficient its value − 128.
    file.extend([0xFF, 0xDB, 0, 67, 0]);
    file.extend([8; 64]);
    file.extend([0xFF, 0xC0, 0, 20, 8, 0, 8, 0, 8, 4]);
    (1..=4).for_each(|id| file.extend([id, 0x11, 0]));
    // First coefficients: the sizes 0 to 8 have the four-bit codes 0 to 8. Others: the code 0 ends the block.
    file.extend([
        0xFF, 0xC4, 0, 28, 0x00, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    file.extend(0..9);
    file.extend([
        0xFF, 0xC4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    file.extend([0xFF, 0xDA, 0, 14, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
    let mut bits = String::new();
    for ink in inks {
        let value = i32::from(ink) - 128;
        let size = 32 - value.unsigned_abs().leading_zeros();
        let code = if value < 0 {
            value + (1 << size) - 1
        } else {
            value
        };
        bits += &format!("{size:04b}");
        if size > 0 {
            bits += &format!("{code:0width$b}", width = size as usize);
        }
        bits += "0";
    }
    while !bits.len().is_multiple_of(8) {
        bits += "1";
    }
    for byte in bits.as_bytes().chunks(8) {
        let value = byte.iter().fold(0, |v, bit| 2 * v + (bit - b'0'));
        file.push(value);
        if value == 0xFF {
            file.push(0);
        }
    }
    file.extend([0xFF, 0xD9]);
    file
}

#[test]
fn cmyk_becomes_light() {
    // Light = ink · black / 255 on the inverted scale: 200·128/255 = 100.4, 100·128/255 = 50.2, 255·128/255 = 128.
    let decoded = decode_bytes(&cmyk_jpeg([200, 100, 255, 128])).expect("decodes");
    assert_eq!(decoded.conversions, [Conversion::Cmyk]);
    assert_eq!(decoded.image.row(3)[..3], [100, 50, 128]);
}

#[test]
fn truncated_files_are_refused() {
    for format in FORMATS {
        let whole = encode(gradient(), format);
        for keep in [3, 10, 20, 40, whole.len() / 2, whole.len() - 12] {
            let text = failure(&whole[..keep]);
            assert!(!text.is_empty() && !text.contains('\n'), "{text}");
        }
    }
    let jpeg = encode(gradient(), ImageFormat::Jpeg);
    assert_eq!(
        failure(&jpeg[..jpeg.len() - 1]),
        "the file is truncated: it ends before the image does"
    );
    let png = encode(gradient(), ImageFormat::Png);
    assert!(failure(&png[..png.len() / 2]).contains("truncated"));
}

#[test]
fn other_files_are_named() {
    assert_eq!(failure(b""), "the file is empty");
    assert!(failure(b"id,label\n").contains("not a JPEG, PNG"));
    assert!(failure(b"GIF89a......").starts_with("GIF images are not read"));
    let mut dicom = vec![0; 128];
    dicom.extend(b"DICM");
    assert!(failure(&dicom).contains("DICOM"));
    for format in FORMATS {
        let mut wrong = encode(gradient(), format);
        wrong[0] ^= 0x55;
        assert!(failure(&wrong).contains("this is not"), "{format:?}");
    }
}

/// The checksum of PNG chunks, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| {
            (c >> 1) ^ (0xEDB8_8320 & (c & 1).wrapping_neg())
        })
    })
}

fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], &body, &crc(&body).to_be_bytes()].concat()
}

fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut data = [width.to_be_bytes(), height.to_be_bytes()].concat();
    data.extend([8, 2, 0, 0, 0]);
    let ihdr = png_chunk(b"IHDR", &data);
    let idat = png_chunk(b"IDAT", &[0x78, 0x9C, 3, 0, 0, 0, 0, 1]);
    [&b"\x89PNG\r\n\x1a\n"[..], &ihdr, &idat].concat()
}

#[test]
fn absurd_dimensions_are_refused_at_once() {
    let mut bmp = encode(gradient(), ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0x50, 0xC3, 0, 0, 0x50, 0xC3, 0, 0]); // 50000×50000
    let mut jpeg = cmyk_jpeg([0; 4]);
    let frame = jpeg
        .windows(2)
        .position(|w| w == [0xFF, 0xC0])
        .expect("frame");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]); // 65500×65500
    let mut webp = encode(gradient(), ImageFormat::WebP);
    assert_eq!(webp[12..16], *b"VP8L");
    webp[21..25].copy_from_slice(&0x0FFF_BFFEu32.to_le_bytes()); // 14 bits each: 16383×16383
    let mut tiff = encode(gradient(), ImageFormat::Tiff);
    // Width, height, rows per strip.
    for tag in [256u16, 257, 278] {
        // Tag (2), type (2), count (4), value.
        let is_entry = |w: &[u8]| w[..2] == tag.to_le_bytes() && w[4..8] == [1, 0, 0, 0];
        let entry = tiff.windows(12).position(is_entry).expect("an entry");
        tiff[entry + 8..entry + 10].copy_from_slice(&50_000u16.to_le_bytes());
    }
    let start = Instant::now();
    for bomb in [
        webp,
        tiff,
        png_header(50_000, 50_000),
        png_header(16_384, 16_384),
        png_header(16_385, 1),
        bmp,
        jpeg,
    ] {
        let text = failure(&bomb);
        assert!(text.contains("more than the limit"), "{text}");
    }
    for empty in [png_header(0, 5), png_header(5, 0)] {
        failure(&empty);
    }
    assert!(start.elapsed() < Duration::from_millis(200));
}

#[test]
fn further_pictures_are_reported() {
    let png = encode(gradient(), ImageFormat::Png);
    let control = png_chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]);
    // Signature (8) and header (25) come first.
    let animated = [&png[..33], &control, &png[33..]].concat();
    let decoded = decode_bytes(&animated).expect("decodes");
    assert_eq!(decoded.conversions, [Conversion::FirstOfSeveral]);
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gel.png");
    let text = decode(&path).expect_err("missing").to_string();
    assert!(text.ends_with("gel.png: there is no such file"), "{text}");
    std::fs::write(&path, b"").expect("written");
    let error = decode(&path).expect_err("empty");
    assert!(error.is_input() && error.to_string().ends_with("gel.png: the file is empty"));
    let text = decode(folder.path()).expect_err("folder").to_string();
    assert!(text.ends_with("this is a folder, not a file"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage anywhere gives a picture or a sentence, and never a panic that reaches the caller.
    #[test]
    fn damage_is_survived(which in 0..5usize, places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = encode(gradient(), FORMATS[which]);
        for (place, value) in places {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        if let Err(e) = decode_bytes(&bytes) {
            prop_assert!(!e.to_string().is_empty());
        }
    }
}

/// JPEGs of every kind: sequential, progressive, with restart markers.
fn jpegs() -> Vec<Vec<u8>> {
    let large = RgbImage::from_fn(203, 151, |x, y| {
        Rgb([(x * y / 90) as u8, (3 * x) as u8 ^ 5, (y * y / 100) as u8])
    });
    vec![
        encode(large, ImageFormat::Jpeg),
        include_bytes!("../../../tests/golden/images/progressive.jpg").to_vec(),
        include_bytes!("../../../tests/golden/images/restarts.jpg").to_vec(),
        include_bytes!("../../../tests/golden/images/grey_progressive.jpg").to_vec(),
    ]
}

/// Where the first scan's compressed data begin.
fn first_scan(jpeg: &[u8]) -> usize {
    let scan = jpeg.windows(2).position(|w| w == [0xFF, 0xDA]);
    let scan = scan.expect("a scan");
    scan + 2 + usize::from(u16::from_be_bytes([jpeg[scan + 2], jpeg[scan + 3]]))
}

#[test]
fn jpegs_that_lack_data_are_refused_wherever_they_were_cut() {
    for jpeg in jpegs() {
        decode_bytes(&jpeg).expect("whole");
        for keep in first_scan(&jpeg)..jpeg.len() - 2 {
            failure(&jpeg[..keep]);
            // With an end marker again, as repair tools leave it; the last byte may be nothing but filling.
            let ended = [&jpeg[..keep], &[0xFF, 0xD9]].concat();
            assert!(
                keep + 4 > jpeg.len() || decode_bytes(&ended).is_err(),
                "{keep} of {}",
                jpeg.len()
            );
        }
    }
}

#[test]
fn jpegs_damaged_in_the_middle_are_refused() {
    let jpeg = &jpegs()[0];
    let (begin, end) = (first_scan(jpeg), jpeg.len() - 2);
    let mut found = 0;
    let starts: Vec<usize> = (begin..end - 256).step_by(61).collect();
    for (i, &at) in starts.iter().enumerate() {
        let mut damaged = jpeg.clone();
        let mut stream = crate::rng::Stream::new(1, "damage", i as u64, 0);
        damaged[at..at + 256].fill_with(|| stream.below(256) as u8);
        found += usize::from(decode_bytes(&damaged).is_err());
    }
    // Random data may be valid; they seldom are.
    assert!(
        starts.len() > 50 && found * 100 >= starts.len() * 98,
        "{found} of {}",
        starts.len()
    );
}

#[test]
fn palettes_become_colours() {
    let mut png = png_header(1, 1);
    png.truncate(8);
    png.extend(png_chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 3, 0, 0, 0]));
    png.extend(png_chunk(b"PLTE", &[9, 8, 7]));
    png.extend(png_chunk(
        b"IDAT",
        &[0x78, 1, 1, 2, 0, 0xFD, 0xFF, 0, 0, 0, 2, 0, 1],
    ));
    png.extend(png_chunk(b"IEND", &[]));
    let decoded = decode_bytes(&png).expect("decodes");
    assert_eq!(decoded.image.samples(), [9, 8, 7]);
    assert_eq!(decoded.conversions, [Conversion::Palette]);
}
