//! Where the positions of a resized image lie in the original, in whole numbers: no rounding decides what is read.

use crate::error::{Error, Result};
use crate::graph::Launch;
use crate::ops::{AlignCorners, Interpolation};
use crate::real::Real;
use crate::shape::Shape;
use std::ops::Range;

/// The most that old and new length of an axis, multiplied, may be: twice as much and some still fits into a word.
const MOST: usize = 1 << 30;

/// The images [N, C, H, W] and [N, C, H', W'], and how a position of the second lies in the first.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Resizing {
    interpolation: Interpolation,
    /// Along the height and along the width.
    pub axes: [Ruler; 2],
}

impl Resizing {
    /// From images of size `from` to images of size `to` (height, width); `name` is the operation that asks.
    pub(in crate::ops) fn new(
        name: &str,
        interpolation: Interpolation,
        from: [usize; 2],
        to: [usize; 2],
    ) -> Result<Self> {
        let fits = |axis: usize| (1..=MOST).contains(&from[axis].saturating_mul(to[axis]));
        if !fits(0) || !fits(1) {
            return Err(Error::shape(format!(
                "{name}: no image of {from:?} is resized to {to:?}: no length may be 0, and none times its new length more than {MOST}"
            )));
        }
        let axes = [0, 1].map(|axis| Ruler::new(interpolation, from[axis], to[axis]));
        Ok(Self {
            interpolation,
            axes,
        })
    }

    /// Completes a launch: the structure `Resizing` of `shaders/lib/resizing.wgsl`, and `count` invocations.
    pub(in crate::ops) fn launch(&self, launch: Launch, count: usize) -> Launch {
        let pair = |part: fn(&Ruler) -> usize| [part(&self.axes[0]), part(&self.axes[1])];
        launch
            .words(&pair(|axis| axis.from))
            .words(&pair(|axis| axis.to))
            .words(&pair(|axis| axis.step))
            .words(&pair(|axis| axis.plus))
            .words(&pair(|axis| axis.minus))
            .words(&pair(|axis| axis.denominator))
            .word(self.interpolation.neighbours())
            .word(count)
            .elements(count, super::WORKGROUP)
    }
}

/// Height and width of images [N, C, H, W]; `what` they are, and `name` the operation that asks.
pub(in crate::ops) fn image_size(name: &str, what: &str, x: Shape) -> Result<[usize; 2]> {
    match *x {
        [_, _, height, width] => Ok([height, width]),
        _ => Err(Error::shape(format!(
            "{name}: {what} {x} is not [N, C, H, W]"
        ))),
    }
}

/// One axis: position i of `to` lies at (max(i·step + plus, minus) − minus) / denominator of `from`, or at its last.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Ruler {
    from: usize,
    to: usize,
    step: usize,
    plus: usize,
    minus: usize,
    denominator: usize,
    neighbours: usize,
}

/// What a position of the new axis takes: the old one's element `first`, or where it lies `part` denominators past that,
/// some of the next as well.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Tap {
    /// The element at or before the position.
    pub first: usize,
    /// How far past it.
    pub part: usize,
}

impl Ruler {
    fn new(interpolation: Interpolation, from: usize, to: usize) -> Self {
        let [step, plus, minus, denominator] = match interpolation {
            Interpolation::Nearest => [from, 0, 0, to],
            // (i + ½)·from/to − ½, and nothing before the first.
            Interpolation::Bilinear(AlignCorners::No) => [2 * from, from, to, 2 * to],
            // Of a single element everything is its copy.
            Interpolation::Bilinear(AlignCorners::Yes) if from == 1 => [1, 0, to, 1],
            Interpolation::Bilinear(AlignCorners::Yes) => [from - 1, 0, 0, (to - 1).max(1)],
        };
        Self {
            from,
            to,
            step,
            plus,
            minus,
            denominator,
            neighbours: interpolation.neighbours(),
        }
    }

    /// What position `i` takes.
    pub(in crate::ops) fn tap(&self, i: usize) -> Tap {
        let place = (i * self.step + self.plus).max(self.minus) - self.minus;
        let place = place.min((self.from - 1) * self.denominator);
        Tap {
            first: place / self.denominator,
            part: place % self.denominator * self.neighbours,
        }
    }

    /// The share of the second element in what a tap takes.
    pub(in crate::ops) fn share<R: Real>(&self, tap: Tap) -> R {
        R::count(tap.part) / R::count(self.denominator)
    }

    /// What a tap takes, where `value` gives the elements.
    pub(in crate::ops) fn take<R: Real>(&self, tap: Tap, value: impl Fn(usize) -> R) -> R {
        if tap.part == 0 {
            return value(tap.first);
        }
        let share: R = self.share(tap);
        (R::ONE - share) * value(tap.first) + share * value(tap.first + 1)
    }

    /// The weight with which position `i`, one of [`readers`](Self::readers), takes `element`.
    pub(in crate::ops) fn weight<R: Real>(&self, i: usize, element: usize) -> R {
        let tap = self.tap(i);
        let share: R = self.share(tap);
        if tap.first == element {
            R::ONE - share
        } else {
            share
        }
    }

    /// The positions that take `element`, some perhaps with the weight 0.
    pub(in crate::ops) fn readers(&self, element: usize) -> Range<usize> {
        self.reaching(element.saturating_sub(self.neighbours))..self.reaching(element + 1)
    }

    /// The first position that lies at `element` or beyond.
    fn reaching(&self, element: usize) -> usize {
        if element == 0 {
            return 0;
        }
        let ahead = (element * self.denominator + self.minus).max(self.plus) - self.plus;
        ahead.div_ceil(self.step).min(self.to)
    }

    /// All positions' taps, with the shares of their second elements, for the host's fast versions.
    pub(in crate::ops) fn taps(&self) -> Vec<(Tap, f32)> {
        let tap = |i| (self.tap(i), self.share(self.tap(i)));
        (0..self.to).map(tap).collect()
    }
}

/// Images worth resizing.
pub(in crate::ops) struct Example {
    /// What the case is about.
    pub about: &'static str,
    /// How.
    pub interpolation: Interpolation,
    /// [N, C, H, W].
    pub image: [usize; 4],
    /// [H', W'].
    pub size: [usize; 2],
}

const NEAREST: Interpolation = Interpolation::Nearest;
const CENTRES: Interpolation = Interpolation::Bilinear(AlignCorners::No);
const CORNERS: Interpolation = Interpolation::Bilinear(AlignCorners::Yes);

/// The cases of both rooms.
#[rustfmt::skip]
pub(in crate::ops) const EXAMPLES: &[Example] = &[
    Example { about: "nearest, twice the size", interpolation: NEAREST, image: [2, 3, 4, 5], size: [8, 10] },
    Example { about: "nearest, larger and smaller", interpolation: NEAREST, image: [1, 2, 5, 11], size: [13, 7] },
    Example { about: "nearest, much smaller", interpolation: NEAREST, image: [1, 2, 23, 17], size: [3, 1] },
    Example { about: "twice the size", interpolation: CENTRES, image: [2, 3, 4, 5], size: [8, 10] },
    Example { about: "half the size", interpolation: CENTRES, image: [1, 2, 8, 12], size: [4, 6] },
    Example { about: "larger and smaller", interpolation: CENTRES, image: [1, 2, 5, 11], size: [13, 7] },
    Example { about: "smaller and larger", interpolation: CENTRES, image: [1, 2, 17, 3], size: [5, 31] },
    Example { about: "elements that nothing reads", interpolation: CENTRES, image: [1, 2, 31, 29], size: [3, 2] },
    Example { about: "the same size", interpolation: CENTRES, image: [2, 1, 7, 5], size: [7, 5] },
    Example { about: "from one element", interpolation: CENTRES, image: [1, 2, 1, 1], size: [3, 4] },
    Example { about: "to one element", interpolation: CENTRES, image: [2, 1, 4, 6], size: [1, 1] },
    Example { about: "one element", interpolation: CENTRES, image: [1, 1, 1, 1], size: [1, 1] },
    Example { about: "corners, twice the size", interpolation: CORNERS, image: [2, 3, 4, 5], size: [8, 10] },
    Example { about: "corners, larger and smaller", interpolation: CORNERS, image: [1, 2, 5, 11], size: [13, 7] },
    Example { about: "corners, much smaller", interpolation: CORNERS, image: [1, 2, 31, 29], size: [3, 2] },
    Example { about: "corners, from one row to one column", interpolation: CORNERS, image: [1, 2, 1, 6], size: [5, 1] },
    Example { about: "corners, the same size", interpolation: CORNERS, image: [1, 2, 3, 4], size: [3, 4] },
    Example { about: "nothing", interpolation: CENTRES, image: [0, 3, 4, 4], size: [2, 7] },
    Example { about: "no channel", interpolation: NEAREST, image: [2, 0, 4, 4], size: [2, 7] },
    Example { about: "one more than a workgroup", interpolation: CENTRES, image: [1, 1, 1, 257], size: [1, 257] },
    Example { about: "three workgroups and one", interpolation: CORNERS, image: [1, 1, 1, 769], size: [1, 769] },
    Example { about: "more than a worker's piece", interpolation: CENTRES, image: [2, 5, 67, 61], size: [71, 83] },
    Example { about: "nearest, more than a worker's piece", interpolation: NEAREST, image: [2, 5, 71, 83], size: [67, 61] },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// An element's readers are just the positions that take it, and what all elements give a position adds up to 1.
    #[test]
    fn taps_and_readers_are_inverse() {
        for interpolation in [NEAREST, CENTRES, CORNERS] {
            for (from, to) in (1..12).flat_map(|from| (1..23).map(move |to| (from, to))) {
                let ruler = Ruler::new(interpolation, from, to);
                let mut sums = vec![0.0; to];
                for element in 0..from {
                    let readers = ruler.readers(element);
                    for i in 0..to {
                        let tap = ruler.tap(i);
                        let takes =
                            tap.first == element || tap.part > 0 && tap.first + 1 == element;
                        let place = format!("{interpolation:?} {from} {to}: {element} of {i}");
                        assert!(!takes || readers.contains(&i), "{place}");
                    }
                    readers.for_each(|i| sums[i] += ruler.weight::<f64>(i, element));
                }
                assert!(
                    sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12),
                    "{interpolation:?} {from} {to}: {sums:?}"
                );
            }
        }
    }
}
