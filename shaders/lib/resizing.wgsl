// Where the positions of a resized image lie in the original; the first component is along the height, the second along
// the width. The arithmetic is that of whole numbers.

struct Resizing {
    image: vec2<u32>,
    result: vec2<u32>,
    step: vec2<u32>,
    plus: vec2<u32>,
    minus: vec2<u32>,
    denominator: vec2<u32>,
    /// 1 where a position lies between elements, 0 where it takes the one before it.
    neighbours: u32,
    /// Invocations that have work.
    count: u32,
}

/// Where a position of the result lies in the image, in denominators.
fn place_of(resizing: Resizing, position: vec2<u32>) -> vec2<u32> {
    let place = max(position * resizing.step + resizing.plus, resizing.minus) - resizing.minus;
    return min(place, (resizing.image - 1u) * resizing.denominator);
}

/// The share of the second element at a place.
fn share_of(resizing: Resizing, place: vec2<u32>) -> vec2<f32> {
    let part = place % resizing.denominator * resizing.neighbours;
    return vec2<f32>(part) / vec2<f32>(resizing.denominator);
}

/// The first position of the result that lies at the element or beyond.
fn reaching(resizing: Resizing, element: vec2<u32>) -> vec2<u32> {
    let place = max(element * resizing.denominator + resizing.minus, resizing.plus) - resizing.plus;
    let position = min((place + resizing.step - 1u) / resizing.step, resizing.result);
    return select(position, vec2<u32>(), element == vec2<u32>());
}
