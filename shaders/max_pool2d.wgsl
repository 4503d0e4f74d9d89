// y = the largest element of x in each window, index = its position h · W + w, the first one on ties.
// Room: src/ops/max_pool2d.rs
// Uses: store_f32, index, windows
// Bindings: 0 x, 1 y, 2 index, 3 the geometry
// Grid: one invocation a window, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read_write> y: array<Store>;
@group(0) @binding(2) var<storage, read_write> index: array<u32>;
@group(0) @binding(3) var<uniform> windows: Windows;

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
    var best_at = first.x * image.y + first.y;
    var best = x[plane + best_at];
    for (var h = first.x; h < end.x; h++) {
        for (var w = first.y; w < end.y; w++) {
            let at = h * image.y + w;
            let value = x[plane + at];
            if (value > best) {
                best = value;
                best_at = at;
            }
        }
    }
    y[i] = best;
    index[i] = best_at;
}
