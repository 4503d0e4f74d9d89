//! Bands and lanes: how much stain lies where.
//!
//! A lane has two coordinates. `u` runs along the migration axis, from 0 at the albumin band (anode) to about 1 at the
//! end of the gamma zone (cathode). `s` runs across, from −1 at the lane's left edge to 1 at its right edge. Densities
//! of bands add up; they are optical densities in green light before the scanner saturates.

/// One stained feature of a lane: a narrow band or a broad smear.
#[derive(Clone, Debug)]
pub(super) struct Band {
    /// Where it is densest, in `u`.
    pub(super) centre: f32,
    /// Standard deviation towards the anode, in `u`.
    pub(super) anodal: f32,
    /// Standard deviation towards the cathode, in `u`.
    pub(super) cathodal: f32,
    /// 0 for a bell, 1 for a plateau with steep flanks.
    pub(super) flatness: f32,
    /// Density at the centre.
    pub(super) density: f32,
    /// Shift of the centre from the lane's middle to its right edge, in `u`.
    pub(super) tilt: f32,
    /// Shift of the centre at both edges, in `u`: a smile or a frown.
    pub(super) curve: f32,
    /// Width across, as a factor of the lane's: dense bands bulge.
    pub(super) bulge: f32,
    /// 0 to 1: how pale the core is (antigen in excess dissolves the precipitate).
    pub(super) hollow: f32,
    /// Which side the pale core opens to: −1 left, 0 both, 1 right.
    pub(super) open: f32,
}

impl Band {
    /// A straight, symmetric bell that fills its lane.
    pub(super) fn new(centre: f32, deviation: f32, density: f32) -> Self {
        Self {
            centre,
            anodal: deviation,
            cathodal: deviation,
            flatness: 0.0,
            density,
            tilt: 0.0,
            curve: 0.0,
            bulge: 1.0,
            hollow: 0.0,
            open: 0.0,
        }
    }

    /// The same band with different flanks.
    pub(super) fn flanks(mut self, anodal: f32, cathodal: f32) -> Self {
        (self.anodal, self.cathodal) = (anodal, cathodal);
        self
    }

    /// The same band with a plateau.
    pub(super) fn flat(mut self, flatness: f32) -> Self {
        self.flatness = flatness;
        self
    }

    /// Density along the lane's middle, where most of a gel is judged.
    pub(super) fn along(&self, u: f32) -> f32 {
        self.density
            * self.profile(u - self.centre)
            * (1.0 - self.hollow * self.core(u - self.centre))
    }

    /// Density at a point of the lane.
    fn at(&self, u: f32, s: f32, edge: &Edge) -> f32 {
        let x = u - self.centre - self.tilt * s - self.curve * s * s;
        let mut density = self.density * self.profile(x);
        if self.hollow > 0.0 {
            let side = (0.5 + 0.5 * self.open * s).clamp(0.0, 1.0) * (1.0 - 0.6 * s * s).max(0.0);
            density *= 1.0 - self.hollow * (2.0 * side).min(1.0) * self.core(x);
        }
        density * edge.across(s / self.bulge)
    }

    fn profile(&self, x: f32) -> f32 {
        let z = x / if x < 0.0 { self.anodal } else { self.cathodal };
        let square = z * z;
        // A blend of exponents keeps the half width: both terms are ln 2 near |z| = 1.18.
        let exponent =
            0.5 * square * (1.0 - self.flatness) + 0.36 * square * square * self.flatness;
        (-exponent).exp()
    }

    fn core(&self, x: f32) -> f32 {
        let z = x / (0.55 * if x < 0.0 { self.anodal } else { self.cathodal });
        (-0.5 * z * z).exp()
    }

    /// The interval of `u` outside of which the band adds nothing that can be seen.
    fn reach(&self) -> (f32, f32) {
        let slack = self.tilt.abs() + self.curve.abs();
        (
            self.centre - 4.0 * self.anodal - slack,
            self.centre + 4.0 * self.cathodal + slack,
        )
    }
}

/// How the stain fades at the sides of a lane.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    /// Width of the fading, in `s`.
    pub(super) softness: f32,
    /// Relative excess of stain just inside the edges.
    pub(super) rim: f32,
    /// Relative difference of stain between the right edge and the middle.
    pub(super) slope: f32,
}

impl Edge {
    fn across(&self, s: f32) -> f32 {
        let t = (0.5 + (1.0 - s.abs()) / self.softness).clamp(0.0, 1.0);
        if t == 0.0 {
            return 0.0;
        }
        let near_edge = 1.0 - ((s.abs() - 0.8) / 0.2).powi(2);
        t * t * (3.0 - 2.0 * t) * (1.0 + self.rim * near_edge.max(0.0)) * (1.0 + self.slope * s)
    }
}

/// What one row of pixels meets in a lane: the bands that reach it.
pub(super) struct Row<'a> {
    bands: Vec<&'a Band>,
}

impl<'a> Row<'a> {
    /// The bands that matter anywhere between two values of `u`.
    pub(super) fn new(bands: &'a [Band], low: f32, high: f32) -> Self {
        let bands = bands
            .iter()
            .filter(|band| {
                let (first, last) = band.reach();
                first < high && last > low
            })
            .collect();
        Self { bands }
    }

    /// True where there is nothing to paint.
    pub(super) fn is_empty(&self) -> bool {
        self.bands.is_empty()
    }

    /// Density at a point.
    pub(super) fn density(&self, u: f32, s: f32, edge: &Edge) -> f32 {
        self.bands.iter().map(|band| band.at(u, s, edge)).sum()
    }
}

/// Density of a whole lane along its middle.
pub(super) fn along(bands: &[Band], u: f32) -> f32 {
    bands.iter().map(|band| band.along(u)).sum()
}
