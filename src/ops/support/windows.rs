//! Windows that slide over images, for pooling.

use crate::error::{Error, Result};
use crate::graph::{Attributes, Launch};
use crate::shape::Shape;
use std::ops::Range;

/// Where windows lie over an image: height first, then width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) struct Windows {
    /// Height and width of a window.
    pub kernel_size: [usize; 2],
    /// From one window to the next.
    pub stride: [usize; 2],
    /// Rows and columns added on every side.
    pub padding: [usize; 2],
}

impl Windows {
    /// As attributes.
    pub(in crate::ops) fn attributes(&self) -> Attributes {
        Attributes::none()
            .with("kernel_size", &self.kernel_size[..])
            .with("stride", &self.stride[..])
            .with("padding", &self.padding[..])
    }

    /// From attributes: 2 × 2 without padding by default, and the stride is the window's size.
    pub(in crate::ops) fn from_attributes(attributes: &Attributes) -> Result<Self> {
        let kernel_size = attributes.pair("kernel_size", [2, 2])?;
        Ok(Self {
            kernel_size,
            stride: attributes.pair("stride", kernel_size)?,
            padding: attributes.pair("padding", [0, 0])?,
        })
    }

    /// The shape [N, C, H', W'] of what the windows over [N, C, H, W] yield.
    pub(in crate::ops) fn outputs(&self, name: &str, x: Shape) -> Result<Shape> {
        let &[n, c, h, w] = &*x else {
            return Err(Error::shape(format!("{name}: x {x} is not [N, C, H, W]")));
        };
        let mut size = [0; 2];
        for axis in 0..2 {
            let (kernel_size, stride, padding) = (
                self.kernel_size[axis],
                self.stride[axis],
                self.padding[axis],
            );
            let sensible = 1..=usize::from(u16::MAX);
            if !sensible.contains(&kernel_size) || !sensible.contains(&stride) {
                return Err(Error::shape(format!(
                    "{name}: kernel_size {:?} and stride {:?} must lie in 1..=65535",
                    self.kernel_size, self.stride
                )));
            }
            if padding > kernel_size / 2 {
                return Err(Error::shape(format!(
                    "{name}: padding {:?} is more than half of kernel_size {:?}",
                    self.padding, self.kernel_size
                )));
            }
            let length = [h, w][axis];
            if length == 0 || length + 2 * padding < kernel_size {
                return Err(Error::shape(format!(
                    "{name}: windows of {:?} with padding {:?} do not fit into x {x}",
                    self.kernel_size, self.padding
                )));
            }
            size[axis] = self.along(axis, length);
        }
        Shape::new(&[n, c, size[0], size[1]])
    }

    /// The shape [N, C, H, W] of the images from which windows yielded `result`; `size` is [H, W].
    pub(in crate::ops) fn image(
        &self,
        name: &str,
        result: Shape,
        size: [usize; 2],
    ) -> Result<Shape> {
        let &[n, c, _, _] = &*result else {
            return Err(Error::shape(format!(
                "{name}: output_grad {result} is not [N, C, H, W]"
            )));
        };
        let image = Shape::new(&[n, c, size[0], size[1]])?;
        let wanted = self.outputs(name, image)?;
        if wanted == result {
            return Ok(image);
        }
        Err(Error::shape(format!(
            "{name}: output_grad {result} does not come from images {image}, whose windows yield {wanted}"
        )))
    }

    /// How many windows fit along `axis` into `length` positions.
    pub(in crate::ops) fn along(&self, axis: usize, length: usize) -> usize {
        (length + 2 * self.padding[axis] - self.kernel_size[axis]) / self.stride[axis] + 1
    }

    /// The elements of a window.
    pub(in crate::ops) fn area(&self) -> usize {
        self.kernel_size[0] * self.kernel_size[1]
    }

    /// How many planes of so many elements make a piece of work worth sharing out.
    pub(in crate::ops) fn planes_per_task(plane: usize) -> usize {
        (32_768 / plane.max(1)).max(1)
    }

    /// The positions along `axis` (0 height, 1 width; `length` in all) inside the image that window `index` sees.
    pub(in crate::ops) fn inside(&self, axis: usize, index: usize, length: usize) -> Range<usize> {
        let (start, padding) = (index * self.stride[axis], self.padding[axis]);
        start.saturating_sub(padding)..(start + self.kernel_size[axis] - padding).min(length)
    }

    /// The windows along `axis` (`count` in all) that see `position`.
    pub(in crate::ops) fn covering(
        &self,
        axis: usize,
        position: usize,
        count: usize,
    ) -> Range<usize> {
        let (padded, stride) = (position + self.padding[axis], self.stride[axis]);
        let first = (padded + 1)
            .saturating_sub(self.kernel_size[axis])
            .div_ceil(stride);
        first..(padded / stride + 1).min(count)
    }

    /// The most windows that see one element.
    pub(in crate::ops) fn overlap(&self) -> usize {
        let along = |axis: usize| self.kernel_size[axis].div_ceil(self.stride[axis]);
        along(0) * along(1)
    }

    /// Appends the structure `Windows` of `shaders/lib/windows.wgsl`, and asks for `count` invocations.
    pub(in crate::ops) fn words(
        &self,
        launch: Launch,
        image: Shape,
        result: Shape,
        count: usize,
    ) -> Launch {
        launch
            .words(&image[2..])
            .words(&result[2..])
            .words(&self.kernel_size)
            .words(&self.stride)
            .words(&self.padding)
            .word(count)
            .elements(count, super::WORKGROUP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two directions agree: a window sees a position if and only if the position is seen by the window.
    #[test]
    fn inside_and_covering_are_inverse() {
        for (kernel_size, stride, padding, length) in [
            (3, 2, 1, 7),
            (2, 2, 0, 9),
            (3, 1, 1, 4),
            (2, 5, 1, 12),
            (5, 3, 2, 5),
        ] {
            let windows = Windows {
                kernel_size: [kernel_size; 2],
                stride: [stride; 2],
                padding: [padding; 2],
            };
            let count = (length + 2 * padding - kernel_size) / stride + 1;
            for position in 0..length {
                let seen: Vec<_> = (0..count)
                    .filter(|&index| windows.inside(0, index, length).contains(&position))
                    .collect();
                let covering: Vec<_> = windows.covering(0, position, count).collect();
                assert_eq!(seen, covering, "{windows:?} at {position} of {length}");
            }
        }
    }
}
