//! The types of elements that weight files hold, and how their numbers become this program's.

use super::{room, unreadable};
use crate::array::Numbers;
use crate::error::{Error, Result};
use crate::real::from_half;
use std::fmt;
use std::io;

/// A type of elements, as a file names it.
#[derive(Clone, Copy)]
pub struct Dtype(&'static Row);

/// So many bytes of elements, row by row, to numbers.
type Read = fn(usize, &mut dyn io::Read) -> Result<Numbers>;

struct Row {
    /// In safetensors: `F32`.
    name: &'static str,
    /// In PyTorch: `float32`.
    dtype: &'static str,
    /// The name of PyTorch's typed storage: `FloatStorage`; types that came later have none.
    storage: &'static str,
    bits: u64,
    /// `None` for types that no network here has.
    read: Option<Read>,
}

const fn row(
    name: &'static str,
    dtype: &'static str,
    storage: &'static str,
    bits: u64,
    read: Option<Read>,
) -> Row {
    Row {
        name,
        dtype,
        storage,
        bits,
        read,
    }
}

const ROWS: &[Row] = &[
    row("F64", "float64", "DoubleStorage", 64, Some(f64s)),
    row("F32", "float32", "FloatStorage", 32, Some(f32s)),
    row("F16", "float16", "HalfStorage", 16, Some(f16s)),
    row("BF16", "bfloat16", "BFloat16Storage", 16, Some(bf16s)),
    row("I64", "int64", "LongStorage", 64, Some(i64s)),
    row("I32", "int32", "IntStorage", 32, Some(i32s)),
    row("U32", "uint32", "", 32, Some(u32s)),
    row("I16", "int16", "ShortStorage", 16, None),
    row("I8", "int8", "CharStorage", 8, None),
    row("U8", "uint8", "ByteStorage", 8, None),
    row("BOOL", "bool", "BoolStorage", 8, None),
    row("U16", "uint16", "", 16, None),
    row("U64", "uint64", "", 64, None),
    row("C64", "complex64", "ComplexFloatStorage", 64, None),
    row("C128", "complex128", "ComplexDoubleStorage", 128, None),
    row("F8_E4M3", "float8_e4m3fn", "", 8, None),
    row("F8_E5M2", "float8_e5m2", "", 8, None),
    row("F8_E8M0", "float8_e8m0fnu", "", 8, None),
    row("F8_E4M3FNUZ", "float8_e4m3fnuz", "", 8, None),
    row("F8_E5M2FNUZ", "float8_e5m2fnuz", "", 8, None),
    row("F6_E2M3", "", "", 6, None),
    row("F6_E3M2", "", "", 6, None),
    row("F4", "float4_e2m1fn_x2", "", 4, None),
];

impl Dtype {
    /// The type of this name in safetensors.
    pub(super) fn named(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(Self)
    }

    /// The type of PyTorch's `torch.<name>`.
    pub(super) fn of_torch(name: &str) -> Option<Self> {
        let is_it = |row: &&Row| row.dtype == name && !name.is_empty();
        ROWS.iter().find(is_it).map(Self)
    }

    /// The type of PyTorch's `torch.<name>`, a typed storage.
    pub(super) fn of_storage(name: &str) -> Option<Self> {
        let is_it = |row: &&Row| row.storage == name && !name.is_empty();
        ROWS.iter().find(is_it).map(Self)
    }

    /// The name in safetensors: `F32`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The bytes of so many elements; `None` if there are too many to count, or if they end within a byte.
    pub(super) fn bytes(self, elements: u64) -> Option<u64> {
        let bits = elements.checked_mul(self.0.bits)?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Whether this program computes with such elements.
    pub fn is_read(self) -> bool {
        self.0.read.is_some()
    }

    /// The numbers of so many bytes of elements, which come row by row.
    pub(super) fn numbers(self, bytes: usize, from: &mut dyn io::Read) -> Result<Numbers> {
        match self.0.read {
            Some(read) => read(bytes, from),
            None => {
                let read = ROWS.iter().filter(|row| row.read.is_some());
                let names: Vec<&str> = read.map(|row| row.name).collect();
                Err(Error::checkpoint(format!(
                    "elements of type {} are not read; {} are",
                    self.name(),
                    names.join(", ")
                )))
            }
        }
    }
}

impl PartialEq for Dtype {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Dtype {}

impl fmt::Debug for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes that are read at once: few enough to stay close to the processor until they are numbers.
const CHUNK: usize = 1 << 16;

/// As many words as `bytes` hold, each converted. No memory is taken but theirs.
fn words<const N: usize, T>(
    mut bytes: usize,
    from: &mut dyn io::Read,
    convert: fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let mut values = room(bytes / N)?;
    let mut chunk = [0; CHUNK];
    while bytes > 0 {
        let (read, _) = chunk.split_at_mut(bytes.min(CHUNK));
        from.read_exact(read).map_err(unreadable)?;
        values.extend(read.as_chunks::<N>().0.iter().map(|&word| convert(word)));
        bytes -= read.len();
    }
    Ok(values)
}

fn f64s(bytes: usize, from: &mut dyn io::Read) -> Result<Numbers> {
    Ok(words(bytes, from, f64::from_le_bytes)?.into())
}

fn f32s(bytes: usize, from: &mut dyn io::Read) -> Result<Numbers> {
    Ok(words(bytes, from, f32::from_le_bytes)?.into())
}

fn u32s(bytes: usize, from: &mut dyn io::Read) -> Result<Numbers> {
    Ok(words(bytes, from, u32::from_le_bytes)?.into())
}

fn i32s(bytes: usize, from: &mut dyn io::Read) -> Result<Numbers> {
    index(words(bytes, from, i32::from_le_bytes)?)
}

fn i64s(bytes: usize, from: &mut dyn io::Read) -> Result<Numbers> {
    index(words(bytes, from, i64::from_le_bytes)?)
}

fn index<T: Into<i64>>(values: Vec<T>) -> Result<Numbers> {
    let convert =
        |x: i64| u32::try_from(x).map_err(|_| Error::checkpoint(format!("{x} is not an index")));
    let values = values.into_iter().map(|x| convert(x.into()));
    Ok(values.collect::<Result<Vec<u32>>>()?.into())
}

fn f16s(bytes: usize, from: &mut dyn io::Read) -> Result<Numbers> {
    Ok(words(bytes, from, |word| from_half(u16::from_le_bytes(word)))?.into())
}

fn bf16s(bytes: usize, from: &mut dyn io::Read) -> Result<Numbers> {
    let wide = |[low, high]: [u8; 2]| f32::from_le_bytes([0, 0, low, high]);
    Ok(words(bytes, from, wide)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_whole_elements() {
        let four = Dtype::named("F4").expect("a type");
        assert_eq!((four.bytes(2), four.bytes(3)), (Some(1), None));
        assert_eq!(Dtype::named("C128").and_then(|d| d.bytes(1 << 62)), None);
    }
}
