// Reductions over the 256 invocations of a workgroup, in a fixed order: a tree that halves 256, 128, …, 1.

var<workgroup> reduce_memory: array<f32, 256>;

/// The sum of every invocation's `value`; all invocations of the workgroup must call it and all get the result.
fn workgroup_sum(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    reduce_memory[lane] = value;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if (lane < width) {
            reduce_memory[lane] += reduce_memory[lane + width];
        }
    }
    workgroupBarrier();
    return reduce_memory[0];
}

/// The largest of every invocation's `value`; all invocations of the workgroup must call it and all get the result.
fn workgroup_max(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    reduce_memory[lane] = value;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if (lane < width) {
            reduce_memory[lane] = max(reduce_memory[lane], reduce_memory[lane + width]);
        }
    }
    workgroupBarrier();
    return reduce_memory[0];
}
