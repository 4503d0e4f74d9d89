//! Files of torch.save: bytes as a file, and as the pickle in one of either format, around storages that are there.

use axenic::models;
use axenic::train::fit::{self, Request};
use axenic::train::{WeightFile, Weights};

/// Bytes as a file of torch.save, and as the pickle in one: what is read can be written, and fitted or refused.
pub fn saved(bytes: &[u8]) {
    for file in [bytes.to_vec(), zip(bytes), legacy(bytes)] {
        let Ok(read) = WeightFile::parse(&file) else {
            continue;
        };
        let room: usize = read.tensors.iter().map(|tensor| tensor.elements()).sum();
        assert!(
            room <= 8 * file.len() + (64 << 10),
            "{room} numbers of {}",
            file.len()
        );
        for tensor in &read.tensors {
            if let Ok(array) = read.array(tensor) {
                assert_eq!(array.shape()[..], tensor.shape[..]);
            }
        }
        if let Ok((weights, account)) = fit::as_they_are(&read, None) {
            assert_eq!(account.lines.len(), read.tensors.len());
            let written = weights.to_bytes().expect("what was read can be written");
            assert_eq!(
                Weights::parse_own(&written).expect("what was written can be read"),
                weights
            );
        }
        for name in ["resnet18", "dinov2_vits14"] {
            for request in [Request::default(), lenient()] {
                let mut model = models::find(name).expect("a model");
                let Ok(fitted) = fit::fit(&read, model.as_mut(), &request) else {
                    continue;
                };
                let held: usize = fitted
                    .weights
                    .tensors
                    .values()
                    .map(|own| own.shape().elements())
                    .sum();
                assert!(
                    held <= 2 * USUAL + 16 * room,
                    "{held} numbers of a file with {room}"
                );
            }
        }
    }
}

/// More numbers than either network has.
const USUAL: usize = 30_000_000;

/// Whatever is missing or unknown is allowed to be.
fn lenient() -> Request {
    Request {
        allow_missing: true,
        allow_unknown: true,
        ..Request::default()
    }
}

/// Two storages, so that honest pickles find what they refer to.
const STORAGES: [(&str, [u8; 48]); 2] = [("0", [1; 48]), ("1", [2; 48])];

fn zip(pickle: &[u8]) -> Vec<u8> {
    let mut members = vec![("a/data.pkl".to_string(), pickle)];
    for (key, data) in &STORAGES {
        members.push((format!("a/data/{key}"), data));
    }
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in &members {
        let words = [crc32(data), data.len() as u32, data.len() as u32];
        let head: Vec<u8> = words.iter().flat_map(|n| n.to_le_bytes()).collect();
        let (at, length) = (bytes.len() as u32, (name.len() as u16).to_le_bytes());
        let parts: [&[u8]; 6] = [
            b"PK\x03\x04",
            &[0; 10],
            &head,
            &length,
            &[0; 2],
            name.as_bytes(),
        ];
        parts.iter().for_each(|part| bytes.extend(*part));
        bytes.extend(*data);
        let parts: [&[u8]; 7] = [
            b"PK\x01\x02",
            &[0; 12],
            &head,
            &length,
            &[0; 12],
            &at.to_le_bytes(),
            name.as_bytes(),
        ];
        parts.iter().for_each(|part| directory.extend(*part));
    }
    let at = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(*b"PK\x05\x06\0\0\0\0\x03\0\x03\0");
    for n in [directory.len() as u32, at] {
        bytes.extend(n.to_le_bytes());
    }
    bytes.extend([0, 0]);
    bytes
}

fn legacy(pickle: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    bytes.extend(*b"\x80\x02}X\x0d\0\0\0little_endian\x88s.");
    bytes.extend(pickle);
    bytes.extend(*b"\x80\x02](X\x01\0\0\x000X\x01\0\0\x001e.");
    for (_, data) in &STORAGES {
        bytes.extend((data.len() as u64 / 4).to_le_bytes());
        bytes.extend(data);
    }
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, &byte: &u8| (0..8).fold(crc ^ u32::from(byte), step);
    !bytes.iter().fold(u32::MAX, byte)
}
