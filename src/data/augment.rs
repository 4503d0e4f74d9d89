//! Small variations of a training picture, as scanners and laboratories make them: all off unless asked for.

use super::resize::Planes;
use crate::error::{Error, Result};
use crate::rng::Stream;
use serde::{Deserialize, Serialize};

/// How far a picture may be varied; every amount is drawn evenly from −x to x, and 0 is off.
///
/// What is drawn for a picture depends on the seed, the epoch and the sample only. Each variation has a draw of its own,
/// so that switching one on leaves the others as they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Shift up or down, as a share of the height, in whole pixels.
    pub vertical_shift: f64,
    /// Shift left or right, as a share of the width, in whole pixels.
    pub horizontal_shift: f64,
    /// Brightness: added to all samples, as a share of the full scale.
    pub brightness: f64,
    /// Gain: all samples are multiplied by 1 + g.
    pub gain: f64,
    /// Contrast: distances from the picture's mean are multiplied by 1 + c.
    pub contrast: f64,
}

impl Augment {
    /// Checks that every amount lies within 0 and 1.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<()> {
        let amounts = [
            ("vertical_shift", self.vertical_shift),
            ("horizontal_shift", self.horizontal_shift),
            ("brightness", self.brightness),
            ("gain", self.gain),
            ("contrast", self.contrast),
        ];
        match amounts.iter().find(|(_, x)| !(0.0..=1.0).contains(x)) {
            Some((name, x)) => Err(Error::input(format!(
                "augmentation `{name}` is {x}; it must lie within 0 and 1"
            ))),
            None => Ok(()),
        }
    }

    /// Varies a picture of samples from 0 to 255, which they remain.
    pub fn apply(&self, picture: &mut Planes, seed: u64, epoch: u64, sample: u64) {
        let mut stream = Stream::new(seed, "augment", epoch, sample);
        let mut draw = |most: f64| most * stream.range(-1.0, 1.0);
        let down = (draw(self.vertical_shift) * picture.height as f64).round() as isize;
        let right = (draw(self.horizontal_shift) * picture.width as f64).round() as isize;
        let (brightness, gain, contrast) =
            (draw(self.brightness), draw(self.gain), draw(self.contrast));
        if (down, right) != (0, 0) {
            shift(picture, down, right);
        }
        if (brightness, gain, contrast) != (0.0, 0.0, 0.0) {
            tone(
                &mut picture.values,
                brightness as f32,
                gain as f32,
                contrast as f32,
            );
        }
    }
}

/// Moves a picture; what comes free takes the colour of its border, which is the paper of a scan.
fn shift(picture: &mut Planes, down: isize, right: isize) {
    let (height, width) = (picture.height, picture.width);
    for plane in picture.values.chunks_exact_mut((height * width).max(1)) {
        let old = plane.to_vec();
        plane.fill(border(&old, width));
        let to = overlap(width, right);
        let from = overlap(width, -right);
        for (y, source) in overlap(height, down).zip(overlap(height, -down)) {
            plane[y * width..][to.clone()].copy_from_slice(&old[source * width..][from.clone()]);
        }
    }
}

/// The places of an axis that still show the picture after a shift.
fn overlap(length: usize, by: isize) -> std::ops::Range<usize> {
    let shift = by.unsigned_abs().min(length);
    if by >= 0 {
        shift..length
    } else {
        0..length - shift
    }
}

/// The median of a plane's outermost samples: frames and marks that touch the edge in places do not matter.
fn border(plane: &[f32], width: usize) -> f32 {
    let last = plane.len() / width - 1;
    let rows = plane.chunks_exact(width).enumerate();
    let mut samples: Vec<f32> = rows
        .flat_map(|(y, row)| {
            let step = if y == 0 || y == last {
                1
            } else {
                (width - 1).max(1)
            };
            row.iter().step_by(step).copied()
        })
        .collect();
    let middle = samples.len() / 2;
    *samples.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Contrast, then gain, then brightness.
fn tone(values: &mut [f32], brightness: f32, gain: f32, contrast: f32) {
    let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
    let mean = (sum / values.len() as f64) as f32;
    for value in values {
        let stretched = mean + (*value - mean) * (1.0 + contrast);
        *value = (stretched * (1.0 + gain) + 255.0 * brightness).clamp(0.0, 255.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 to 20 in four rows of five, in each plane; the border's median is 11 (1 to 6, 10, 11, 15 to 20: the eighth of 14).
    fn picture() -> Planes {
        let plane: Vec<f32> = (1..=20).map(|v| v as f32).collect();
        Planes {
            height: 4,
            width: 5,
            values: plane.repeat(3),
        }
    }

    #[test]
    fn off_by_default() {
        let mut varied = picture();
        Augment::default().apply(&mut varied, 1, 2, 3);
        assert_eq!(varied, picture());
    }

    #[test]
    fn shifts_fill_with_the_border() {
        let mut varied = picture();
        shift(&mut varied, 1, -2);
        let b = 11.0;
        let expected = [
            [b, b, b, b, b],
            [3.0, 4.0, 5.0, b, b],
            [8.0, 9.0, 10.0, b, b],
            [13.0, 14.0, 15.0, b, b],
        ];
        assert_eq!(varied.values[..20], expected.concat());
        assert_eq!(varied.values[40..], expected.concat());
        shift(&mut varied, -9, 9);
        assert!(varied.values.iter().all(|&v| v == varied.values[0]));
    }

    #[test]
    fn tones_by_hand() {
        // Mean 100; contrast 1.5: 25, 175; gain 1.2: 30, 210; brightness +0.2·255 = 51: 81, 261 cut to 255.
        let mut values = [50.0, 150.0];
        tone(&mut values, 0.2, 0.2, 0.5);
        assert!(
            (values[0] - 81.0).abs() < 1e-4 && values[1] == 255.0,
            "{values:?}"
        );
    }

    #[test]
    fn draws_belong_to_the_sample() {
        let all = Augment {
            vertical_shift: 0.5,
            horizontal_shift: 0.5,
            brightness: 0.1,
            gain: 0.1,
            contrast: 0.1,
        };
        let varied = |augment: Augment, seed, epoch, sample| {
            let mut varied = picture();
            augment.apply(&mut varied, seed, epoch, sample);
            varied.values
        };
        let base = varied(all, 1, 2, 3);
        assert_eq!(base, varied(all, 1, 2, 3));
        for other in [
            varied(all, 2, 2, 3),
            varied(all, 1, 3, 3),
            varied(all, 1, 2, 4),
        ] {
            assert_ne!(base, other);
        }
        // On a flat picture a shift shows nothing, so that only the draw of the brightness can differ.
        let flat = |vertical_shift| {
            let mut varied = Planes {
                values: vec![100.0; 60],
                ..picture()
            };
            let augment = Augment {
                vertical_shift,
                brightness: 0.1,
                ..Augment::default()
            };
            augment.apply(&mut varied, 1, 2, 3);
            varied
        };
        assert_eq!(flat(0.0), flat(0.5));
        assert_ne!(flat(0.0).values[0], 100.0);
    }

    #[test]
    fn tiny_pictures_and_full_shifts() {
        let most = Augment {
            vertical_shift: 1.0,
            horizontal_shift: 1.0,
            brightness: 1.0,
            gain: 1.0,
            contrast: 1.0,
        };
        for (height, width) in [(1, 1), (1, 3), (3, 1), (2, 2)] {
            for sample in 0..50 {
                let values = vec![100.0; 3 * height * width];
                let mut varied = Planes {
                    height,
                    width,
                    values,
                };
                most.apply(&mut varied, 1, 0, sample);
                assert!(varied.values.iter().all(|v| (0.0..=255.0).contains(v)));
            }
        }
    }

    #[test]
    fn amounts_are_checked() {
        assert!(Augment::default().check().is_ok());
        for gain in [-0.1, 1.1, f64::NAN] {
            let error = Augment {
                gain,
                ..Augment::default()
            }
            .check()
            .expect_err("refused");
            assert!(error.to_string().contains("`gain`"), "{error}");
        }
    }
}
