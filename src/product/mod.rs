//! The product of two matrices in f32, on one core.
//!
//! **Method.** b is taken by panels of 64 columns and at most 512 rows, a by 6 rows: the sums of such a block of results
//! stay in registers while the terms pass by (Goto and van de Geijn, *Anatomy of High-Performance Matrix
//! Multiplication*, ACM TOMS 2008). Columns of b are copied to make a panel, unless b is one; a is read where it stands. That
//! is why this is no library's product: convolutions write their panels themselves. While a panel is multiplied, memory is asked
//! for what is read next: another panel that is copied, or what follows the product.
//!
//! **Numerics.** Each element is summed up in the order of its terms, in runs of 512 that are added to what was there, by
//! fused additions where the machine has them. How a product is cut by rows and columns changes no bit.
//!
//! A product is never shared out among threads here, so its bits depend on the operands alone. Whoever wants several
//! cores cuts the work by its shape and computes each piece as a product of its own.

mod ahead;
mod kernel;
pub(crate) mod square;

use crate::workers::simd;
use kernel::{DEPTH, Work};
use std::cell::RefCell;
use std::ops::Range;

pub(crate) use ahead::Next;
pub(crate) use kernel::WIDTH;

thread_local! {
    /// Memory for a panel.
    static PANEL: RefCell<Vec<f32>> = RefCell::new(vec![0.0; WIDTH * DEPTH]);
}

/// What becomes of the numbers that the result's memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    /// They are overwritten, whatever they are.
    Overwrite,
    /// The product is added to them.
    Add,
}

/// Which elements of a matrix are neighbours in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Those of a row.
    Rows,
    /// Those of a column.
    Columns,
    /// Those of a row within a panel of 64 columns. Whole panels stand one after another: what they hold behind the
    /// last column is not used. Only for the right operand.
    Panels,
}

/// An operand in memory.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    slice: &'a [f32],
    pitch: usize,
    order: Order,
}

impl<'a> Matrix<'a> {
    /// The matrix whose element (0, 0) stands first, its rows (or columns) contiguous and `pitch` apart, or each of its panels
    /// of `pitch` rows.
    pub fn new(order: Order, slice: &'a [f32], pitch: usize) -> Self {
        Self {
            slice,
            pitch,
            order,
        }
    }

    /// Rows of contiguous elements, `pitch` apart.
    pub fn rows(slice: &'a [f32], pitch: usize) -> Self {
        Self::new(Order::Rows, slice, pitch)
    }

    /// Columns of contiguous elements, `pitch` apart.
    pub fn columns(slice: &'a [f32], pitch: usize) -> Self {
        Self::new(Order::Columns, slice, pitch)
    }

    /// Panels of so many rows.
    pub fn panels(slice: &'a [f32], rows: usize) -> Self {
        Self::new(Order::Panels, slice, rows)
    }

    /// This matrix without its first rows and columns; nothing is left of one that does not have as many. Not for panels.
    pub fn from(self, row: usize, column: usize) -> Self {
        let start = match self.order {
            Order::Rows => row * self.pitch + column,
            Order::Columns => column * self.pitch + row,
            Order::Panels => unreachable!("panels are whole"),
        };
        Self {
            slice: self.slice.get(start..).unwrap_or_default(),
            ..self
        }
    }
}

/// The memory of a result, whose rows are contiguous.
#[derive(Debug)]
pub enum MatrixMut<'a, 'b> {
    /// One piece of memory.
    Whole {
        /// The memory, from element (0, 0) on.
        slice: &'a mut [f32],
        /// The distance between rows.
        pitch: usize,
    },
    /// A piece of memory for each row.
    Rows(&'a mut [&'b mut [f32]]),
}

impl<'a, 'b> MatrixMut<'a, 'b> {
    /// Rows of contiguous elements, `pitch` apart.
    pub fn rows(slice: &'a mut [f32], pitch: usize) -> Self {
        Self::Whole { slice, pitch }
    }

    /// The same memory, lent once more.
    pub fn again(&mut self) -> MatrixMut<'_, 'b> {
        match self {
            Self::Whole { slice, pitch } => MatrixMut::rows(slice, *pitch),
            Self::Rows(rows) => MatrixMut::Rows(rows),
        }
    }

    /// Some columns of a row.
    #[inline(always)]
    fn row(&mut self, row: usize, columns: Range<usize>) -> &mut [f32] {
        match self {
            Self::Whole { slice, pitch } => {
                &mut slice[row * *pitch + columns.start..row * *pitch + columns.end]
            }
            Self::Rows(rows) => &mut rows[row][columns],
        }
    }
}

/// Computes c = a · b, or c += a · b, for a of `[m, k]`, b of `[k, n]` and c of `[m, n]`. An empty sum is 0.
///
/// # Panics
/// If a matrix reaches past the end of its memory.
pub fn product(size: [usize; 3], a: Matrix, b: Matrix, c: MatrixMut, accumulate: Accumulate) {
    product_before(size, a, b, c, accumulate, Next::NOTHING);
}

/// The same, and memory is asked for what is read next, while the last panel is multiplied.
pub(crate) fn product_before(
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: Matrix,
    mut c: MatrixMut,
    accumulate: Accumulate,
    next: Next,
) {
    if k == 0 && accumulate == Accumulate::Overwrite {
        (0..m).for_each(|row| c.row(row, 0..n).fill(0.0));
    }
    if [m, n, k].contains(&0) {
        return;
    }
    assert!(a.order != Order::Panels, "product: a is in panels");
    check("a", a, [m, k]);
    check("b", b, [k, n]);
    PANEL.with_borrow_mut(|panel| {
        simd(Work {
            size: [m, n, k],
            a,
            b,
            c,
            accumulate,
            panel,
            next,
        });
    });
}

/// Makes certain that a matrix which is not empty lies within its memory.
fn check(name: &str, matrix: Matrix, [rows, columns]: [usize; 2]) {
    let [count, length, unit] = match matrix.order {
        Order::Rows => [rows, columns, 1],
        Order::Columns => [columns, rows, 1],
        Order::Panels => [columns.div_ceil(WIDTH), rows, WIDTH],
    };
    let end = (count - 1).checked_mul(matrix.pitch);
    let end = end.and_then(|start| start.checked_add(length)?.checked_mul(unit));
    assert!(
        matrix.pitch >= length && end.is_some_and(|end| end <= matrix.slice.len()),
        "product: {name} of [{rows}, {columns}] with a pitch of {} does not fit in {} elements",
        matrix.pitch,
        matrix.slice.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use pulp::WithSimd as _;

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut stream = Stream::new(seed, "product", 0, 0);
        (0..n).map(|_| stream.normal() as f32).collect()
    }

    /// All orders, with a pitch that leaves gaps of two elements or rows.
    fn layouts(rows: usize, columns: usize) -> [(Order, usize); 3] {
        [
            (Order::Rows, columns + 2),
            (Order::Columns, rows + 2),
            (Order::Panels, rows + 2),
        ]
    }

    fn at((order, pitch): (Order, usize), i: usize, j: usize) -> usize {
        match order {
            Order::Rows => i * pitch + j,
            Order::Columns => j * pitch + i,
            Order::Panels => (j / WIDTH * pitch + i) * WIDTH + j % WIDTH,
        }
    }

    #[test]
    fn every_layout_and_size_agrees_with_the_definition() {
        let sizes = [0, 1, 2, 3, 5, 17, 62, 64, 97];
        for m in sizes {
            for n in sizes {
                sizes.iter().for_each(|&k| check([m, n, k]));
            }
        }
    }

    fn check([m, n, k]: [usize; 3]) {
        let wide = (n + 2).next_multiple_of(WIDTH);
        let (a, b) = (numbers((m + 2) * (k + 2), 1), numbers((k + 2) * wide, 2));
        for choice in 0..12 {
            let of_a = layouts(m, k)[choice & 1];
            let of_b = layouts(k, n)[choice / 4];
            let accumulate = [Accumulate::Overwrite, Accumulate::Add][choice >> 1 & 1];
            let start = match accumulate {
                Accumulate::Overwrite => f32::NAN,
                Accumulate::Add => 0.5,
            };
            let pitch = n + 2;
            let mut c = vec![start; (m + 2) * pitch];
            let [first, second] = [(of_a, &a), (of_b, &b)]
                .map(|((order, pitch), slice)| Matrix::new(order, slice, pitch));
            let into = MatrixMut::rows(&mut c, pitch);
            product([m, n, k], first, second, into, accumulate);
            let mut rows: Vec<Vec<f32>> = vec![vec![start; n]; m];
            let mut rows: Vec<&mut [f32]> = rows.iter_mut().map(|row| &mut row[..]).collect();
            let into = MatrixMut::Rows(&mut rows);
            product([m, n, k], first, second, into, accumulate);
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let terms = (0..k).map(|l| (a[at(of_a, i, l)], b[at(of_b, l, j)]));
                let exact: f64 = terms.map(|(a, b)| f64::from(a) * f64::from(b)).sum();
                let kept = if start.is_nan() {
                    0.0
                } else {
                    f64::from(start)
                };
                let got = &mut c[i * pitch + j];
                assert_eq!(*got, rows[i][j], "{m} {n} {k}, layout {choice}");
                let close = (f64::from(*got) - exact - kept).abs() < 1e-4;
                assert!(close, "{m} {n} {k}, layout {choice}: {got} for {exact}");
                *got = 7.0;
            }
            if ![m, n, k].contains(&0) {
                let narrow = on_narrow_machines([m, n, k], [first, second], accumulate);
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let close = |c: &Vec<f32>| (c[i * n + j] - rows[i][j]).abs() < 1e-4;
                    assert!(narrow.iter().all(close), "{m} {n} {k}, layout {choice}");
                }
            }
            let rest = c.iter().filter(|c| **c != 7.0);
            let rest = rest.filter(|c| **c == start || c.is_nan() && start.is_nan());
            assert_eq!(rest.count(), c.len() - m * n, "gaps are not written");
        }
    }

    /// The product on top of 0.5, or by itself, as machines with narrower vectors, or none, compute it.
    fn on_narrow_machines(
        size: [usize; 3],
        [a, b]: [Matrix; 2],
        accumulate: Accumulate,
    ) -> Vec<Vec<f32>> {
        let [m, n, _] = size;
        let mut panel = vec![0.0; WIDTH * DEPTH];
        let mut run = |compute: &dyn Fn(Work)| {
            let mut c = vec![0.5; m * n];
            compute(Work {
                size,
                a,
                b,
                c: MatrixMut::rows(&mut c, n),
                accumulate,
                panel: &mut panel,
                next: Next::NOTHING,
            });
            c
        };
        let mut results = vec![run(&|work| work.with_simd(pulp::Scalar::new()))];
        #[cfg(target_arch = "x86_64")]
        if let Some(v3) = pulp::x86::V3::try_new() {
            results.push(run(&|work| work.with_simd(v3)));
        }
        results
    }

    /// Long sums go in several runs, and how a product is cut by rows and columns changes no bit.
    #[test]
    fn long_sums_agree_with_the_definition_however_they_are_cut() {
        let [m, n, k] = [13, 150, 2 * DEPTH + 77];
        let (a, b) = (numbers(m * k, 3), numbers(k * n, 4));
        let (a, b) = (Matrix::rows(&a, k), Matrix::columns(&b, k));
        let mut whole = vec![0.0; m * n];
        let overwrite = Accumulate::Overwrite;
        product([m, n, k], a, b, MatrixMut::rows(&mut whole, n), overwrite);
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let terms = (0..k).map(|l| [a.slice[i * k + l], b.slice[j * k + l]]);
            let exact: f64 = terms.map(|[a, b]| f64::from(a) * f64::from(b)).sum();
            assert!(
                (f64::from(whole[i * n + j]) - exact).abs() < 1e-3,
                "{i} {j}"
            );
        }
        let mut cut = vec![0.0; m * n];
        for (row, rows) in [(0, 1), (1, 5), (6, 7)] {
            for (column, columns) in [(0, 1), (1, 63), (64, 16), (80, 70)] {
                let into = MatrixMut::rows(&mut cut[row * n + column..], n);
                let size = [rows, columns, k];
                product(size, a.from(row, 0), b.from(0, column), into, overwrite);
            }
        }
        assert_eq!(whole, cut);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_short_slice_is_refused() {
        let (a, mut c) = (vec![0.0; 11], vec![0.0; 9]);
        let into = MatrixMut::rows(&mut c, 3);
        product(
            [3, 3, 4],
            Matrix::rows(&a, 4),
            Matrix::rows(&a, 3),
            into,
            Accumulate::Add,
        );
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn an_overflowing_pitch_is_refused() {
        let (a, mut c) = (vec![0.0; 16], vec![0.0; 16]);
        let far = Matrix::rows(&a, usize::MAX / 2);
        let into = MatrixMut::rows(&mut c, 4);
        product([4, 4, 4], far, Matrix::rows(&a, 4), into, Accumulate::Add);
    }
}
