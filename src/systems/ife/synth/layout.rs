//! Where the lanes lie: from pixels to lane coordinates and back.

use super::chance::{around, between};
use super::style::Style;
use crate::rng::Stream;

/// The geometry of one image: an upright gel plane that is rotated a little about the image's centre.
pub(super) struct Layout {
    centre: [f32; 2],
    sine: f32,
    cosine: f32,
    /// Height of u = 0 in the gel plane, and signed pixels per unit of `u`.
    start: f32,
    span: f32,
    /// The six lanes, and with neighbours the last lane of the gel before and the first of the gel after.
    pub(super) places: Vec<Place>,
    /// Distance of two lanes in pixels.
    pub(super) pitch: f32,
}

/// One lane's place in the gel plane.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Index of its content among the six lanes.
    pub(super) lane: usize,
    /// Whether it belongs to a neighbouring gel.
    pub(super) neighbour: bool,
    /// Middle and half width in pixels.
    pub(super) centre: f32,
    pub(super) half: f32,
    /// Further migration, in `u`, and its change from the middle to the right edge.
    offset: f32,
    tilt: f32,
    /// Sideways shift at both ends, in pixels.
    bend: f32,
}

impl Layout {
    pub(super) fn draw(style: &Style, stream: &mut Stream) -> Self {
        let (width, height) = (style.width as f32, style.height as f32);
        let lanes = &style.lanes;
        let pitch = lanes.pitch * width;
        let apart = 1.0 + between(stream, 0.0, 0.15);
        let mut places: Vec<Place> = (0..6)
            .map(|lane| {
                let gap = if lane == 0 { 0.0 } else { lanes.gap };
                Place::draw(style, lane, lane as f32 + gap, false, stream)
            })
            .collect();
        if lanes.neighbours {
            places.push(Place::draw(style, 5, -apart, true, stream));
            places.push(Place::draw(style, 0, 5.0 + lanes.gap + apart, true, stream));
        }
        Self {
            centre: [0.5 * width, 0.5 * height],
            sine: lanes.angle.sin(),
            cosine: lanes.angle.cos(),
            start: lanes.ends[0] * height,
            span: (lanes.ends[1] - lanes.ends[0]) * height,
            places,
            pitch,
        }
    }

    /// The point of the gel plane under a pixel.
    pub(super) fn to_gel(&self, x: f32, y: f32) -> [f32; 2] {
        let (x, y) = (x - self.centre[0], y - self.centre[1]);
        [
            self.centre[0] + self.cosine * x + self.sine * y,
            self.centre[1] - self.sine * x + self.cosine * y,
        ]
    }

    /// The pixel over a point of the gel plane.
    pub(super) fn to_image(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let (x, y) = (x - self.centre[0], y - self.centre[1]);
        [
            self.centre[0] + self.cosine * x - self.sine * y,
            self.centre[1] + self.sine * x + self.cosine * y,
        ]
    }

    /// Height of a value of `u` in the gel plane.
    pub(super) fn height_of(&self, u: f32) -> f32 {
        self.start + self.span * u
    }

    /// The value of `u` at a height of the gel plane.
    pub(super) fn u_at(&self, y: f32) -> f32 {
        (y - self.start) / self.span
    }

    /// Lane coordinates (u, s) of a point of the gel plane.
    pub(super) fn in_lane(&self, place: &Place, [x, y]: [f32; 2]) -> (f32, f32) {
        let u = self.u_at(y);
        let bent = x - place.centre - place.bend * (2.0 * u - 1.0).powi(2);
        let s = bent / place.half;
        (u - place.offset - place.tilt * s, s)
    }
}

impl Place {
    fn draw(style: &Style, lane: usize, slot: f32, neighbour: bool, stream: &mut Stream) -> Self {
        let lanes = &style.lanes;
        let pitch = lanes.pitch * style.width as f32;
        let fill = lanes.fill[usize::from(lane > 0)] * between(stream, 0.96, 1.04);
        let from_middle = (slot - 2.5) / 2.5;
        Self {
            lane,
            neighbour,
            centre: lanes.first * style.width as f32
                + (slot + around(stream, 0.0, lanes.jitter)) * pitch,
            half: 0.5 * fill * pitch,
            offset: lanes.smile * from_middle * from_middle + around(stream, 0.0, lanes.stagger),
            tilt: around(stream, 0.0, 0.003),
            bend: lanes.bend * pitch * from_middle,
        }
    }

    /// The columns of pixels that the lane may touch.
    pub(super) fn columns(&self, layout: &Layout, width: usize) -> std::ops::Range<usize> {
        let slack = 1.5 * self.half + self.bend.abs() * 2.0 + layout.sine.abs() * layout.centre[1];
        let low = (self.centre - slack).clamp(0.0, width as f32) as usize;
        let high = (self.centre + slack).clamp(0.0, width as f32) as usize;
        low..high
    }
}
