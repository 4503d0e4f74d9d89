//! Zip archives and pickles made by hand, as hostile as wanted.

/// A member of an archive, and what is said of it.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// In the member's own header.
    pub(crate) local_name: String,
    pub(crate) data: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    /// What the directory says of the length, if it lies.
    pub(crate) length: Option<u32>,
    /// Where the directory says it begins, if it lies.
    pub(crate) offset: Option<u32>,
    /// What is added to the checksum.
    pub(crate) crc_error: u32,
    /// Extra fields of the directory's entry.
    pub(crate) extra: Vec<u8>,
}

pub(crate) fn member(name: &str, data: &[u8]) -> Member {
    Member {
        name: name.to_string(),
        local_name: name.to_string(),
        data: data.to_vec(),
        method: 0,
        flags: 0,
        length: None,
        offset: None,
        crc_error: 0,
        extra: Vec::new(),
    }
}

/// A zip archive of these members.
pub(crate) fn zip(members: &[Member]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for own in members {
        let (at, length) = (bytes.len() as u32, own.data.len() as u32);
        let crc = crc32(&own.data).wrapping_add(own.crc_error);
        bytes.extend(*b"PK\x03\x04\x00\x00");
        bytes.extend(
            [own.flags, own.method, 0, 0]
                .map(|n| n.to_le_bytes())
                .as_flattened(),
        );
        bytes.extend(
            [crc, length, length]
                .map(|n| n.to_le_bytes())
                .as_flattened(),
        );
        bytes.extend(
            [own.local_name.len() as u16, 0]
                .map(|n| n.to_le_bytes())
                .as_flattened(),
        );
        bytes.extend(own.local_name.as_bytes());
        bytes.extend(&own.data);
        let stated = own.length.unwrap_or(length);
        directory.extend(*b"PK\x01\x02\x00\x00\x00\x00");
        directory.extend(
            [own.flags, own.method, 0, 0]
                .map(|n| n.to_le_bytes())
                .as_flattened(),
        );
        directory.extend(
            [crc, stated, stated]
                .map(|n| n.to_le_bytes())
                .as_flattened(),
        );
        let lengths = [own.name.len() as u16, own.extra.len() as u16, 0, 0, 0, 0, 0];
        directory.extend(lengths.map(|n| n.to_le_bytes()).as_flattened());
        directory.extend(own.offset.unwrap_or(at).to_le_bytes());
        directory.extend(own.name.as_bytes());
        directory.extend(&own.extra);
    }
    let (at, count) = (bytes.len() as u32, members.len() as u16);
    bytes.extend(&directory);
    bytes.extend(*b"PK\x05\x06\x00\x00\x00\x00");
    bytes.extend([count, count].map(|n| n.to_le_bytes()).as_flattened());
    bytes.extend(
        [directory.len() as u32, at]
            .map(|n| n.to_le_bytes())
            .as_flattened(),
    );
    bytes.extend([0, 0]);
    bytes
}

/// What torch.save makes of a pickle and storages `0`, `1`, ….
pub(crate) fn saved(pickle: &[u8], storages: &[&[u8]]) -> Vec<u8> {
    let mut members = vec![member("archive/data.pkl", pickle)];
    for (key, data) in storages.iter().enumerate() {
        members.push(member(&format!("archive/data/{key}"), data));
    }
    zip(&members)
}

/// The same in the old format: the pickle's storages are named by `keys`.
pub(crate) fn saved_legacy(pickle: &[u8], storages: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    bytes.extend(*b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.");
    bytes.extend(pickle);
    bytes.extend(*b"\x80\x02](");
    for (key, ..) in storages {
        bytes.extend(text(key));
    }
    bytes.extend(*b"e.");
    for (_, count, data) in storages {
        bytes.extend(count.to_le_bytes());
        bytes.extend(*data);
    }
    bytes
}

/// Instructions that push a text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut code = b"X".to_vec();
    code.extend((text.len() as u32).to_le_bytes());
    code.extend(text.as_bytes());
    code
}

/// Instructions that push an integer.
fn integer(n: i64) -> Vec<u8> {
    let mut code = b"\x8a\x08".to_vec();
    code.extend(n.to_le_bytes());
    code
}

/// Instructions that push a tensor.
pub(crate) fn tensor(
    storage: &str,
    key: &str,
    count: i64,
    offset: i64,
    shape: &[i64],
    strides: &[i64],
) -> Vec<u8> {
    let mut code = b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    code.extend(text("storage"));
    code.extend(format!("ctorch\n{storage}\n").into_bytes());
    code.extend(text(key));
    code.extend(text("cpu"));
    code.extend(integer(count));
    code.extend(*b"tQ");
    code.extend(integer(offset));
    for lengths in [shape, strides] {
        code.push(b'(');
        lengths.iter().for_each(|&n| code.extend(integer(n)));
        code.push(b't');
    }
    code.extend(*b"\x89ccollections\nOrderedDict\n)RtR");
    code
}

/// A pickle of a dictionary of these names and values.
pub(crate) fn dictionary(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut code = b"\x80\x02}(".to_vec();
    for (name, value) in pairs {
        code.extend(text(name));
        code.extend(value);
    }
    code.extend(*b"u.");
    code
}

/// The checksum of zip: the polynomial 0xEDB88320, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, &byte: &u8| (0..8).fold(crc ^ u32::from(byte), step);
    !bytes.iter().fold(u32::MAX, byte)
}
