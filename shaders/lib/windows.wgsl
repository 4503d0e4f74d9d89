// Windows that slide over images, for pooling; the first component is along the height, the second along the width.

struct Windows {
    image: vec2<u32>,
    result: vec2<u32>,
    kernel_size: vec2<u32>,
    stride: vec2<u32>,
    padding: vec2<u32>,
    /// Invocations that have work.
    count: u32,
}

/// The first position inside the image that the window sees.
fn window_first(windows: Windows, window: vec2<u32>) -> vec2<u32> {
    return max(window * windows.stride, windows.padding) - windows.padding;
}

/// One past the last position inside the image that the window sees.
fn window_end(windows: Windows, window: vec2<u32>) -> vec2<u32> {
    return min(window * windows.stride + windows.kernel_size - windows.padding, windows.image);
}

/// The first window that sees the position.
fn covering_first(windows: Windows, position: vec2<u32>) -> vec2<u32> {
    let past = max(position + windows.padding + 1u, windows.kernel_size) - windows.kernel_size;
    return (past + windows.stride - 1u) / windows.stride;
}

/// One past the last window that sees the position.
fn covering_end(windows: Windows, position: vec2<u32>) -> vec2<u32> {
    return min((position + windows.padding) / windows.stride + 1u, windows.result);
}
