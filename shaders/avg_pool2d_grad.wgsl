// x_grad = Σ output_grad / divisor over the windows that see the element.
// Room: src/ops/avg_pool2d_grad.rs
// Uses: store_f32, index, windows
// Bindings: 0 output_grad, 1 x_grad, 2 the geometry
// Grid: one invocation an element of x_grad, workgroups of 256
// Constants: COUNT_PADDING, 0 to divide by the number of elements inside the image
// Barriers: none
// Order of summation: windows in row-major order

@group(0) @binding(0) var<storage, read> output_grad: array<Store>;
@group(0) @binding(1) var<storage, read_write> x_grad: array<Store>;
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
    let position = vec2<u32>(i / image.y % image.x, i % image.y);
    let first = covering_first(windows, position);
    let end = covering_end(windows, position);
    let plane = i / (image.x * image.y) * result.x * result.y;
    var sum = 0.0;
    for (var h = first.x; h < end.x; h++) {
        for (var w = first.y; w < end.y; w++) {
            let window = vec2<u32>(h, w);
            var size = padded_size(windows, window);
            if (COUNT_PADDING == 0u) {
                size = window_end(windows, window) - window_first(windows, window);
            }
            sum += f32(output_grad[plane + h * result.y + w]) / f32(size.x * size.y);
        }
    }
    x_grad[i] = Store(sum);
}
