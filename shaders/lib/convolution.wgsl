// The lengths of a convolution, [N, G·channels, input] * [G·maps, channels, kernel] → [N, G·maps, output], and the order
// in which its products count positions and taps. What is divided by is constant, as far as windows and strides go.

struct Convolution {
    images: u32,
    groups: u32,
    channels: u32,
    maps: u32,
    input: vec2<u32>,
    output: vec2<u32>,
    kernel: vec2<u32>,
    padding: vec2<u32>,
}

override KERNEL_H: u32 = 1u;
override KERNEL_W: u32 = 1u;
override STRIDE_H: u32 = 1u;
override STRIDE_W: u32 = 1u;
override DILATION_H: u32 = 1u;
override DILATION_W: u32 = 1u;
/// 1 where a window of one tap moves by one over planes without padding whose area is a multiple of 4: four neighbouring
/// positions then see a vector of the buffer.
override QUADS: u32 = 0u;

/// An index over planes of `size`: the plane, the row, the column.
fn in_planes(index: u32, size: vec2<u32>) -> vec3<u32> {
    let row = index / size.y;
    return vec3<u32>(row / size.x, row % size.x, index % size.y);
}

/// What follows a position in planes of `size`.
fn following(position: vec3<u32>, size: vec2<u32>) -> vec3<u32> {
    if (position.z + 1u < size.y) {
        return position + vec3<u32>(0u, 0u, 1u);
    }
    if (position.y + 1u < size.x) {
        return vec3<u32>(position.x, position.y + 1u, 0u);
    }
    return vec3<u32>(position.x + 1u, 0u, 0u);
}

/// The channel, the row and the column of the tap number `index` of a window over all channels.
fn in_window(index: u32) -> vec3<u32> {
    let row = index / KERNEL_W;
    return vec3<u32>(row / KERNEL_H, row % KERNEL_H, index % KERNEL_W);
}

/// What a tap sees from a position, in rows and columns of x; wraps around above where it is padding, so that a
/// comparison with the size of x finds both sides.
fn seen(position: vec2<u32>, tap: vec2<u32>, padding: vec2<u32>) -> vec2<u32> {
    return position * vec2<u32>(STRIDE_H, STRIDE_W) + tap * vec2<u32>(DILATION_H, DILATION_W) - padding;
}
