//! A rectangle of numbers that shapes are drawn on: stain, or ink.

/// Row-major values, one per pixel.
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<f32>,
}

impl Plane {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            values: vec![0.0; width * height],
        }
    }

    /// Calls `change` with every pixel whose centre is within `radius` of the rectangle that two points span.
    fn near(
        &mut self,
        from: [f32; 2],
        to: [f32; 2],
        radius: f32,
        mut change: impl FnMut(f32, f32, &mut f32),
    ) {
        let range = |a: f32, b: f32, length: usize| {
            let low = (a.min(b) - radius).clamp(0.0, length as f32) as usize;
            let high = (a.max(b) + radius + 1.0).clamp(0.0, length as f32) as usize;
            low..high
        };
        let columns = range(from[0], to[0], self.width);
        for y in range(from[1], to[1], self.height) {
            for x in columns.clone() {
                let value = &mut self.values[y * self.width + x];
                change(x as f32 + 0.5, y as f32 + 0.5, value);
            }
        }
    }

    /// Raises the plane to `level` along a line with round ends.
    pub(super) fn line(&mut self, from: [f32; 2], to: [f32; 2], thickness: f32, level: f32) {
        let direction = [to[0] - from[0], to[1] - from[1]];
        let square = (direction[0].powi(2) + direction[1].powi(2)).max(1e-6);
        let half = 0.5 * thickness;
        // A line thinner than a pixel covers less of it.
        let level = level * thickness.min(1.0);
        self.near(from, to, half + 1.0, |x, y, value| {
            let (px, py) = (x - from[0], y - from[1]);
            let t = ((px * direction[0] + py * direction[1]) / square).clamp(0.0, 1.0);
            let distance = (px - t * direction[0]).hypot(py - t * direction[1]);
            let cover = (half.max(0.5) + 0.5 - distance).clamp(0.0, 1.0);
            *value = value.max(level * cover);
        });
    }

    /// Calls `change` with the distance from the centre over the radius, for every pixel of a disc.
    pub(super) fn disc(
        &mut self,
        centre: [f32; 2],
        radius: f32,
        mut change: impl FnMut(f32, &mut f32),
    ) {
        self.near(centre, centre, radius, |x, y, value| {
            let distance = (x - centre[0]).hypot(y - centre[1]) / radius;
            if distance < 1.0 {
                change(distance, value);
            }
        });
    }
}
