// x_grad = Σ output_grad over the windows that chose the element.
// Room: src/ops/max_pool2d_grad.rs
// Uses: store_f32, index, windows
// Bindings: 0 output_grad, 1 index, 2 x_grad, 3 the geometry
// Grid: one invocation an element of x_grad, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: windows in row-major order

@group(0) @binding(0) var<storage, read> output_grad: array<Store>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> x_grad: array<Store>;
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
    let position = vec2<u32>(i / image.y % image.x, i % image.y);
    let first = covering_first(windows, position);
    let end = covering_end(windows, position);
    let own = position.x * image.y + position.y;
    let plane = i / (image.x * image.y) * result.x * result.y;
    var sum = 0.0;
    for (var h = first.x; h < end.x; h++) {
        for (var w = first.y; w < end.y; w++) {
            let window = plane + h * result.y + w;
            if (index[window] == own) {
                sum += f32(output_grad[window]);
            }
        }
    }
    x_grad[i] = Store(sum);
}
