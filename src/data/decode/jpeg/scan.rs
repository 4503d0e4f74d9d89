//! One scan: its header, and its compressed data block by block.

use super::bits::{Bits, Table};
use super::{Frame, NOTHING, Walk, damaged, truncated};
use crate::error::{Error, Result};

/// The largest difference of two first coefficients has so many bits, another coefficient so many.
const MOST_DC_BITS: u8 = 11;
const MOST_AC_BITS: u8 = 10;

/// Which coefficients a scan gives, and which of their bits.
#[derive(Clone, Copy)]
struct Band {
    first: usize,
    last: usize,
    /// The lowest bit given before, or 0 in the first scan of these coefficients.
    high: u8,
    /// The lowest bit given now.
    low: u8,
    is_progressive: bool,
}

/// A component in a scan: its position in the frame, and its tables.
#[derive(Clone, Copy)]
struct Part {
    component: usize,
    dc: usize,
    ac: usize,
}

impl Walk<'_> {
    /// Reads a scan's header and walks through its data.
    pub(super) fn scan(&mut self) -> Result<()> {
        let start = self.at;
        let segment = self.segment()?;
        let invalid = || damaged(start, "the header of a scan is not valid");
        self.scans_left = self.scans_left.checked_sub(1).ok_or_else(invalid)?;
        let mut frame = self.frame.take().ok_or_else(invalid)?;
        let (parts, band) = scan_header(segment, &mut frame).ok_or_else(invalid)?;
        let mut units = Units {
            tables: &self.tables,
            first_quantisers: &self.first_quantisers,
            frame: &mut frame,
            band,
            predicted: [0; 4],
            skipped: 0,
            bits: Bits::new(self.bytes, self.at),
        };
        units.all(&parts, self.restart_interval)?;
        self.at = units.bits.at;
        self.frame = Some(frame);
        Ok(())
    }
}

fn scan_header(segment: &[u8], frame: &mut Frame) -> Option<(Vec<Part>, Band)> {
    let (&count, rest) = segment.split_first()?;
    let (listed, rest) = rest.split_at_checked(2 * usize::from(count))?;
    let &[first, last, bits] = rest else {
        return None;
    };
    let part = |bytes: &[u8]| {
        let component = frame.components.iter().position(|c| c.id == bytes[0])?;
        let (dc, ac) = (usize::from(bytes[1] >> 4), usize::from(bytes[1] & 15));
        (dc < 4 && ac < 4).then_some(Part { component, dc, ac })
    };
    let parts: Vec<Part> = listed.chunks_exact(2).map(part).collect::<Option<_>>()?;
    // Sequential scans always give everything, whatever they say.
    let band = if frame.is_progressive {
        Band {
            first: usize::from(first),
            last: usize::from(last),
            high: bits >> 4,
            low: bits & 15,
            is_progressive: true,
        }
    } else {
        Band {
            first: 0,
            last: 63,
            high: 0,
            low: 0,
            is_progressive: false,
        }
    };
    let is_band = match (band.is_progressive, band.first) {
        (true, 0) => band.last == 0,
        (true, first) => first <= band.last && band.last < 64 && parts.len() == 1,
        (false, _) => true,
    };
    let is_step = band.low < 14 && (band.high == 0 || band.high == band.low + 1);
    if parts.is_empty() || parts.len() > 4 || !is_band || !is_step {
        return None;
    }
    for part in &parts {
        let received = &mut frame.components[part.component].received[band.first..=band.last];
        let before = if band.high == 0 { NOTHING } else { band.high };
        if received.iter().any(|&bit| bit != before) {
            return None;
        }
        received.fill(band.low);
    }
    Some((parts, band))
}

/// A scan's data on the way.
struct Units<'a> {
    tables: &'a [[Option<Table>; 4]; 2],
    first_quantisers: &'a [Option<u16>; 4],
    frame: &'a mut Frame,
    band: Band,
    /// The last first coefficient of each component.
    predicted: [i32; 4],
    /// Blocks to come in which the band holds nothing new.
    skipped: u32,
    bits: Bits<'a>,
}

impl Units<'_> {
    /// All units of the scan, with the restart markers between them.
    fn all(&mut self, parts: &[Part], interval: usize) -> Result<()> {
        let frame = &*self.frame;
        let [across, down] = match parts {
            // Alone, a component's blocks come row by row, without those that only fill up a unit of several.
            [part] => frame.blocks(&frame.components[part.component]),
            _ => [
                frame.width.div_ceil(8 * frame.most[0]),
                frame.height.div_ceil(8 * frame.most[1]),
            ],
        };
        let count = across * down;
        for unit in 0..count {
            if interval > 0 && unit > 0 && unit.is_multiple_of(interval) {
                self.restart(unit / interval - 1)?;
            }
            for &part in parts {
                let repeated = match parts.len() {
                    1 => 1,
                    _ => self.frame.components[part.component]
                        .sampling
                        .iter()
                        .product(),
                };
                for _ in 0..repeated {
                    self.block(part, unit).ok_or_else(|| self.senseless())?;
                }
            }
        }
        self.interval_ends()
    }

    fn senseless(&self) -> Error {
        match self.bits.bytes.get(self.bits.at) {
            Some(_) => damaged(self.bits.at, "its compressed data make no sense"),
            None => truncated(),
        }
    }

    /// Between two intervals: nothing is left of the one, and the marker of the other's number follows.
    fn restart(&mut self, number: usize) -> Result<()> {
        self.interval_ends()?;
        let at = self.bits.at;
        let rest = self.bits.bytes.get(at..).unwrap_or_default();
        let filling = rest.iter().take_while(|&&byte| byte == 0xFF).count();
        if filling == 0 || rest.get(filling) != Some(&(0xD0 + (number % 8) as u8)) {
            return Err(damaged(at, "a restart marker is missing"));
        }
        self.bits = Bits::new(self.bits.bytes, at + filling + 1);
        self.predicted = [0; 4];
        Ok(())
    }

    fn interval_ends(&mut self) -> Result<()> {
        if self.skipped == 0 && self.bits.is_used_up() {
            return Ok(());
        }
        Err(damaged(
            self.bits.at,
            "its compressed data do not end with the image",
        ))
    }

    /// One block; none if its data make no sense.
    fn block(&mut self, part: Part, unit: usize) -> Option<()> {
        match (self.band.first, self.band.high) {
            (0, 0) => self.first_coefficient(part)?,
            (0, _) => {
                self.bits.take(1)?;
            }
            _ => {}
        }
        if self.band.last == 0 {
            return Some(());
        }
        let table = self.tables[1][part.ac].as_ref()?;
        let component = &mut self.frame.components[part.component];
        let mut band = Coefficients {
            bits: &mut self.bits,
            table,
            band: self.band,
            skipped: &mut self.skipped,
        };
        if self.band.is_progressive {
            band.refined(component.nonzero.get_mut(unit)?)
        } else {
            band.given(&mut 0)
        }
    }

    /// The first coefficient, as the difference to the one before.
    fn first_coefficient(&mut self, part: Part) -> Option<()> {
        let table = self.tables[0][part.dc].as_ref()?;
        let size = self.bits.code(table).filter(|&size| size <= MOST_DC_BITS)?;
        let predicted = &mut self.predicted[part.component];
        *predicted += self.bits.signed(size)?;
        let component = &self.frame.components[part.component];
        // Samples of 8 bits give no value beyond ±1024. Encoders round it to a whole quantiser, and some overshoot a
        // little on purpose, so that edges stay sharp.
        let step = i64::from(self.first_quantisers[component.quantisation]?) << self.band.low;
        (i64::from(*predicted).abs() * step <= 1280 + step).then_some(())
    }
}

/// The other coefficients of a block.
struct Coefficients<'a, 'b> {
    bits: &'a mut Bits<'b>,
    table: &'a Table,
    band: Band,
    skipped: &'a mut u32,
}

impl Coefficients<'_, '_> {
    /// A progressive scan's share of a block, in which the coefficients `nonzero` are not zero so far.
    fn refined(&mut self, nonzero: &mut u64) -> Option<()> {
        if self.band.high == 0 {
            if *self.skipped > 0 {
                *self.skipped -= 1;
                return Some(());
            }
            return self.given(nonzero);
        }
        let mut k = self.band.first;
        while *self.skipped == 0 && k <= self.band.last {
            let code = self.bits.code(self.table)?;
            let (run, size) = (code >> 4, code & 15);
            match (run, size) {
                (15, 0) | (_, 1) => {}
                (_, 0) => {
                    *self.skipped = (1 << run) + self.bits.take(run)?;
                    break;
                }
                _ => return None,
            }
            if size == 1 {
                self.bits.take(1)?; // its sign
            }
            self.pass(&mut k, Some(run), *nonzero)?;
            if k > self.band.last {
                return None;
            }
            *nonzero |= u64::from(size) << k;
            k += 1;
        }
        if *self.skipped > 0 {
            self.pass(&mut k, None, *nonzero)?;
            *self.skipped -= 1;
        }
        Some(())
    }

    /// Passes over coefficients up to the zero behind `zeros` zeros, or to the end. Each that is not zero has a bit.
    fn pass(&mut self, k: &mut usize, zeros: Option<u8>, nonzero: u64) -> Option<()> {
        let mut left = zeros;
        while *k <= self.band.last {
            if nonzero >> *k & 1 == 1 {
                self.bits.take(1)?;
            } else if let Some(left) = &mut left {
                if *left == 0 {
                    break;
                }
                *left -= 1;
            }
            *k += 1;
        }
        Some(())
    }

    /// Coefficients that come for the first time.
    fn given(&mut self, nonzero: &mut u64) -> Option<()> {
        let mut k = self.band.first.max(1);
        while k <= self.band.last {
            let code = self.bits.code(self.table)?;
            let (run, size) = (code >> 4, code & 15);
            match (run, size) {
                (0, 0) => return Some(()),
                (15, 0) => k += 16,
                (_, 0) if self.band.is_progressive => {
                    *self.skipped = (1 << run) - 1 + self.bits.take(run)?;
                    return Some(());
                }
                (_, 1..=MOST_AC_BITS) => {
                    k += usize::from(run);
                    if k > self.band.last {
                        return None;
                    }
                    self.bits.take(size)?;
                    *nonzero |= 1 << k;
                    k += 1;
                    continue;
                }
                _ => return None,
            }
            // A run of zeros must lead to a coefficient.
            if k > self.band.last {
                return None;
            }
        }
        Some(())
    }
}
