//! Windows over images, for pooling.

use crate::error::{Error, Result};
use crate::graph::Launch;
use crate::ops::{CeilMode, Pooling};
use crate::shape::Shape;
use std::ops::Range;

/// The most that a length and the number of windows along it, multiplied, may be.
const MOST: usize = 1 << 30;

/// Where windows lie over an image: height first, then width.
///
/// In the padded image, window i begins at ⌊i·stride / denominator⌋ and ends before ⌈(i·stride + kernel_size) / denominator⌉.
/// The denominator of windows that slide is 1. Adaptive windows, H' over a length H, have the stride and the size H / H'
/// and are rounded outwards.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Windows {
    /// Height and width of the image.
    image: [usize; 2],
    /// Windows along the height and the width.
    count: [usize; 2],
    /// Height and width of a window.
    kernel_size: [usize; 2],
    /// From one window to the next.
    stride: [usize; 2],
    /// Rows and columns added on every side.
    padding: [usize; 2],
    denominator: [usize; 2],
}

impl Windows {
    /// The windows of `pooling` over images of `size` (height, width); `name` is the operation that asks.
    pub(in crate::ops) fn new(name: &str, pooling: &Pooling, size: [usize; 2]) -> Result<Self> {
        match *pooling {
            Pooling::Sliding {
                kernel_size,
                stride,
                padding,
                ceil_mode,
            } => {
                check(name, kernel_size, stride, padding)?;
                let along =
                    |axis: usize| [size, kernel_size, stride, padding].map(|pair| pair[axis]);
                let count = [0, 1].map(|axis| count_along(along(axis), ceil_mode));
                let [Some(rows), Some(columns)] = count else {
                    return Err(Error::shape(format!(
                        "{name}: windows of {kernel_size:?} with padding {padding:?} do not fit into images of {size:?}"
                    )));
                };
                Ok(Self {
                    image: size,
                    count: [rows, columns],
                    kernel_size,
                    stride,
                    padding,
                    denominator: [1, 1],
                })
            }
            Pooling::Adaptive { output_size } => {
                let fits = |axis: usize| {
                    (1..=MOST).contains(&size[axis].saturating_mul(output_size[axis]))
                };
                if !fits(0) || !fits(1) {
                    return Err(Error::shape(format!(
                        "{name}: no {output_size:?} windows lie over images of {size:?}: no length may be 0, and none times its windows more than {MOST}"
                    )));
                }
                Ok(Self {
                    image: size,
                    count: output_size,
                    kernel_size: size,
                    stride: size,
                    padding: [0, 0],
                    denominator: output_size,
                })
            }
        }
    }

    /// The windows over x [N, C, H, W], and the shape [N, C, H', W'] of what they yield.
    pub(in crate::ops) fn over(name: &str, pooling: &Pooling, x: Shape) -> Result<(Self, Shape)> {
        let &[n, c, h, w] = &*x else {
            return Err(Error::shape(format!("{name}: x {x} is not [N, C, H, W]")));
        };
        let windows = Self::new(name, pooling, [h, w])?;
        let [rows, columns] = windows.count;
        Ok((windows, Shape::new(&[n, c, rows, columns])?))
    }

    /// The windows over the images of `size` (height, width) from which they yielded `result`, and the images' shape.
    pub(in crate::ops) fn under(
        name: &str,
        pooling: &Pooling,
        result: Shape,
        size: [usize; 2],
    ) -> Result<(Self, Shape)> {
        let &[n, c, _, _] = &*result else {
            return Err(Error::shape(format!(
                "{name}: output_grad {result} is not [N, C, H, W]"
            )));
        };
        let image = Shape::new(&[n, c, size[0], size[1]])?;
        let (windows, wanted) = Self::over(name, pooling, image)?;
        if wanted == result {
            return Ok((windows, image));
        }
        Err(Error::shape(format!(
            "{name}: output_grad {result} does not come from images {image}, whose windows yield {wanted}"
        )))
    }

    /// The most elements of a window.
    pub(in crate::ops) fn area(&self) -> usize {
        let along = |axis: usize| {
            (self.kernel_size[axis] + self.denominator[axis] - 1).div_ceil(self.denominator[axis])
        };
        along(0) * along(1)
    }

    /// How many planes of so many elements make a piece of work worth sharing out.
    pub(in crate::ops) fn planes_per_task(plane: usize) -> usize {
        (32_768 / plane.max(1)).max(1)
    }

    /// The padded positions along `axis` from the first to the last that window `index` reaches.
    fn reach(&self, axis: usize, index: usize) -> Range<usize> {
        let start = index * self.stride[axis];
        let end = start + self.kernel_size[axis];
        start / self.denominator[axis]..end.div_ceil(self.denominator[axis])
    }

    /// The positions along `axis` (0 height, 1 width) inside the image that window `index` sees.
    pub(in crate::ops) fn inside(&self, axis: usize, index: usize) -> Range<usize> {
        let (reach, padding) = (self.reach(axis, index), self.padding[axis]);
        reach.start.saturating_sub(padding)..(reach.end - padding).min(self.image[axis])
    }

    /// What every window along `axis` sees.
    pub(in crate::ops) fn all(&self, axis: usize) -> Vec<Range<usize>> {
        (0..self.count[axis])
            .map(|index| self.inside(axis, index))
            .collect()
    }

    /// Size, stride and padding along `axis` of windows that slide; `None` if they are adaptive.
    pub(in crate::ops) fn sliding(&self, axis: usize) -> Option<[usize; 3]> {
        let along = [self.kernel_size, self.stride, self.padding].map(|pair| pair[axis]);
        (self.denominator[axis] == 1).then_some(along)
    }

    /// The length along `axis` of what window `index` sees of the image and its padding.
    pub(in crate::ops) fn padded_length(&self, axis: usize, index: usize) -> usize {
        let (reach, padded) = (
            self.reach(axis, index),
            self.image[axis] + 2 * self.padding[axis],
        );
        reach.end.min(padded) - reach.start
    }

    /// The windows along `axis` that see `position`.
    pub(in crate::ops) fn covering(&self, axis: usize, position: usize) -> Range<usize> {
        let (padded, stride) = (position + self.padding[axis], self.stride[axis]);
        let (start, end) = (
            padded * self.denominator[axis],
            (padded + 1) * self.denominator[axis],
        );
        let past = (start + stride).saturating_sub(self.kernel_size[axis]);
        past / stride..end.div_ceil(stride).min(self.count[axis])
    }

    /// The most windows that see one element.
    pub(in crate::ops) fn overlap(&self) -> usize {
        let along = |axis: usize| {
            (self.kernel_size[axis] + self.denominator[axis] - 1).div_ceil(self.stride[axis])
        };
        along(0) * along(1)
    }

    /// Appends the structure `Windows` of `shaders/lib/windows.wgsl`, and asks for `count` invocations.
    pub(in crate::ops) fn words(&self, launch: Launch, count: usize) -> Launch {
        launch
            .words(&self.image)
            .words(&self.count)
            .words(&self.kernel_size)
            .words(&self.stride)
            .words(&self.padding)
            .words(&self.denominator)
            .word(count)
            .elements(count, super::WORKGROUP)
    }
}

/// Whether windows can slide so.
fn check(
    name: &str,
    kernel_size: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Result<()> {
    let sensible = |length: &usize| (1..=usize::from(u16::MAX)).contains(length);
    if !kernel_size.iter().chain(&stride).all(sensible) {
        return Err(Error::shape(format!(
            "{name}: kernel_size {kernel_size:?} and stride {stride:?} must lie in 1..=65535"
        )));
    }
    if padding[0] > kernel_size[0] / 2 || padding[1] > kernel_size[1] / 2 {
        return Err(Error::shape(format!(
            "{name}: padding {padding:?} is more than half of kernel_size {kernel_size:?}"
        )));
    }
    Ok(())
}

/// How many windows slide over a length: all that fit, or one more that reaches beyond, if it starts before the end.
fn count_along(
    [length, kernel_size, stride, padding]: [usize; 4],
    ceil_mode: CeilMode,
) -> Option<usize> {
    let beyond = match ceil_mode {
        CeilMode::No => 0,
        CeilMode::Yes => stride - 1,
    };
    let rest = (length + 2 * padding + beyond).checked_sub(kernel_size)?;
    let begun = (length + padding).div_ceil(stride);
    (length > 0).then_some((rest / stride + 1).min(begun))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::support::shapes;

    /// The two directions agree: a window sees a position if and only if the position is seen by the window. No window is
    /// empty, and the bounds of size and overlap hold and are reached by windows that slide.
    #[test]
    fn inside_and_covering_are_inverse() {
        for (about, pooling, [_, _, height, width]) in shapes::windows() {
            let windows = Windows::new("test", &pooling, [height, width]).expect("they fit");
            let (mut area, mut overlap) = (1, 1);
            for axis in [0, 1] {
                let all = windows.all(axis);
                assert!(all.iter().all(|window| !window.is_empty()), "{about}");
                area *= all.iter().map(|window| window.len()).max().unwrap_or(0);
                let mut most = 0;
                for position in 0..[height, width][axis] {
                    let seen: Vec<_> = (0..all.len())
                        .filter(|&index| all[index].contains(&position))
                        .collect();
                    let covering: Vec<_> = windows.covering(axis, position).collect();
                    assert_eq!(seen, covering, "{about}: {windows:?} at {position}");
                    most = most.max(seen.len());
                }
                overlap *= most;
            }
            assert!(
                area <= windows.area() && overlap <= windows.overlap(),
                "{about}"
            );
        }
    }
}
