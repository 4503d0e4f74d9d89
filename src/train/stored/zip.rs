//! The zip archives that `torch.save` writes, read strictly: files may come from strangers.
//!
//! Members are ranges of the file's own bytes. PyTorch never compresses them; an archive that does is refused, so that a
//! small file cannot become a large one. Both places that describe a member must give it the same name and method, no two
//! members may share bytes or a name, and a name must be a plain path. Nothing is ever unpacked to the disk.
//!
//! Reference: PKWARE, *APPNOTE.TXT — .ZIP File Format Specification*, version 6.3, sections 4.3 to 4.5.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;

const LOCAL: u32 = 0x0403_4B50;
const CENTRAL: u32 = 0x0201_4B50;
const END: u32 = 0x0605_4B50;
const END64: u32 = 0x0606_4B50;
const END64_LOCATOR: u32 = 0x0706_4B50;
/// Bytes of the records above before what has no fixed length.
const LOCAL_LENGTH: usize = 30;
const CENTRAL_LENGTH: usize = 46;
const END_LENGTH: usize = 22;
const END64_LOCATOR_LENGTH: usize = 20;
/// The kind of extra field that holds lengths too long for 32 bits.
const EXTRA64: u64 = 1;

/// The members of an archive by their names.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    members: BTreeMap<&'a str, Member>,
}

#[derive(Clone, Debug)]
struct Member {
    range: Range<usize>,
    crc32: u32,
}

impl<'a> Archive<'a> {
    /// Reads the directory of an archive.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self> {
        let directory = Directory::find(bytes)?;
        let mut members = BTreeMap::new();
        let mut places = Vec::new();
        let mut at = directory.range.start;
        while at < directory.range.end {
            let central = Central::read(bytes, at)?;
            at = central.end;
            let name = plain(central.name)?;
            let member = central.member(bytes, name, directory.range.start)?;
            places.push((central.local, member.range.end as u64, name));
            if members.insert(name, member).is_some() {
                return Err(damaged(format!("its member {name:?} is there twice")));
            }
        }
        if at != directory.range.end || places.len() as u64 != directory.count {
            let (stated, found) = (directory.count, places.len());
            return Err(damaged(format!(
                "its directory of {stated} members has {found}, and does not end where it says"
            )));
        }
        places.sort_unstable();
        let mut pairs = places.iter().zip(places.iter().skip(1));
        match pairs.find(|((_, end, _), (start, _, _))| end > start) {
            Some(((_, _, first), (_, _, second))) => Err(damaged(format!(
                "its members {first:?} and {second:?} lie over each other"
            ))),
            None => Ok(Self { bytes, members }),
        }
    }

    /// The names of all members, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.members.keys().copied()
    }

    /// Where a member lies, its checksum checked.
    pub(super) fn member(&self, name: &str) -> Result<Range<usize>> {
        let Some(member) = self.members.get(name) else {
            return Err(damaged(format!("its member {name:?} is missing")));
        };
        let bytes = self.bytes.get(member.range.clone()).unwrap_or_default();
        if crc32fast::hash(bytes) != member.crc32 {
            return Err(damaged(format!(
                "its member {name:?} does not match its checksum"
            )));
        }
        Ok(member.range.clone())
    }
}

fn damaged(what: impl Into<String>) -> Error {
    Error::checkpoint(what)
}

/// A little-endian number of 2, 4 or 8 bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Result<u64> {
    let end = at.checked_add(length);
    let field = end.and_then(|end| bytes.get(at..end));
    let field = field.ok_or_else(|| damaged(format!("it ends before byte {at}")))?;
    let digits = field.iter().rev();
    Ok(digits.fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// The bytes from `from` to `to`.
fn part(bytes: &[u8], from: u64, length: u64) -> Result<Range<usize>> {
    let end = from
        .checked_add(length)
        .filter(|&end| end <= bytes.len() as u64);
    match end {
        Some(end) => Ok(from as usize..end as usize),
        None => Err(damaged(format!(
            "it states {length} bytes from {from}, but has {}",
            bytes.len()
        ))),
    }
}

/// Where the central directory lies, and how many members it has.
struct Directory {
    range: Range<usize>,
    count: u64,
}

impl Directory {
    fn find(bytes: &[u8]) -> Result<Self> {
        let last = bytes.len().checked_sub(END_LENGTH);
        let last = last.ok_or_else(|| damaged("it ends in the middle of its archive"))?;
        // Behind the record there is at most a comment of 65,535 bytes, which reaches to the file's end.
        let is_end = |&at: &usize| {
            let comment = number(bytes, at + 20, 2).unwrap_or(u64::MAX);
            number(bytes, at, 4).ok() == Some(u64::from(END))
                && at as u64 + 22 + comment == bytes.len() as u64
        };
        let first = last.saturating_sub(usize::from(u16::MAX));
        let Some(at) = (first..=last).rev().find(is_end) else {
            return Err(damaged(
                "its archive has no directory at its end: it is cut off",
            ));
        };
        let field = |offset, length| number(bytes, at + offset, length);
        let [disk, start_disk, here] = [field(4, 2)?, field(6, 2)?, field(8, 2)?];
        let [count, length, offset] = [field(10, 2)?, field(12, 4)?, field(16, 4)?];
        if disk != 0 || start_disk != 0 || here != count {
            return Err(damaged("its archive is one part of several"));
        }
        let is_long = count == u64::from(u16::MAX) || length.max(offset) == u64::from(u32::MAX);
        let (count, length, offset) = if is_long {
            Self::long(bytes, at)?
        } else {
            (count, length, offset)
        };
        let range = part(bytes, offset, length)?;
        if range.end > at {
            return Err(damaged("its archive's directory reaches over its own end"));
        }
        Ok(Self { range, count })
    }

    /// Count, length and offset of a directory too long for the record at `end`.
    fn long(bytes: &[u8], end: usize) -> Result<(u64, u64, u64)> {
        let missing = || damaged("its archive's directory for long files is missing");
        let locator = end.checked_sub(END64_LOCATOR_LENGTH).ok_or_else(missing)?;
        let at = number(bytes, locator + 8, 8)?;
        let at = part(bytes, at, 56)?.start;
        let is_there = number(bytes, locator, 4)? == u64::from(END64_LOCATOR)
            && number(bytes, at, 4)? == u64::from(END64);
        if !is_there {
            return Err(missing());
        }
        let field = |offset| number(bytes, at + offset, 8);
        Ok((field(32)?, field(40)?, field(48)?))
    }
}

/// An entry of the central directory.
struct Central<'a> {
    flags: u64,
    method: u64,
    crc32: u32,
    compressed: u64,
    length: u64,
    local: u64,
    name: &'a [u8],
    end: usize,
}

impl<'a> Central<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Result<Self> {
        let field = |offset, length| number(bytes, at + offset, length);
        if field(0, 4)? != u64::from(CENTRAL) {
            return Err(damaged(format!(
                "its archive's directory is damaged at byte {at}"
            )));
        }
        let [name, extra, comment] = [field(28, 2)?, field(30, 2)?, field(32, 2)?];
        let name = part(bytes, (at + CENTRAL_LENGTH) as u64, name)?;
        let extra = part(bytes, name.end as u64, extra)?;
        let mut lengths = [field(24, 4)?, field(20, 4)?, field(42, 4)?];
        long_lengths(&bytes[extra.clone()], &mut lengths)?;
        let [length, compressed, local] = lengths;
        Ok(Self {
            flags: field(8, 2)?,
            method: field(10, 2)?,
            crc32: field(16, 4)? as u32,
            compressed,
            length,
            local,
            end: part(bytes, extra.end as u64, comment)?.end,
            name: &bytes[name],
        })
    }

    /// Where the member's bytes lie: behind its local header, which must say the same, and before the directory.
    fn member(&self, bytes: &[u8], name: &str, directory: usize) -> Result<Member> {
        let wrong = |what: &str| damaged(format!("its member {name:?} {what}"));
        if self.flags & 1 != 0 {
            return Err(wrong("is encrypted"));
        }
        if self.method != 0 || self.compressed != self.length {
            return Err(wrong(
                "is compressed, which torch.save never does: save the weights again",
            ));
        }
        let header = part(bytes, self.local, LOCAL_LENGTH as u64)?.start;
        let field = |offset, length| number(bytes, header + offset, length);
        let own_name = part(bytes, (header + LOCAL_LENGTH) as u64, field(26, 2)?)?;
        let is_same = field(0, 4)? == u64::from(LOCAL)
            && bytes.get(own_name.clone()) == Some(self.name)
            && field(8, 2)? == self.method;
        if !is_same {
            return Err(wrong("is described differently in two places"));
        }
        let extra = part(bytes, own_name.end as u64, field(28, 2)?)?;
        let range = part(bytes, extra.end as u64, self.length)?;
        if range.end > directory {
            return Err(wrong("reaches into the archive's directory"));
        }
        Ok(Member {
            range,
            crc32: self.crc32,
        })
    }
}

/// Replaces those of a member's length, compressed length and place that do not fit into 32 bits, in this order.
fn long_lengths(mut extra: &[u8], lengths: &mut [u64; 3]) -> Result<()> {
    while extra.len() >= 4 {
        let (kind, length) = (number(extra, 0, 2)?, number(extra, 2, 2)?);
        let field = part(extra, 4, length)?;
        if kind == EXTRA64 {
            let saturated = lengths.iter_mut().filter(|n| **n == u64::from(u32::MAX));
            for (i, n) in saturated.enumerate() {
                *n = number(&extra[field.clone()], 8 * i, 8)?;
            }
            return Ok(());
        }
        extra = &extra[field.end..];
    }
    Ok(())
}

/// A member's name, if it is a plain path below the archive's top.
fn plain(name: &[u8]) -> Result<&str> {
    let strange = || {
        let name = String::from_utf8_lossy(&name[..name.len().min(80)]).into_owned();
        damaged(format!("its member {name:?} has no plain path for a name"))
    };
    let name = std::str::from_utf8(name).map_err(|_| strange())?;
    let is_plain =
        |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0', ':']);
    // A folder's name ends with a slash.
    let parts = name.strip_suffix('/').unwrap_or(name);
    match parts.split('/').all(is_plain) {
        true => Ok(name),
        false => Err(strange()),
    }
}
