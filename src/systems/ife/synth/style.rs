//! Everything that one laboratory and one scan decide: geometry, print, stain, paper, scanner. Nothing here depends on
//! the patient.

use super::chance::{around, between, log_between, pick, weighted};
use crate::rng::Stream;

/// One laboratory's gel and one scan of it.
///
/// A third of all styles is near to one common look (violet stain on off-white paper, letters below, corner marks);
/// the others range over what laboratories do differently.
#[derive(Clone, Debug)]
pub struct Style {
    /// Width of the image in pixels.
    pub(super) width: usize,
    /// Height of the image in pixels.
    pub(super) height: usize,
    pub(super) zones: Zones,
    pub(super) lanes: Lanes,
    pub(super) print: Print,
    pub(super) stain: Stain,
    pub(super) scan: Scan,
}

/// Where the zones of serum lie along the migration axis.
#[derive(Clone, Debug)]
pub(super) struct Zones {
    pub(super) alpha1: f32,
    pub(super) alpha2: f32,
    pub(super) beta1: f32,
    pub(super) beta2: f32,
    /// Where the sample was applied.
    pub(super) origin: f32,
    /// The densest part of polyclonal IgG.
    pub(super) gamma: f32,
    /// Factor on the width of every band: the sharpness of this laboratory's gels.
    pub(super) diffusion: f32,
}

/// Where the lanes lie on the image.
#[derive(Clone, Debug)]
pub(super) struct Lanes {
    /// Centre of the ELP lane, as a fraction of the width.
    pub(super) first: f32,
    /// Distance of two lanes, as a fraction of the width.
    pub(super) pitch: f32,
    /// Width of a lane over the pitch, for ELP and for the others.
    pub(super) fill: [f32; 2],
    /// Random shift of each lane over the pitch.
    pub(super) jitter: f32,
    /// Where u = 0 and u = 1 lie, as fractions of the height; the second is above the first in mirrored gels.
    pub(super) ends: [f32; 2],
    /// Rotation of the whole gel in radians.
    pub(super) angle: f32,
    /// How much further the outer lanes migrate, in u.
    pub(super) smile: f32,
    /// Sideways bend of the lanes over the pitch.
    pub(super) bend: f32,
    /// Random difference of migration between lanes, in u.
    pub(super) stagger: f32,
    /// Width of the fading at a lane's sides, and excess of stain there.
    pub(super) softness: f32,
    pub(super) rim: f32,
    /// Strength of fine stripes along the lanes.
    pub(super) streaks: f32,
    /// Whether parts of the neighbouring gels may be seen.
    pub(super) neighbours: bool,
}

/// What is printed around the lanes.
#[derive(Clone, Debug)]
pub(super) struct Print {
    pub(super) letters: Option<Letters>,
    pub(super) frame: Frame,
    /// A number in a corner.
    pub(super) digit: Option<usize>,
    /// Grey value of the ink.
    pub(super) ink: f32,
}

/// The line of letters.
#[derive(Clone, Debug)]
pub(super) struct Letters {
    /// Middle of the line as a fraction of the height.
    pub(super) middle: f32,
    /// Height of capitals as a fraction of the image's height.
    pub(super) size: f32,
    /// Thickness of the strokes over the size.
    pub(super) weight: f32,
    /// Shift of the line against the lanes, over the pitch.
    pub(super) shift: f32,
    /// Six words, ELP to λ.
    pub(super) words: [&'static str; 6],
}

/// Frames and marks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Frame {
    /// Nothing.
    None,
    /// Angles, crosses and dashes near the corners.
    Corners,
    /// A rectangle around the gel, with its line width over the image's width.
    Gel(f32),
    /// A rectangle around each lane, with its line width over the image's width.
    Lanes(f32),
}

/// How protein becomes colour.
#[derive(Clone, Debug)]
pub(super) struct Stain {
    /// Absorption of red, green and blue light by stain of density 1.
    pub(super) spectrum: [f32; 3],
    /// Factor on all densities.
    pub(super) gain: f32,
    /// The density that the scanner cannot exceed.
    pub(super) ceiling: f32,
    /// Relative roughness of the stained gel.
    pub(super) grain: f32,
    /// Stain left on the gel outside of the lanes.
    pub(super) residue: f32,
    /// Unevenness of that residue.
    pub(super) blotches: f32,
    /// Density of a line across all lanes at the origin.
    pub(super) slit: f32,
    /// Factor on the ELP lane.
    pub(super) elp: f32,
}

impl Stain {
    /// The density that a scan shows for a density in the gel.
    pub(super) fn observed(&self, density: f32) -> f32 {
        self.ceiling * (1.0 - (-self.gain * density / self.ceiling).exp())
    }

    /// The density in the gel that a scan shows as `observed`; the inverse of [`observed`](Self::observed).
    pub(super) fn needed(&self, observed: f32) -> f32 {
        let share = (observed / self.ceiling).min(0.97);
        -self.ceiling * (1.0 - share).ln() / self.gain
    }
}

/// Paper, optics, sensor and file.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// Colour of the paper, 0 to 255.
    pub(super) paper: [f32; 3],
    /// Relative change of brightness from the middle to the right and to the lower edge.
    pub(super) gradient: [f32; 2],
    /// Light that reaches the sensor through the densest stain, per channel, 0 to 1.
    pub(super) stray: [f32; 3],
    /// Standard deviation of the optical blur in pixels.
    pub(super) blur: f32,
    /// Strength of the scanner's sharpening.
    pub(super) sharpen: f32,
    /// Standard deviation of the noise, in grey values, and its correlation with neighbours (0 to 0.5).
    pub(super) noise: f32,
    pub(super) correlation: f32,
    /// Standard deviation of the coloured part of the noise.
    pub(super) chroma: f32,
    pub(super) contrast: f32,
    pub(super) brightness: f32,
    /// Dust, hairs and scratches.
    pub(super) specks: usize,
    /// Bubbles in the gel.
    pub(super) bubbles: usize,
    /// No colour.
    pub(super) grey: bool,
    /// One colour per two by two pixels.
    pub(super) subsampled: bool,
    /// JPEG qualities, in the order of compression.
    pub(super) qualities: Vec<u8>,
}

impl Style {
    /// A random laboratory and scan.
    pub fn draw(stream: &mut Stream) -> Self {
        let common = stream.chance(0.33);
        let width = if common {
            between(stream, 250.0, 330.0)
        } else {
            log_between(stream, 200.0, 600.0)
        };
        let aspect = if common {
            between(stream, 1.4, 1.6)
        } else {
            between(stream, 1.1, 1.6)
        };
        let print = Print::draw(common, stream);
        let lanes = Lanes::draw(common, &print, stream);
        Self {
            width: width as usize,
            height: (width / aspect) as usize,
            zones: Zones::draw(common, stream),
            lanes,
            stain: Stain::draw(common, stream),
            scan: Scan::draw(common, width, stream),
            print,
        }
    }

    /// Pixels per unit of `u`.
    pub(super) fn span(&self) -> f32 {
        (self.lanes.ends[1] - self.lanes.ends[0]).abs() * self.height as f32
    }

    /// The difference of density that an eye finds in this scan, for a band of this standard deviation in `u`.
    pub(super) fn visible(&self, deviation: f32) -> f32 {
        let scan = &self.scan;
        let worst = scan
            .qualities
            .iter()
            .copied()
            .min()
            .map_or(100.0, f32::from);
        let noise = 0.434 * scan.noise / scan.paper[1] + 0.0004 * (80.0 - worst).max(0.0);
        let pixels = deviation * self.span();
        let blurred = (1.0 + (scan.blur / pixels).powi(2)).sqrt();
        let broad = 1.0 + (deviation / 0.035).powi(2) * 0.5;
        (0.045 + 3.0 * noise) * blurred * broad
    }
}

impl Zones {
    fn draw(common: bool, stream: &mut Stream) -> Self {
        let wide = if common { 0.3 } else { 1.0 };
        let beta1 = around(stream, 0.56, 0.022 * wide);
        Self {
            alpha1: around(stream, 0.2, 0.02 * wide),
            alpha2: around(stream, 0.41, 0.025 * wide),
            beta1,
            beta2: beta1 + between(stream, 0.05, 0.1),
            origin: around(stream, 0.69, 0.03),
            gamma: around(stream, 0.83, 0.02 + 0.01 * wide),
            diffusion: if common {
                between(stream, 0.8, 1.1)
            } else {
                log_between(stream, 0.4, 1.35)
            },
        }
    }
}

impl Lanes {
    fn draw(common: bool, print: &Print, stream: &mut Stream) -> Self {
        let pitch = if common {
            between(stream, 0.156, 0.167)
        } else {
            between(stream, 0.13, 0.172)
        };
        let fill = match (common, print.frame) {
            (true, _) => between(stream, 0.6, 0.76),
            (_, Frame::Lanes(_)) => between(stream, 0.6, 0.86),
            _ => between(stream, 0.42, 0.88),
        };
        let wide = if common { 0.5 } else { 1.0 };
        let ends = Self::ends(common, print, stream);
        let length = (ends[1] - ends[0]).abs();
        Self {
            first: Self::first(pitch, fill, print, stream),
            pitch,
            fill: [(fill * between(stream, 0.95, 1.15)).min(0.95), fill],
            jitter: between(stream, 0.0, 0.05),
            ends,
            angle: Self::rarely(0.3, 0.02, 0.005, stream),
            smile: around(stream, 0.0, 0.012 * wide),
            bend: Self::rarely(0.2, 0.08, 0.02, stream),
            stagger: between(stream, 0.001, 0.006 / length.max(0.5)),
            softness: between(stream, 0.12, if common { 0.4 } else { 0.6 }),
            rim: if stream.chance(0.4) {
                between(stream, 0.0, 0.3)
            } else {
                0.0
            },
            streaks: between(stream, 0.0, 0.07),
            neighbours: matches!(print.frame, Frame::None | Frame::Corners) && stream.chance(0.7),
        }
    }

    /// A normal draw around 0: at times, with the given probability, it is a wide one.
    fn rarely(probability: f32, wide: f32, usual: f32, stream: &mut Stream) -> f32 {
        let deviation = if stream.chance(f64::from(probability)) {
            wide
        } else {
            usual
        };
        around(stream, 0.0, deviation)
    }

    /// The ELP lane's centre: the six lanes float in the image, and the outer ones may be cut a little.
    fn first(pitch: f32, fill: f32, print: &Print, stream: &mut Stream) -> f32 {
        let half = 0.5 * pitch * fill;
        // Framed gels are cropped with their frame; free ones anywhere, through up to a third of the outer lane.
        let cut = match print.frame {
            Frame::None | Frame::Corners if stream.chance(0.25) => -0.6 * half,
            Frame::None | Frame::Corners => 0.1 * half,
            _ => (0.5 * pitch - half) + 0.02,
        };
        let (low, high) = (half + cut, 1.0 - 5.0 * pitch - half - cut);
        if low < high {
            between(stream, low, high)
        } else {
            0.5 - 2.5 * pitch
        }
    }

    fn ends(common: bool, print: &Print, stream: &mut Stream) -> [f32; 2] {
        if common {
            let start = between(stream, 0.08, 0.2);
            return [start, start + between(stream, 0.64, 0.71)];
        }
        let framed = matches!(print.frame, Frame::Gel(_) | Frame::Lanes(_));
        let margin = if framed { 0.11 } else { 0.07 };
        let mut top = margin + between(stream, 0.0, 0.14);
        let mut bottom = 1.0 - margin - between(stream, 0.0, 0.14);
        if let Some(letters) = &print.letters {
            let room = 0.6 * letters.size + if framed { 0.1 } else { 0.04 };
            if letters.middle > 0.5 {
                bottom = bottom.min(letters.middle - room);
            } else {
                top = top.max(letters.middle + room + 0.04);
            }
        }
        if stream.chance(0.3) {
            [bottom, top]
        } else {
            [top, bottom]
        }
    }
}

impl Print {
    fn draw(common: bool, stream: &mut Stream) -> Self {
        let frame = if common {
            Frame::Corners
        } else {
            match weighted(stream, &[0.4, 0.15, 0.15, 0.08, 0.12, 0.1]) {
                0 => Frame::None,
                1 => Frame::Corners,
                2 => Frame::Gel(between(stream, 0.002, 0.006)),
                3 => Frame::Gel(between(stream, 0.008, 0.03)),
                4 => Frame::Lanes(between(stream, 0.002, 0.006)),
                _ => Frame::Lanes(between(stream, 0.007, 0.02)),
            }
        };
        Self {
            letters: (common || stream.chance(0.7)).then(|| Letters::draw(common, stream)),
            frame,
            digit: stream
                .chance(if common { 0.9 } else { 0.2 })
                .then(|| stream.below(if common { 10 } else { 30 })),
            ink: between(stream, 15.0, if common { 65.0 } else { 90.0 }),
        }
    }
}

impl Letters {
    fn draw(common: bool, stream: &mut Stream) -> Self {
        let below = common || stream.chance(0.6);
        let size = if common {
            between(stream, 0.055, 0.07)
        } else {
            between(stream, 0.04, 0.085)
        };
        let middle = if common {
            between(stream, 0.88, 0.98)
        } else if below {
            1.0 - size * between(stream, 0.55, 1.4)
        } else {
            size * between(stream, 0.6, 1.4)
        };
        Self {
            middle,
            size,
            weight: if common {
                between(stream, 0.2, 0.26)
            } else {
                between(stream, 0.08, 0.26)
            },
            shift: if stream.chance(0.3) {
                around(stream, 0.0, 0.2)
            } else {
                around(stream, -0.05, 0.07)
            },
            words: Self::words(common, stream),
        }
    }

    fn words(common: bool, stream: &mut Stream) -> [&'static str; 6] {
        let elp = if common {
            "ELP"
        } else {
            pick(stream, &["ELP", "SP", "SPE"])
        };
        let [g, a, m] = if !common && stream.chance(0.2) {
            ["IgG", "IgA", "IgM"]
        } else {
            ["G", "A", "M"]
        };
        let [kappa, lambda] = if !common && stream.chance(0.45) {
            ["κ", "λ"]
        } else {
            ["K", "L"]
        };
        [elp, g, a, m, kappa, lambda]
    }
}

impl Stain {
    fn draw(common: bool, stream: &mut Stream) -> Self {
        let wide = if common { 0.02 } else { 0.07 };
        let spectrum =
            Self::spectrum(common, stream).map(|k| (k + around(stream, 0.0, wide)).max(0.01));
        Self {
            spectrum,
            gain: if common {
                between(stream, 0.8, 1.15)
            } else {
                log_between(stream, 0.4, 1.3)
            },
            ceiling: if common {
                between(stream, 0.74, 0.95)
            } else {
                between(stream, 0.6, 1.5)
            },
            grain: between(stream, 0.0, 0.1),
            residue: if !common && stream.chance(0.3) {
                log_between(stream, 0.01, 0.12)
            } else {
                0.0
            },
            blotches: if stream.chance(0.3) {
                between(stream, 0.0, 0.03)
            } else {
                0.0
            },
            slit: if stream.chance(0.08) {
                between(stream, 0.03, 0.12)
            } else {
                0.0
            },
            elp: if common {
                between(stream, 0.8, 1.15)
            } else {
                between(stream, 0.5, 1.25)
            },
        }
    }

    /// Absorption per channel: acid violet in two hues, a redder violet, amido black, Coomassie, grey.
    fn spectrum(common: bool, stream: &mut Stream) -> [f32; 3] {
        const STAINS: [[f32; 3]; 7] = [
            [0.72, 1.0, 0.03],
            [0.56, 1.0, 0.16],
            [0.45, 1.0, 0.28],
            [0.92, 0.95, 0.4],
            [1.1, 0.72, 0.22],
            [0.8, 1.0, 0.5],
            [0.98, 1.0, 0.85],
        ];
        if common {
            return STAINS[0];
        }
        STAINS[weighted(stream, &[0.24, 0.22, 0.14, 0.13, 0.12, 0.1, 0.05])]
    }
}

impl Scan {
    fn draw(common: bool, width: f32, stream: &mut Stream) -> Self {
        let scale = width / 300.0;
        Self {
            paper: Self::paper(common, stream),
            gradient: if common {
                [0.0, 0.0]
            } else {
                [around(stream, 0.0, 0.02), around(stream, 0.0, 0.02)]
            },
            stray: [0.1, 0.02, 0.02].map(|light| light * between(stream, 0.3, 1.2)),
            blur: if common {
                between(stream, 0.55, 0.95)
            } else {
                log_between(stream, 0.35, 1.3) * scale.sqrt()
            },
            sharpen: if stream.chance(0.3) {
                between(stream, 0.1, 0.8)
            } else {
                0.0
            },
            noise: if common {
                between(stream, 1.5, 3.5)
            } else {
                between(stream, 0.2, 6.0)
            },
            correlation: between(stream, 0.0, 0.4),
            chroma: if stream.chance(0.5) {
                between(stream, 0.0, 1.5)
            } else {
                0.0
            },
            contrast: if common {
                1.0
            } else {
                around(stream, 1.0, 0.07)
            },
            brightness: if common {
                0.0
            } else {
                around(stream, 0.0, 6.0)
            },
            specks: weighted(stream, &[0.3, 0.15, 0.12, 0.1, 0.1, 0.08, 0.05, 0.05, 0.05]) * 2,
            bubbles: weighted(stream, &[0.9, 0.06, 0.03, 0.01]),
            grey: !common && stream.chance(0.05),
            subsampled: stream.chance(if common { 0.9 } else { 0.6 }),
            qualities: Self::qualities(common, stream),
        }
    }

    fn paper(common: bool, stream: &mut Stream) -> [f32; 3] {
        if common {
            let grey = between(stream, 248.0, 252.0);
            return [grey, grey, grey + between(stream, -0.5, 1.0)];
        }
        let bright = match weighted(stream, &[0.5, 0.35, 0.15]) {
            0 => between(stream, 242.0, 256.0),
            1 => between(stream, 222.0, 245.0),
            _ => between(stream, 190.0, 225.0),
        };
        let tint = pick(stream, &[0.3, 1.0, 1.0, 2.0]);
        let (warm, green) = (
            around(stream, 0.0, 3.5) * tint,
            around(stream, 0.0, 2.0) * tint,
        );
        [bright + warm, bright + green, bright - warm].map(|value| value.min(256.0))
    }

    fn qualities(common: bool, stream: &mut Stream) -> Vec<u8> {
        if common {
            return vec![between(stream, 68.0, 90.0) as u8];
        }
        let last = between(stream, 45.0, 98.0) as u8;
        if stream.chance(0.2) {
            vec![between(stream, 45.0, 90.0) as u8, last]
        } else {
            vec![last]
        }
    }
}
