// x_grad = (mean_grad + 2 variance_grad (x − mean)) / n.
// Room: src/ops/batch_statistics_grad.rs
// Uses: store_f32, index
// Bindings: 0 x, 1 mean, 2 mean_grad, 3 variance_grad, 4 x_grad, 5 the geometry
// Grid: one invocation an element, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    elements: u32,
    channels: u32,
    plane: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> mean_grad: array<f32>;
@group(0) @binding(3) var<storage, read> variance_grad: array<f32>;
@group(0) @binding(4) var<storage, read_write> x_grad: array<Store>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(group, groups) * 256u + lane;
    if (i >= params.elements) {
        return;
    }
    let c = (i / params.plane) % params.channels;
    let count = f32(params.count);
    let slope = 2.0 * variance_grad[c] / count;
    x_grad[i] = Store(mean_grad[c] / count + slope * (f32(x[i]) - mean[c]));
}
