// y = x / (1 − p), or 0 where the upper 24 bits of a random word are below p · 2²⁴.
// Room: src/ops/dropout.rs
// Uses: store_f32, index, philox
// Bindings: 0 x, 1 key, 2 y, 3 the lengths, the stream, the threshold and 1 / (1 − p)
// Grid: one invocation for four elements, workgroups of 256
// Constants: none
// Barriers: none
// Order of summation: none

struct Params {
    count: u32,
    /// How many neighbours share a draw.
    run: u32,
    stream: vec2<u32>,
    threshold: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Store>;
@group(0) @binding(1) var<storage, read> key: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<Store>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = 4u * (linear_workgroup(group, groups) * 256u + lane);
    // No draw is so late that its block had this number.
    var block = 0xffffffffu;
    var words = vec4<u32>(0u);
    for (var i = first; i < min(first + 4u, params.count); i++) {
        let draw = i / params.run;
        if (draw / 4u != block) {
            block = draw / 4u;
            words = philox(vec4<u32>(block, 0u, params.stream), vec2<u32>(key[0], key[1]));
        }
        let kept = words[draw % 4u] >> 8u >= params.threshold;
        y[i] = select(Store(0.0), Store(f32(x[i]) * params.scale), kept);
    }
}
