// How probable it is to miss a goal, for the focal loss; see src/ops/support/logistic.rs.

/// ln q and (dq/dx) / q of the probability q of missing the goal t in [0, 1], t (1 - s(x)) + (1 - t) s(x).
fn miss(own: Logistic, t: f32) -> vec2<f32> {
    if (t == 1.0) {
        return vec2<f32>(-own.no_loss, -own.yes);
    }
    if (t == 0.0) {
        return vec2<f32>(-own.yes_loss, own.no);
    }
    let rest = 1.0 - t;
    let share = select(rest + t * own.e, rest * own.e + t, own.is_negative);
    let slope = (rest - t) * (own.e / share) / (1.0 + own.e);
    return vec2<f32>(accurate_log(share) - own.tail, slope);
}
