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

/// What will be read: runs of neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next<'a> {
    /// The memory, from the first run on.
    pub slice: &'a [f32],
    /// The elements from one run to the next.
    pub pitch: usize,
    /// How many runs, and how many elements of each.
    pub size: [usize; 2],
}

impl<'a> Next<'a> {
    /// Nothing.
    pub(crate) const NOTHING: Self = Self {
        slice: &[],
        pitch: 0,
        size: [0; 2],
    };

    /// These rows and columns of a matrix.
    #[inline(always)]
    pub(super) fn part(matrix: Matrix<'a>, [rows, columns]: [Range<usize>; 2]) -> Self {
        let [outer, inner] = match matrix.order {
            Order::Rows => [rows, columns],
            Order::Columns => [columns, rows],
            Order::Panels => return Self::NOTHING,
        };
        let start = outer.start * matrix.pitch + inner.start;
        Self {
            slice: matrix.slice.get(start..).unwrap_or_default(),
            pitch: matrix.pitch,
            size: [outer.len(), inner.len()],
        }
    }
}

/// What will be read, and how often a line of it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    slice: &'a [f32],
    pitch: usize,
    /// The lines of a run of neighbours, and the logarithm of the power of two that numbers them.
    run: usize,
    wide: u32,
    /// All numbers of lines.
    lines: usize,
    /// The terms from one line that is asked for to the next.
    pub(super) every: usize,
    /// The lines that are asked for during a block's sums.
    each: usize,
}

impl<'a> Ahead<'a> {
    /// What is next, asked for during `blocks` sums of `terms` each.
    #[inline(always)]
    pub(super) fn new(next: Next<'a>, [blocks, terms]: [usize; 2]) -> Self {
        let [runs, length] = next.size;
        let run = length.div_ceil(LINE);
        let wide = run.next_power_of_two();
        let lines = if run > 0 { runs * wide } else { 0 };
        let every = match lines {
            0 => usize::MAX,
            lines => (blocks * terms / lines).max(OFTEN),
        };
        Self {
            slice: next.slice,
            pitch: next.pitch,
            run,
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
        let within = line & ((1 << self.wide) - 1);
        if line < self.lines && within < self.run {
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
