// y = what lies at each position of the new image in the old one x: an element, or a mean of its neighbours.
// Room: src/ops/resize.rs
// Uses: store_f32, index, resizing
// Bindings: 0 x, 1 y, 2 the geometry
// Grid: one invocation an element of y, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: along the height, then along the width

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read_write> y: array<Store>;
@group(0) @binding(2) var<uniform> resizing: Resizing;

/// What lies in the column that starts at `start`, at `row` and its share of the next.
fn in_column(start: u32, row: u32, share: f32) -> f32 {
    let width = resizing.image.y;
    let first = f32(x[start + row * width]);
    if (share == 0.0) {
        return first;
    }
    return (1.0 - share) * first + share * f32(x[start + (row + 1u) * width]);
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
    let result = resizing.result;
    let place = place_of(resizing, vec2<u32>(i / result.y % result.x, i % result.y));
    let first = place / resizing.denominator;
    let share = share_of(resizing, place);
    let start = i / (result.x * result.y) * resizing.image.x * resizing.image.y + first.y;
    var value = in_column(start, first.x, share.x);
    if (share.y != 0.0) {
        value = (1.0 - share.y) * value + share.y * in_column(start + 1u, first.x, share.x);
    }
    y[i] = Store(value);
}
