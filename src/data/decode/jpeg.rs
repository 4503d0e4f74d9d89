//! Whether a JPEG's compressed data are whole. The decoder fills what is damaged with grey and reports success; a
//! diagnosis must not rest on that.
//!
//! All of the compressed data are walked through without making pixels of them: every Huffman code must exist, every
//! coefficient lie within its block and its range, every scan end exactly where its data end, every restart marker come in
//! its turn, and the scans together give every coefficient to its last bit. JPEG has no checksums: damage that leaves all
//! this true, such as another amplitude of one coefficient, changes a picture and cannot be told from one.
//!
//! Reference: ITU-T T.81, annexes B (markers), F (sequential) and G (progressive).

mod bits;
mod scan;

use super::MAX_PIXELS;
use crate::error::{Error, Result};
use bits::Table;

/// No encoder writes as many; a file of nothing else would keep the reader busy.
const MOST_TABLES: usize = 1000;
const MOST_SCANS: usize = 100;

/// What walking through a JPEG finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jpeg {
    /// Colour components of the frame: 1 grey, 3 colour, 4 CMYK.
    pub(super) components: usize,
}

/// Walks through a JPEG up to its end-of-image marker.
///
/// # Errors
/// It is truncated or damaged, which and near which byte.
pub(super) fn walk(bytes: &[u8]) -> Result<Jpeg> {
    let mut walk = Walk {
        bytes,
        at: 2, // behind the start-of-image marker
        tables: Default::default(),
        first_quantisers: [None; 4],
        restart_interval: 0,
        frame: None,
        tables_left: MOST_TABLES,
        scans_left: MOST_SCANS,
    };
    loop {
        match walk.marker()? {
            0xD9 => return walk.end(),
            0xDA => walk.scan()?,
            marker => {
                let start = walk.at;
                let segment = walk.segment()?;
                walk.header(marker, segment, start)?;
            }
        }
    }
}

pub(super) fn truncated() -> Error {
    Error::input("the file is truncated: it ends before the image does")
}

fn damaged(at: usize, what: &str) -> Error {
    Error::input(format!("the file is damaged near byte {at}: {what}"))
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Huffman tables by class (DC, AC) and number.
    tables: [[Option<Table>; 4]; 2],
    /// The quantiser of the first coefficient in each quantisation table.
    first_quantisers: [Option<u16>; 4],
    /// Units between restart markers; 0 for none.
    restart_interval: usize,
    frame: Option<Frame>,
    tables_left: usize,
    scans_left: usize,
}

/// The picture's frame.
struct Frame {
    is_progressive: bool,
    height: usize,
    width: usize,
    /// The largest sampling factors, horizontal and vertical.
    most: [usize; 2],
    components: Vec<Component>,
}

struct Component {
    id: u8,
    /// Sampling factors, horizontal and vertical.
    sampling: [usize; 2],
    /// Which quantisation table.
    quantisation: usize,
    /// Lowest bit received of each coefficient.
    received: [u8; 64],
    /// In progressive pictures: which coefficients of each block are not zero.
    nonzero: Vec<u64>,
}

/// No bit of the coefficient was received yet.
const NOTHING: u8 = u8::MAX;

impl Frame {
    /// Blocks across and down of a component that stands alone in its scan.
    fn blocks(&self, component: &Component) -> [usize; 2] {
        let side = |pixels: usize, axis: usize| {
            (pixels * component.sampling[axis])
                .div_ceil(self.most[axis])
                .div_ceil(8)
        };
        [side(self.width, 0), side(self.height, 1)]
    }
}

impl<'a> Walk<'a> {
    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(truncated)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next marker's code. Any number of filling bytes 0xFF may stand before it.
    fn marker(&mut self) -> Result<u8> {
        let start = self.at;
        if self.byte()? != 0xFF {
            return Err(damaged(start, "a marker is missing"));
        }
        loop {
            match self.byte()? {
                0xFF => {}
                0x00 => return Err(damaged(start, "a marker is missing")),
                code => return Ok(code),
            }
        }
    }

    /// The content of the segment that begins here with its length.
    fn segment(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        let length = usize::from(self.byte()?) << 8 | usize::from(self.byte()?);
        if length < 2 {
            return Err(damaged(start, "a segment has no length"));
        }
        let segment = self.bytes.get(start + 2..start + length);
        self.at = start + length;
        segment.ok_or_else(truncated)
    }

    fn header(&mut self, marker: u8, segment: &[u8], at: usize) -> Result<()> {
        let understood = match marker {
            0xC4 => self.huffman_tables(segment),
            0xDB => self.quantisation_tables(segment),
            0xC0..=0xC2 => self.start_of_frame(marker, segment),
            0xDD => segment
                .try_into()
                .ok()
                .map(|interval| self.restart_interval = usize::from(u16::from_be_bytes(interval))),
            0xC3 | 0xC5..=0xCF => {
                let what = "lossless, hierarchical and arithmetic JPEG are not supported";
                return Err(Error::input(what));
            }
            // Applications' data and comments.
            0xE0..=0xEF | 0xFE => Some(()),
            _ => None,
        };
        understood.ok_or_else(|| damaged(at, &format!("the segment {marker:02X} is not valid")))
    }

    fn huffman_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [head, rest @ ..] = segment {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let length = counts.iter().map(|&n| usize::from(n)).sum();
            let values = rest.get(..length)?;
            let table = self
                .tables
                .get_mut(usize::from(head >> 4))?
                .get_mut(usize::from(head & 15))?;
            self.tables_left = self.tables_left.checked_sub(1)?;
            *table = Some(Table::new(counts, values)?);
            segment = &rest[length..];
        }
        Some(())
    }

    fn quantisation_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [head, rest @ ..] = segment {
            let is_wide = match head >> 4 {
                0 => false,
                1 => true,
                _ => return None,
            };
            let table = rest.get(..if is_wide { 128 } else { 64 })?;
            let first = match is_wide {
                true => u16::from_be_bytes([table[0], table[1]]),
                false => u16::from(table[0]),
            };
            *self.first_quantisers.get_mut(usize::from(head & 15))? = Some(first);
            segment = &rest[table.len()..];
        }
        Some(())
    }

    fn start_of_frame(&mut self, marker: u8, segment: &[u8]) -> Option<()> {
        let [8, h1, h0, w1, w0, count, rest @ ..] = segment else {
            return None;
        };
        let (height, width) = (
            u16::from_be_bytes([*h1, *h0]),
            u16::from_be_bytes([*w1, *w0]),
        );
        let is_sane = (1..=4).contains(count)
            && rest.len() == 3 * usize::from(*count)
            && u64::from(height) * u64::from(width) <= MAX_PIXELS;
        if self.frame.is_some() || !is_sane {
            return None;
        }
        let component = |bytes: &[u8]| {
            let sampling = [usize::from(bytes[1] >> 4), usize::from(bytes[1] & 15)];
            let valid = sampling.iter().all(|n| (1..=4).contains(n)) && bytes[2] < 4;
            valid.then(|| Component {
                id: bytes[0],
                sampling,
                quantisation: usize::from(bytes[2]),
                received: [NOTHING; 64],
                nonzero: Vec::new(),
            })
        };
        let components: Vec<Component> =
            rest.chunks_exact(3).map(component).collect::<Option<_>>()?;
        let most = [0, 1].map(|axis| components.iter().map(|c| c.sampling[axis]).max());
        self.frame = Some(Frame {
            is_progressive: marker == 0xC2,
            height: usize::from(height),
            width: usize::from(width),
            most: [most[0]?, most[1]?],
            components,
        });
        let frame = self.frame.as_mut()?;
        if frame.is_progressive {
            let sizes: Vec<[usize; 2]> = frame.components.iter().map(|c| frame.blocks(c)).collect();
            for (component, [across, down]) in frame.components.iter_mut().zip(sizes) {
                component.nonzero = vec![0; across * down];
            }
        }
        Some(())
    }

    /// The end of the image: everything must have come.
    fn end(&self) -> Result<Jpeg> {
        let incomplete = || damaged(self.at, "the image ends before all of its data have come");
        let frame = self.frame.as_ref().ok_or_else(incomplete)?;
        let mut received = frame.components.iter().flat_map(|c| c.received);
        if received.any(|bit| bit != 0) {
            return Err(incomplete());
        }
        Ok(Jpeg {
            components: frame.components.len(),
        })
    }
}
