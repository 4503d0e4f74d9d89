// e^x − 1 − x without cancellation.

/// e^x − 1 − x for |x| ≤ 1/2, by its series x²/2 · (1 + x/3 · (1 + x/4 · (…))). What is left out is less
/// than half a unit in the last place of the result.
fn exp_remainder(x: f32) -> f32 {
    var tail = 1.0 + x * (1.0 / 8.0);
    tail = 1.0 + x * (1.0 / 7.0) * tail;
    tail = 1.0 + x * (1.0 / 6.0) * tail;
    tail = 1.0 + x * (1.0 / 5.0) * tail;
    tail = 1.0 + x * (1.0 / 4.0) * tail;
    tail = 1.0 + x * (1.0 / 3.0) * tail;
    return 0.5 * (x * x) * tail;
}

/// eˣ − eʸ, accurate also where x ≈ y.
fn exp_difference(x: f32, y: f32) -> f32 {
    let difference = x - y;
    if (abs(difference) <= 0.5) {
        return exp(y) * (difference + exp_remainder(difference));
    }
    return exp(x) - exp(y);
}
