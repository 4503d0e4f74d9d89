// Linear indices over workgroups laid out along x and y, and offsets into strided values of up to six axes.

/// The number of this workgroup, counted along x, then y.
fn linear_workgroup(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

/// Eight words that hold six lengths or strides, outermost first; the last two are unused.
alias Axes = array<vec4<u32>, 2>;

/// The offset of the element `index` (row-major in `lengths`) of a value read with `strides`.
fn strided_offset(index: u32, lengths: Axes, strides: Axes) -> u32 {
    let inner = vec2<u32>(lengths[1].x, lengths[1].y);
    var rest = index;
    var offset = (rest % inner.y) * strides[1].y;
    rest /= inner.y;
    offset += (rest % inner.x) * strides[1].x;
    rest /= inner.x;
    if (rest == 0u) {
        return offset;
    }
    offset += (rest % lengths[0].w) * strides[0].w;
    rest /= lengths[0].w;
    offset += (rest % lengths[0].z) * strides[0].z;
    rest /= lengths[0].z;
    offset += (rest % lengths[0].y) * strides[0].y;
    rest /= lengths[0].y;
    return offset + rest * strides[0].x;
}
