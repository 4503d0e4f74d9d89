//! Memory that is asked for before it is needed, so that it arrives while sums run.
//!
//! It is asked for bit by bit: a core waits for about two dozen lines of its cache at a time, and whoever asks for more has to
//! wait as well.

use super::{Matrix, Order};
use std::ops::Range;

/// The numbers of a line of the cache.
const LINE: usize = 16;

/// The terms between two lines that are asked for at least: what is not asked for then has to be waited for.
const OFTEN: usize = 2;

/// Columns of b that are not multiplied yet, and how often a line of them is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    slice: &'a [f32],
    pitch: usize,
    /// A run of neighbours is so many lines, as a power of two.
    wide: u32,
    /// All lines.
    lines: usize,
    /// The terms from one line that is asked for to the next.
    pub(super) every: usize,
    /// The lines that are asked for during a block's sums.
    each: usize,
}

impl<'a> Ahead<'a> {
    /// Nothing.
    pub(super) const NOTHING: Self = Self {
        slice: &[],
        pitch: 0,
        wide: 0,
        lines: 0,
        every: usize::MAX,
        each: 0,
    };

    /// The elements of b at these rows and columns, asked for during `blocks` sums of `terms` each.
    #[inline(always)]
    pub(super) fn new(
        b: Matrix<'a>,
        [rows, columns]: [Range<usize>; 2],
        [blocks, terms]: [usize; 2],
    ) -> Self {
        let [outer, inner] = match b.order {
            Order::Rows => [rows, columns],
            Order::Columns => [columns, rows],
            Order::Panels => return Self::NOTHING,
        };
        let wide = inner.len().div_ceil(LINE).next_power_of_two();
        let lines = outer.len() * wide;
        let every = (blocks * terms / lines.max(1)).max(OFTEN);
        Self {
            slice: b
                .slice
                .get(outer.start * b.pitch + inner.start..)
                .unwrap_or_default(),
            pitch: b.pitch,
            wide: wide.ilog2(),
            lines,
            every,
            each: terms.div_ceil(every),
        }
    }

    /// Asks for a line, when a block's sums have taken `turn` times [`every`](Self::every) terms.
    #[inline(always)]
    pub(super) fn ask(&self, block: usize, turn: usize) {
        let line = block * self.each + turn;
        if line < self.lines {
            let within = line & ((1 << self.wide) - 1);
            let at = (line >> self.wide) * self.pitch + within * LINE;
            machine::ask(self.slice.get(at));
        }
    }
}

/// Asks for the memory of some results.
#[inline(always)]
pub(super) fn ask_for(row: &[f32]) {
    row.chunks(LINE).for_each(|line| machine::ask(line.first()));
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use core::arch::x86_64::_MM_HINT_T0;
    use pulp::x86::V3;
    use std::sync::LazyLock;

    /// The instructions, on machines that are worth it.
    static V3: LazyLock<Option<V3>> = LazyLock::new(V3::try_new);

    #[inline(always)]
    pub(super) fn ask(number: Option<&f32>) {
        if let (Some(v3), Some(number)) = (*V3, number) {
            let line = std::ptr::from_ref(number).cast();
            v3.sse._mm_prefetch::<_MM_HINT_T0>(line);
        }
    }
}

/// Other machines are asked nothing: the standard library has no instruction for it.
#[cfg(not(target_arch = "x86_64"))]
mod machine {
    #[inline(always)]
    pub(super) fn ask(_number: Option<&f32>) {}
}
