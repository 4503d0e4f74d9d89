//! Bits and Huffman codes of a scan's compressed data.

/// A Huffman table: for each of all next 16 bits, the length of the code that they begin with and its value.
pub(super) struct Table(Vec<(u8, u8)>);

impl Table {
    /// The table with `counts[i]` codes of i + 1 bits for `values` in order; none if the codes do not fit in 16 bits.
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Option<Self> {
        let mut lookup = Vec::with_capacity(1 << 16);
        let mut values = values.iter();
        for (length, &count) in (1u8..).zip(counts) {
            for &value in values.by_ref().take(usize::from(count)) {
                let end = lookup.len() + (1 << (16 - length));
                if end > 1 << 16 {
                    return None;
                }
                lookup.resize(end, (length, value));
            }
        }
        lookup.resize(1 << 16, (0, 0)); // no code
        Some(Self(lookup))
    }
}

/// The bits of one interval between markers.
pub(super) struct Bits<'a> {
    pub(super) bytes: &'a [u8],
    /// The next byte that is not yet among `held`.
    pub(super) at: usize,
    /// The next bits, right-aligned.
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            held: 0,
            count: 0,
        }
    }

    /// Takes bytes up to the next marker or the file's end. A zero behind 0xFF is no data.
    fn fill(&mut self) {
        while self.count <= 48 {
            let step = match self.bytes.get(self.at..) {
                Some([0xFF, 0x00, ..]) => 2,
                Some([0xFF, ..] | []) | None => return,
                Some(_) => 1,
            };
            self.held = self.held << 8 | u64::from(self.bytes[self.at]);
            self.count += 8;
            self.at += step;
        }
    }

    /// The next `n` bits, 16 at most; none if the data end before.
    pub(super) fn take(&mut self, n: u8) -> Option<u32> {
        let n = u32::from(n);
        if self.count < n {
            self.fill();
        }
        self.count = self.count.checked_sub(n)?;
        Some((self.held >> self.count) as u32 & ((1 << n) - 1))
    }

    /// The value of the next code; none if there is no such code or the data end before.
    pub(super) fn code(&mut self, table: &Table) -> Option<u8> {
        if self.count < 16 {
            self.fill();
        }
        let next = match self.count {
            count @ 0..16 => (self.held << (16 - count)) as u16,
            count => (self.held >> (count - 16)) as u16,
        };
        let (length, value) = table.0[usize::from(next)];
        self.count = self.count.checked_sub(u32::from(length))?;
        (length > 0).then_some(value)
    }

    /// A signed number of `size` bits: those that begin with 0 are negative.
    pub(super) fn signed(&mut self, size: u8) -> Option<i32> {
        let bits = self.take(size)? as i32;
        let is_negative = size > 0 && bits < 1 << (size - 1);
        Some(if is_negative {
            bits + 1 - (1 << size)
        } else {
            bits
        })
    }

    /// True if no more than the bits that fill the last byte are left.
    pub(super) fn is_used_up(&mut self) -> bool {
        self.fill();
        self.count < 8
    }
}
