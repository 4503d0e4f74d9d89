// y = the sum of x over each window, divided by its size, with the padding that it sees or without.
// Room: src/ops/avg_pool2d.rs
// Uses: store_f32, index, windows
// Bindings: 0 x, 1 y, 2 the geometry
// Grid: one invocation a window, workgroups of 256
// Constants: COUNT_PADDING, 0 to divide by the number of elements inside the image
// Barriers: none
// Order of summation: row-major

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read_write> y: array<Store>;
@group(0) @binding(2) var<uniform> windows: Windows;

override COUNT_PADDING: u32 = 1u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i >= windows.count) {
        return;
    }
    let image = windows.image;
    let result = windows.result;
    let window = vec2<u32>(i / result.y % result.x, i % result.y);
    let first = window_first(windows, window);
    let end = window_end(windows, window);
    let plane = i / (result.x * result.y) * image.x * image.y;
    var sum = 0.0;
    for (var h = first.x; h < end.x; h++) {
        for (var w = first.y; w < end.y; w++) {
            sum += f32(x[plane + h * image.y + w]);
        }
    }
    var size = end - first;
    if (COUNT_PADDING != 0u) {
        size = padded_size(windows, window);
    }
    y[i] = Store(sum / f32(size.x * size.y));
}
