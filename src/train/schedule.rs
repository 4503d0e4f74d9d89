//! How the learning rate changes over the steps.

/// A linear rise from 0, then half a cosine down to 0.
///
/// Step i of W warm-up steps: peak · i / W, with i from 0; step i behind them: peak · ½ (1 + cos(π (i − W) / (T − W))).
///
/// Reference: Loshchilov and Hutter, *SGDR*, ICLR 2017, equation 5; warm-up as in Goyal et al. 2017.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmupCosine {
    /// The highest rate.
    pub peak: f64,
    /// W, the steps of the rise.
    pub warmup_steps: usize,
    /// T, all steps.
    pub total_steps: usize,
}

impl WarmupCosine {
    /// The rate of step `step`, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.peak * step as f64 / self.warmup_steps as f64;
        }
        let rest = (self.total_steps - self.warmup_steps.min(self.total_steps)).max(1) as f64;
        let done = ((step - self.warmup_steps) as f64 / rest).min(1.0);
        self.peak * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_falls() {
        let schedule = WarmupCosine {
            peak: 0.03,
            warmup_steps: 10,
            total_steps: 110,
        };
        assert_eq!(schedule.rate(0), 0.0);
        assert!((schedule.rate(5) - 0.015).abs() < 1e-15);
        assert_eq!(schedule.rate(10), 0.03);
        assert!((schedule.rate(60) - 0.015).abs() < 1e-15);
        assert!(schedule.rate(109) < 1e-5 && schedule.rate(500) == 0.0);
        let none = WarmupCosine {
            peak: 1.0,
            warmup_steps: 0,
            total_steps: 1,
        };
        assert_eq!(none.rate(0), 1.0);
    }
}
