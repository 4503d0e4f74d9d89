// Windows over images, for pooling; the first component is along the height, the second along the width. Places are counted
// in the padded image and in denominators, of which windows that slide have one.

struct Windows {
    image: vec2<u32>,
    result: vec2<u32>,
    kernel_size: vec2<u32>,
    stride: vec2<u32>,
    padding: vec2<u32>,
    denominator: vec2<u32>,
    /// Invocations that have work.
    count: u32,
}

/// The first padded position that the window reaches.
fn reach_first(windows: Windows, window: vec2<u32>) -> vec2<u32> {
    return window * windows.stride / windows.denominator;
}

/// One past the last padded position that the window reaches.
fn reach_end(windows: Windows, window: vec2<u32>) -> vec2<u32> {
    let end = window * windows.stride + windows.kernel_size;
    return (end + windows.denominator - 1u) / windows.denominator;
}

/// The first position inside the image that the window sees.
fn window_first(windows: Windows, window: vec2<u32>) -> vec2<u32> {
    return max(reach_first(windows, window), windows.padding) - windows.padding;
}

/// One past the last position inside the image that the window sees.
fn window_end(windows: Windows, window: vec2<u32>) -> vec2<u32> {
    return min(reach_end(windows, window) - windows.padding, windows.image);
}

/// Height and width of what the window sees of the image and its padding.
fn padded_size(windows: Windows, window: vec2<u32>) -> vec2<u32> {
    let end = min(reach_end(windows, window), windows.image + 2u * windows.padding);
    return end - reach_first(windows, window);
}

/// The first window that sees the position.
fn covering_first(windows: Windows, position: vec2<u32>) -> vec2<u32> {
    let start = (position + windows.padding) * windows.denominator;
    return (max(start + windows.stride, windows.kernel_size) - windows.kernel_size) / windows.stride;
}

/// One past the last window that sees the position.
fn covering_end(windows: Windows, position: vec2<u32>) -> vec2<u32> {
    let end = (position + windows.padding + 1u) * windows.denominator;
    return min((end + windows.stride - 1u) / windows.stride, windows.result);
}
