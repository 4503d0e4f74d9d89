// x_grad = Σ weight · output_grad over the positions of the new image that take the element.
// Room: src/ops/resize_grad.rs
// Uses: store_f32, index, resizing
// Bindings: 0 output_grad, 1 x_grad, 2 the geometry
// Grid: one invocation an element of x_grad, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: every row's positions from left to right, then the rows from the top

@group(0) @binding(0) var<storage, read> output_grad: array<Store>;
@group(0) @binding(1) var<storage, read_write> x_grad: array<Store>;
@group(0) @binding(2) var<uniform> resizing: Resizing;

/// The weights with which a position takes the element.
fn weight_of(position: vec2<u32>, element: vec2<u32>) -> vec2<f32> {
    let place = place_of(resizing, position);
    let share = share_of(resizing, place);
    return select(share, 1.0 - share, place / resizing.denominator == element);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i >= resizing.count) {
        return;
    }
    let image = resizing.image;
    let result = resizing.result;
    let element = vec2<u32>(i / image.y % image.x, i % image.y);
    let first = reaching(resizing, max(element, vec2(resizing.neighbours)) - resizing.neighbours);
    let end = reaching(resizing, element + 1u);
    let plane = i / (image.x * image.y) * result.x * result.y;
    var sum = 0.0;
    for (var h = first.x; h < end.x; h++) {
        var row = 0.0;
        for (var w = first.y; w < end.y; w++) {
            row += weight_of(vec2(h, w), element).y * f32(output_grad[plane + h * result.y + w]);
        }
        sum += weight_of(vec2(h, 0u), element).x * row;
    }
    x_grad[i] = Store(sum);
}
