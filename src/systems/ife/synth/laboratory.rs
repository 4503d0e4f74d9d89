//! How laboratories and scans differ: the distributions that a [`Style`] is drawn from.

use super::chance::{around, between, log_between, pick, weighted};
use super::style::{Frame, Lanes, Letters, Print, Scan, Stain, Style, Zones};
use crate::rng::Stream;

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
        // Where each lane is cut out by itself, ELP often stands apart.
        let gap = if !common && stream.chance(0.15) {
            between(stream, 0.05, 0.5).min(0.8 / pitch - 5.0).max(0.0)
        } else {
            0.0
        };
        let wide = if common { 0.5 } else { 1.0 };
        let ends = Self::ends(common, print, stream);
        let length = (ends[1] - ends[0]).abs();
        Self {
            first: Self::first(pitch, 5.0 + gap, fill, print, stream),
            pitch,
            fill: [(fill * between(stream, 0.95, 1.15)).min(0.95), fill],
            gap,
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
    fn first(pitch: f32, pitches: f32, fill: f32, print: &Print, stream: &mut Stream) -> f32 {
        let half = 0.5 * pitch * fill;
        // Framed gels are cropped with their frame; free ones anywhere, through up to a third of the outer lane.
        let cut = match print.frame {
            Frame::None | Frame::Corners if stream.chance(0.25) => -0.6 * half,
            Frame::None | Frame::Corners => 0.1 * half,
            _ => (0.5 * pitch - half) + 0.02,
        };
        let (low, high) = (half + cut, 1.0 - pitches * pitch - half - cut);
        if low < high {
            between(stream, low, high)
        } else {
            0.5 - 0.5 * pitches * pitch
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
            ink: Self::ink(common, stream),
        }
    }
}

impl Print {
    /// Black that is more or less faded, seldom a colour.
    fn ink(common: bool, stream: &mut Stream) -> [f32; 3] {
        let dark = between(stream, 15.0, if common { 65.0 } else { 90.0 });
        if !common && stream.chance(0.1) {
            let mut ink = [dark; 3];
            ink[pick(stream, &[0, 2, 2])] = between(stream, 130.0, 210.0);
            return ink;
        }
        [dark, dark - 0.5, dark - between(stream, 0.0, 9.0)]
    }
}

impl Letters {
    fn draw(common: bool, stream: &mut Stream) -> Self {
        let below = common || stream.chance(0.6);
        let size = if common {
            between(stream, 0.062, 0.076)
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
                between(stream, 0.2, 0.28)
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
        let wide = if common { 0.015 } else { 0.07 };
        let spectrum =
            Self::spectrum(common, stream).map(|k| (k + around(stream, 0.0, wide)).max(0.005));
        Self {
            spectrum,
            gain: if common {
                between(stream, 0.8, 1.15)
            } else {
                log_between(stream, 0.4, 1.3)
            },
            ceiling: if common {
                between(stream, 0.76, 0.98)
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
            [0.73, 1.0, 0.02],
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
            stray: [0.06, 0.02, 0.02].map(|light| light * between(stream, 0.3, 1.2)),
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
