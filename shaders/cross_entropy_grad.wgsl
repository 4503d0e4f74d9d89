// logits_grad = output_grad * (softmax(logits) - [k = label]), for each sample.
// Room: src/ops/cross_entropy_grad.rs
// Uses: store_f32, index, rows
// Bindings: 0 logits, 1 labels, 2 output_grad, 3 logits_grad, 4 the geometry of the rows and the bits of a NaN
// Grid: LANES invocations a row, workgroups of 256
// Constants: LANES
// Barriers: those of the reductions over rows, which all invocations reach
// Order of summation: lane l of a row adds elements l, l + LANES, …; then the tree of row_sum

struct Params {
    length: u32,
    inner: u32,
    count: u32,
    nan: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<Store>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> output_grad: array<Store>;
@group(0) @binding(3) var<storage, read_write> logits_grad: array<Store>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let number = linear_workgroup(group, groups);
    let row = row_of(number, index, params.length, params.inner, params.count);
    var top = LOWEST;
    for (var i = row.lane; i < row.length; i += LANES) {
        top = max(top, f32(logits[row.first + i]));
    }
    top = row_max(top, index);
    var sum = 0.0;
    for (var i = row.lane; i < row.length; i += LANES) {
        sum += exp(f32(logits[row.first + i]) - top);
    }
    sum = row_sum(sum, index);
    for (var i = row.lane; i < row.length; i += LANES) {
        let label = labels[row.number];
        let probability = exp(f32(logits[row.first + i]) - top) / sum;
        var value = f32(output_grad[row.number]) * (probability - select(0.0, 1.0, i == label));
        if (label >= row.length) {
            // A label that is no class: NaN by its bits, which WGSL does not let a constant hold.
            value = bitcast<f32>(params.nan);
        }
        logits_grad[row.first + i] = Store(value);
    }
}
