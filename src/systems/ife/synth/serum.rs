//! The patient: which proteins lie where in the six lanes.
//!
//! A class is put into a serum only here. A monoclonal protein is one narrow band at one height, in the ELP lane, in its
//! heavy chain's lane (if it has one) and in its light chain's lane. Everything else, in all classes alike, is either
//! broad, or in the ELP lane alone, or in both light chains' lanes, or in all lanes.

use super::band::{Band, along};
use super::chance::{around, between, log_between, pick, spread_around};
use super::style::Style;
use super::{ELP, KAPPA, LAMBDA};
use crate::data::gel_table::CLASSES;
use crate::rng::Stream;

/// The content of the six lanes.
pub(super) struct Serum {
    pub(super) lanes: [Vec<Band>; 6],
}

/// Densities of the polyclonal immunoglobulins where they are densest, lane by lane from G to λ.
struct Polyclonal {
    levels: [f32; 5],
    /// Factor on the widths of the smears.
    width: f32,
}

/// One clone's product: where its bands lie and how they look.
struct Paraprotein {
    /// The ELP lane, the heavy chain's lane if any, the light chain's lane.
    heavy: Option<usize>,
    light: usize,
    centre: f32,
    /// Standard deviation of the band in the ELP lane.
    deviation: f32,
    /// 0 for a trace, 1 for a large myeloma.
    burden: f32,
}

impl Serum {
    pub(super) fn draw(class: usize, style: &Style, stream: &mut Stream) -> Self {
        let mut polyclonal = Polyclonal::draw(class, stream);
        let clone = (class > 0).then(|| Paraprotein::draw(class, style, stream));
        if let Some(clone) = &clone {
            polyclonal.suppress(clone, stream);
        }
        let mut lanes = polyclonal.smears(style, stream);
        lanes[ELP] = plasma(style, polyclonal.levels[0], stream);
        match &clone {
            Some(clone) => clone.add(&mut lanes, style, stream),
            None => restrict(&mut lanes, style, stream),
        }
        confound(&mut lanes, class, style, stream);
        Self { lanes }
    }
}

impl Polyclonal {
    fn draw(class: usize, stream: &mut Stream) -> Self {
        let igg = spread_around(stream, 0.42, if class == 0 { 0.5 } else { 0.35 });
        let iga = spread_around(stream, 0.2, 0.6);
        let igm = spread_around(stream, 0.07, 0.8);
        let both = igg * between(stream, 0.75, 1.1);
        let kappa = both * between(stream, 0.9, 1.1);
        let lambda = both * between(stream, 0.5, 1.0);
        Self {
            levels: [igg, iga, igm, kappa, lambda],
            width: around(stream, 1.0, 0.12),
        }
    }

    /// A large clone displaces the normal immunoglobulins, those of its own class not less than the others.
    fn suppress(&mut self, clone: &Paraprotein, stream: &mut Stream) {
        let common = 1.0 - clone.burden * between(stream, 0.0, 0.95);
        for level in &mut self.levels {
            *level *= common * between(stream, 0.8, 1.0);
        }
    }

    fn smears(&self, style: &Style, stream: &mut Stream) -> [Vec<Band>; 6] {
        let zones = &style.zones;
        let carried = if stream.chance(0.2) {
            between(stream, 0.0, 0.05)
        } else {
            0.0
        };
        let gamma = zones.gamma + around(stream, 0.0, 0.015);
        // Centre, anodal and cathodal deviation of G, A, M, κ, λ.
        let shapes = [
            (gamma, 0.1, 0.09),
            (gamma - 0.165, 0.1, 0.085),
            (gamma - 0.08, 0.07, 0.062),
            (gamma, 0.125, 0.1),
            (gamma - 0.015, 0.13, 0.1),
        ];
        let mut lanes: [Vec<Band>; 6] = Default::default();
        for (i, (centre, anodal, cathodal)) in shapes.into_iter().enumerate() {
            let width = self.width * around(stream, 1.0, 0.08);
            let flat = between(stream, 0.0, 0.6);
            let mut smear = Band::new(centre + around(stream, 0.0, 0.012), 0.1, self.levels[i])
                .flanks(anodal * width, cathodal * width)
                .flat(flat);
            smear.tilt = around(stream, 0.0, 0.009);
            smear.curve = around(stream, 0.0, 0.01);
            lanes[i + 1].push(smear);
            if carried > 0.0 {
                // Antiserum that washing left behind.
                lanes[i + 1].push(Band::new(0.6, 0.45, carried).flat(1.0));
            }
        }
        lanes
    }
}

/// The ELP lane: albumin, α1, α2, β1, β2, and the immunoglobulins as a pale smear.
fn plasma(style: &Style, igg: f32, stream: &mut Stream) -> Vec<Band> {
    let zones = &style.zones;
    let sharp = zones.diffusion.clamp(0.55, 1.15);
    let mut band = |centre: f32, deviation: f32, median: f32, spread: f32| {
        let mut band = Band::new(
            centre + around(stream, 0.0, 0.006),
            deviation * sharp * around(stream, 1.0, 0.1),
            spread_around(stream, median, spread),
        );
        band.tilt = around(stream, 0.0, 0.004);
        band.curve = around(stream, 0.0, 0.005);
        band
    };
    let mut albumin = band(0.0, 0.038, 2.1, 0.25).flat(0.4);
    albumin.bulge = 1.06;
    let mut bands = vec![
        albumin,
        band(zones.alpha1, 0.03, 0.16, 0.35),
        band(0.5 * (zones.alpha1 + zones.alpha2), 0.07, 0.07, 0.4),
        band(zones.alpha2, 0.026, 0.32, 0.3).flanks(0.034 * sharp, 0.022 * sharp),
        band(zones.alpha2 - 0.045, 0.035, 0.14, 0.5),
        band(zones.beta1, 0.024, 0.42, 0.3),
        band(zones.beta1 - 0.05, 0.035, 0.1, 0.4),
        Band::new(0.55, 0.2, 0.07),
    ];
    if stream.chance(0.5) {
        let complement = spread_around(stream, 0.15, 0.5);
        bands.push(Band::new(zones.beta2, 0.02 * sharp, complement));
    }
    if stream.chance(0.04) {
        // Two kinds of albumin, inherited.
        bands.push(Band::new(0.06, 0.02, between(stream, 0.4, 1.2)));
    }
    let share = between(stream, 0.35, 0.7);
    bands.push(
        Band::new(zones.gamma - 0.03, 0.1, igg * share)
            .flanks(0.13, 0.09)
            .flat(0.3),
    );
    for band in &mut bands {
        band.density *= style.stain.elp;
    }
    bands
}

impl Paraprotein {
    fn draw(class: usize, style: &Style, stream: &mut Stream) -> Self {
        let (_, heavy, light) = CLASSES[class];
        let gamma = style.zones.gamma;
        let centre = match heavy {
            1 if stream.chance(0.8) => between(stream, gamma - 0.14, gamma + 0.13),
            1 => between(stream, 0.55, gamma),
            2 => between(stream, 0.54, gamma),
            3 => between(stream, 0.6, gamma + 0.07),
            _ => between(stream, 0.46, gamma + 0.1),
        };
        let broad = match heavy {
            2 | 3 => between(stream, 1.0, 1.5),
            _ => 1.0,
        };
        let deviation = log_between(stream, 0.015, 0.036) * style.zones.diffusion * broad;
        Self {
            heavy: (heavy > 0).then_some(heavy),
            light: ELP + 3 + light,
            centre,
            deviation: deviation.clamp(0.9 / style.span(), 0.04),
            burden: between(stream, 0.0, 1.0).powf(0.7),
        }
    }

    /// Adds the protein's bands to its lanes, each dense enough to be seen.
    fn add(&self, lanes: &mut [Vec<Band>; 6], style: &Style, stream: &mut Stream) {
        let wider = between(stream, 1.0, 1.5).min(0.048 / self.deviation);
        let shape = Shape::draw(self, stream);
        let main = self.heavy.unwrap_or(self.light);
        let least = self.least(&mut lanes[main], wider, style);
        let density = least * (2.2 / least).max(1.3).powf(self.burden);
        let mut weaker = density;
        shape.add(self, &mut lanes[main], density, wider, stream);
        if self.heavy.is_some() {
            let least = self.least(&mut lanes[self.light], wider, style);
            let light = least.max(density * around(stream, 0.0, 0.3).exp());
            shape.add(self, &mut lanes[self.light], light, wider, stream);
            weaker = weaker.min(light);
        }
        let mut total = weaker * style.stain.elp * spread_around(stream, 0.65, 0.4);
        let hidden = self.heavy.is_none() && stream.chance(0.35);
        if hidden {
            // Free light chains are small and few: the ELP lane often shows nothing of them.
            total *= between(stream, 0.0, 0.2);
        } else if stream.chance(0.85) {
            total = total.max(self.least(&mut lanes[ELP], 1.0, style));
        }
        shape.add(self, &mut lanes[ELP], total, 1.0, stream);
        if self.heavy.is_none() {
            // A dense smear of IgA or IgM at the same height would look like this protein's heavy chain.
            for lane in [2, 3] {
                thin(&mut lanes[lane], self.centre, style.stain.needed(0.12));
            }
        }
        self.stray(lanes, weaker, wider, style, stream);
    }

    /// The least density that an eye finds on this lane's background. A background that leaves no room below the
    /// scanner's ceiling is thinned first.
    fn least(&self, lane: &mut [Band], widening: f32, style: &Style) -> f32 {
        let stain = &style.stain;
        let limit = stain.needed(0.6 * stain.ceiling);
        let background = thin(lane, self.centre, limit);
        let shown = stain.observed(background);
        let step = style.visible(self.deviation * widening) + 0.28 * shown;
        stain.needed(shown + step) - background
    }

    /// What goes along with a paraprotein at times: traces in the other lanes, and free light chains elsewhere.
    fn stray(
        &self,
        lanes: &mut [Vec<Band>; 6],
        weaker: f32,
        wider: f32,
        style: &Style,
        stream: &mut Stream,
    ) {
        let sticky = if self.heavy == Some(3) { 0.15 } else { 0.04 };
        if stream.chance(sticky) {
            // Such a protein clings to the gel, whatever the antiserum.
            let trace = weaker.min(1.0) * between(stream, 0.03, 0.12);
            for lane in lanes.iter_mut().skip(1) {
                lane.push(self.band(trace, wider, stream));
            }
        }
        if self.heavy.is_some() && stream.chance(0.05) {
            let away = pick(stream, &[-1.0, 1.0]) * between(stream, 0.1, 0.2);
            let mut free = self.band(weaker * between(stream, 0.2, 0.6), wider, stream);
            free.centre = (free.centre + away).clamp(0.46, 0.95);
            let faint = style.stain.needed(2.0 * style.visible(free.anodal));
            free.density = free.density.max(faint).min(0.6 * weaker.max(faint));
            lanes[self.light].push(free);
        }
    }

    fn band(&self, density: f32, widening: f32, stream: &mut Stream) -> Band {
        let mut band = Band::new(
            self.centre + around(stream, 0.0, 0.003),
            self.deviation * widening * around(stream, 1.0, 0.06),
            density,
        )
        .flat(between(stream, 0.0, 0.8));
        band.tilt = around(stream, 0.0, 0.3) * self.deviation.min(0.02);
        band.curve = around(stream, 0.0, 0.3) * self.deviation.min(0.02);
        if density > 0.5 {
            band.bulge = between(stream, 1.0, 1.1);
            if stream.chance(0.08) {
                band.hollow = between(stream, 0.3, 0.75);
                band.open = pick(stream, &[-1.0, 0.0, 1.0]);
            }
        }
        band
    }
}

/// Scales a lane so that its density at a height does not exceed a limit; returns the density left there.
fn thin(lane: &mut [Band], height: f32, limit: f32) -> f32 {
    let background = along(lane, height);
    if background > limit {
        for band in lane {
            band.density *= limit / background;
        }
    }
    background.min(limit)
}

/// How the bands of one paraprotein look in all of its lanes.
struct Shape {
    /// A second band: its distance in `u` and its share of the density.
    double: Option<(f32, f32)>,
    /// Density of a smear behind the band, over the band's.
    tail: f32,
}

impl Shape {
    fn draw(protein: &Paraprotein, stream: &mut Stream) -> Self {
        let double = stream.chance(0.12).then(|| {
            let side = pick(stream, &[-1.0, 1.0]);
            let distance = protein.deviation * between(stream, 3.5, 5.5);
            (side * distance, between(stream, 0.35, 1.0))
        });
        let tail = if stream.chance(0.35) {
            between(stream, 0.05, 0.25)
        } else {
            0.0
        };
        Self { double, tail }
    }

    fn add(
        &self,
        protein: &Paraprotein,
        lane: &mut Vec<Band>,
        density: f32,
        widening: f32,
        stream: &mut Stream,
    ) {
        lane.push(protein.band(density, widening, stream));
        if let Some((distance, share)) = self.double {
            let mut second = protein.band(density * share, widening, stream);
            second.centre += distance;
            lane.push(second);
        }
        if self.tail > 0.0 {
            let spread = protein.deviation * widening;
            let smear = Band::new(protein.centre, spread, self.tail * density);
            lane.push(smear.flanks((5.0 * spread).min(0.12), 1.5 * spread));
        }
    }
}

/// What resembles a paraprotein in sera without one: smears narrower than usual, or several faint bands, always alike
/// in both light chains' lanes.
fn restrict(lanes: &mut [Vec<Band>; 6], style: &Style, stream: &mut Stream) {
    let gamma = style.zones.gamma;
    if stream.chance(0.1) {
        let centre = around(stream, gamma, 0.05);
        let deviation = between(stream, 0.05, 0.07);
        let density = between(stream, 0.08, 0.3);
        for (lane, share) in [(1, 1.0), (KAPPA, 0.8), (LAMBDA, 0.7)] {
            let share = share * around(stream, 1.0, 0.08);
            lanes[lane].push(Band::new(centre, deviation, density * share));
        }
    } else if stream.chance(0.1) {
        let deviation = between(stream, 0.014, 0.024) * style.zones.diffusion.max(0.7);
        for _ in 0..2 + stream.below(4) {
            let centre = between(stream, gamma - 0.13, gamma + 0.12);
            let density = style.stain.needed(style.visible(deviation)) * between(stream, 0.3, 1.1);
            for lane in [1, KAPPA, LAMBDA] {
                let density = density * around(stream, 1.0, 0.12);
                lanes[lane].push(Band::new(centre, deviation, density));
            }
        }
    }
}

/// Bands that are no immunoglobulins, in all classes: in the ELP lane alone, or in all lanes.
fn confound(lanes: &mut [Vec<Band>; 6], class: usize, style: &Style, stream: &mut Stream) {
    let zones = &style.zones;
    let deviation = between(stream, 0.012, 0.024) * zones.diffusion.max(0.6);
    if stream.chance(if class == 0 { 0.14 } else { 0.05 }) {
        // Fibrinogen near the origin, C-reactive protein in the gamma zone.
        let place = if stream.chance(0.7) {
            around(stream, zones.origin, 0.025)
        } else {
            between(stream, zones.gamma - 0.1, zones.gamma + 0.1)
        };
        let density = log_between(stream, 0.1, 0.7);
        lanes[ELP].push(Band::new(place, deviation, density));
        if stream.chance(0.3) {
            let trace = density.min(0.5) * between(stream, 0.2, 0.6);
            for lane in lanes.iter_mut().skip(1) {
                let trace = trace * around(stream, 1.0, 0.12);
                lane.push(Band::new(place, deviation, trace));
            }
        }
    }
    if style.stain.slit > 0.0 {
        for lane in lanes.iter_mut() {
            let density = style.stain.slit * around(stream, 1.0, 0.15);
            lane.push(Band::new(zones.origin, 0.008, density).flat(0.8));
        }
    }
    if stream.chance(0.05) {
        // A trace of albumin that was not washed out.
        let trace = between(stream, 0.02, 0.1);
        for lane in lanes.iter_mut().skip(1) {
            lane.push(Band::new(0.0, 0.035, trace * around(stream, 1.0, 0.2)));
        }
    }
}
