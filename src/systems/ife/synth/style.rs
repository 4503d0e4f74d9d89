//! Everything that one laboratory and one scan decide: geometry, print, stain, paper, scanner. Nothing here depends on
//! the patient.

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
    /// Further distance from the ELP lane to the others, over the pitch.
    pub(super) gap: f32,
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
    /// Colour of the ink, 0 to 255.
    pub(super) ink: [f32; 3],
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
        (0.05 + 3.0 * noise) * blurred * broad
    }
}
