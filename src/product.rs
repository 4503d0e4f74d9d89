//! The product of two matrices in f32, on one core: the only place where the host calls vectorised code.
//!
//! A product is never shared out among threads here, so its bits depend on the operands alone. Whoever wants several
//! cores cuts the work by its shape and computes each piece as a product of its own.

use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;

/// What becomes of the numbers that the result's memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    /// They are overwritten, whatever they are.
    Overwrite,
    /// The product is added to them.
    Add,
}

/// An operand in memory: element (i, j) stands at `i * strides[0] + j * strides[1]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The memory, from element (0, 0) on.
    pub slice: &'a [f32],
    /// The distances between rows and between columns.
    pub strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Rows of contiguous elements, `stride` apart.
    pub fn rows(slice: &'a [f32], stride: usize) -> Self {
        Self {
            slice,
            strides: [stride, 1],
        }
    }

    /// Columns of contiguous elements, `stride` apart.
    pub fn columns(slice: &'a [f32], stride: usize) -> Self {
        Self {
            slice,
            strides: [1, stride],
        }
    }
}

/// The memory of a result: element (i, j) stands at `i * strides[0] + j * strides[1]`.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    /// The memory, from element (0, 0) on.
    pub slice: &'a mut [f32],
    /// The distances between rows and between columns.
    pub strides: [usize; 2],
}

impl<'a> MatrixMut<'a> {
    /// Rows of contiguous elements, `stride` apart.
    pub fn rows(slice: &'a mut [f32], stride: usize) -> Self {
        Self {
            slice,
            strides: [stride, 1],
        }
    }
}

/// Computes c = a · b, or c += a · b, for a of `[m, k]`, b of `[k, n]` and c of `[m, n]`. An empty sum is 0.
///
/// # Panics
/// If a matrix reaches past the end of its memory, or its strides do not fit an `isize`.
pub fn product([m, n, k]: [usize; 3], a: Matrix, b: Matrix, c: MatrixMut, accumulate: Accumulate) {
    let [a_row, a_column] = checked("a", a.slice.len(), [m, k], a.strides);
    let [b_row, b_column] = checked("b", b.slice.len(), [k, n], b.strides);
    let [c_row, c_column] = checked("c", c.slice.len(), [m, n], c.strides);
    let (a, b, c) = (a.slice.as_ptr(), b.slice.as_ptr(), c.slice.as_mut_ptr());
    let keep = accumulate == Accumulate::Add;
    let gemm = get_gemm_fn();
    // The routine is at its best where the result's columns are contiguous; cᵀ = bᵀ · aᵀ brings rows there.
    let by_rows = c_column < c_row;
    #[expect(
        unsafe_code,
        reason = "the vectorised product takes pointers; its extents are checked above"
    )]
    // SAFETY: `checked` has proven that for each matrix the largest offset, (rows − 1) · row stride + (columns − 1) ·
    // column stride, lies inside its slice (or the matrix is empty and never touched). The slices live through the
    // call, and c is borrowed mutably, so nothing else reads or writes it. The routine reads and writes no other
    // elements; without `keep` it does not read c.
    unsafe {
        if by_rows {
            gemm(
                n,
                m,
                k,
                c,
                c_row,
                c_column,
                keep,
                b,
                b_row,
                b_column,
                a,
                a_row,
                a_column,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        } else {
            gemm(
                m,
                n,
                k,
                c,
                c_column,
                c_row,
                keep,
                a,
                a_column,
                a_row,
                b,
                b_column,
                b_row,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}

/// The strides as the routine takes them, once it is certain that every element lies within `length`.
fn checked(name: &str, length: usize, extents: [usize; 2], strides: [usize; 2]) -> [isize; 2] {
    let reach = |axis: usize| (extents[axis] - 1).checked_mul(strides[axis]);
    let inside = extents.contains(&0)
        || reach(0)
            .zip(reach(1))
            .and_then(|(rows, columns)| rows.checked_add(columns))
            .is_some_and(|last| last < length);
    assert!(
        inside,
        "product: {name} of {extents:?} with strides {strides:?} does not fit in {length} elements"
    );
    strides.map(|stride| {
        isize::try_from(stride).unwrap_or_else(|_| panic!("product: {name} has stride {stride}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut stream = Stream::new(seed, "product", 0, 0);
        (0..n).map(|_| stream.normal() as f32).collect()
    }

    /// The elements of a matrix of `[rows, columns]`, laid out by rows or by columns with gaps of two elements.
    fn layouts(rows: usize, columns: usize) -> [[usize; 2]; 2] {
        [[columns + 2, 1], [1, rows + 2]]
    }

    #[test]
    fn every_layout_and_size_agrees_with_the_definition() {
        let sizes = [0, 1, 2, 3, 5, 17, 64, 97];
        for m in sizes {
            for n in sizes {
                sizes.iter().for_each(|&k| check([m, n, k]));
            }
        }
    }

    fn check([m, n, k]: [usize; 3]) {
        let (a, b) = (numbers((m + 2) * (k + 2), 1), numbers((k + 2) * (n + 2), 2));
        for choice in 0..16 {
            let pick = |bit: usize, layouts: [[usize; 2]; 2]| layouts[choice >> bit & 1];
            let (at, bt) = (pick(0, layouts(m, k)), pick(1, layouts(k, n)));
            let ct = pick(2, layouts(m, n));
            let accumulate = [Accumulate::Overwrite, Accumulate::Add][choice >> 3];
            let start = match accumulate {
                Accumulate::Overwrite => f32::NAN,
                Accumulate::Add => 0.5,
            };
            let mut c = vec![start; (m + 2) * (n + 2)];
            let matrix = |slice, strides| Matrix { slice, strides };
            let into = MatrixMut {
                slice: &mut c,
                strides: ct,
            };
            product([m, n, k], matrix(&a, at), matrix(&b, bt), into, accumulate);
            let mut untouched = c.len();
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let terms = (0..k).map(|l| (a[i * at[0] + l * at[1]], b[l * bt[0] + j * bt[1]]));
                let exact: f64 = terms.map(|(a, b)| f64::from(a) * f64::from(b)).sum();
                let kept = if start.is_nan() {
                    0.0
                } else {
                    f64::from(start)
                };
                let got = f64::from(c[i * ct[0] + j * ct[1]]);
                let close = (got - exact - kept).abs() < 1e-4;
                assert!(close, "{m} {n} {k}, layout {choice}: {got} for {exact}");
                c[i * ct[0] + j * ct[1]] = 7.0;
                untouched -= 1;
            }
            let rest = c.iter().filter(|c| **c != 7.0);
            let rest = rest.filter(|c| **c == start || c.is_nan() && start.is_nan());
            assert_eq!(rest.count(), untouched, "gaps are not written");
        }
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
    fn overflowing_strides_are_refused() {
        let (a, mut c) = (vec![0.0; 16], vec![0.0; 16]);
        let far = Matrix::rows(&a, usize::MAX / 2);
        let into = MatrixMut::rows(&mut c, 4);
        product([4, 4, 4], far, Matrix::rows(&a, 4), into, Accumulate::Add);
    }
}
