// largest[256 · operand + i] = the largest finite magnitude in the i-th share of a, or of b; below zero beside an infinity.
// Room: src/ops/support/products.rs
// Uses: store_f32, index
// Bindings: 0 a, 1 b, 2 largest, 3 how many elements a and b have
// Grid: 512 workgroups of 256: those of a, then those of b; in turn each invocation takes a vector
// Constants: none
// Barriers: those of the reduction; the grid's surplus workgroups leave as a whole before
// Order of summation: none; the order of comparisons changes nothing

struct Params {
    a_length: u32,
    b_length: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4<Store>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<Store>>;
@group(0) @binding(2) var<storage, read_write> largest: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

/// The shares of an operand.
const SHARES: u32 = 256u;
const MAGNITUDE: u32 = 0x7fffffffu;
const INFINITE: u32 = 0x7f800000u;
const SIGN: u32 = 0x80000000u;

/// Words whose bits, but for the sign, are the largest finite magnitude so far; the sign says that something else was seen.
var<workgroup> tops: array<u32, 256>;

fn join(top: u32, other: u32) -> u32 {
    return max(top & MAGNITUDE, other & MAGNITUDE) | ((top | other) & SIGN);
}

/// A number as a word; compared by its bits, as compilers may assume that there is nothing infinite.
fn word_of(x: f32) -> u32 {
    let magnitude = bitcast<u32>(x) & MAGNITUDE;
    return select(magnitude, SIGN, magnitude >= INFINITE);
}

/// What a vector adds; what lies behind the operand is not its own.
fn seen(top: u32, values: vec4<f32>, first: u32, length: u32) -> u32 {
    var joined = top;
    for (var i = 0u; i < 4u; i++) {
        if (first + i < length) {
            joined = join(joined, word_of(values[i]));
        }
    }
    return joined;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = linear_workgroup(group, groups);
    if (index >= 2u * SHARES) {
        return;
    }
    let is_a = index < SHARES;
    let length = select(params.b_length, params.a_length, is_a);
    var top = 0u;
    for (var i = index % SHARES * 256u + lane; 4u * i < length; i += 256u * SHARES) {
        if (is_a) {
            top = seen(top, vec4<f32>(a[i]), 4u * i, length);
        } else {
            top = seen(top, vec4<f32>(b[i]), 4u * i, length);
        }
    }
    workgroupBarrier();
    tops[lane] = top;
    for (var width = 128u; width > 0u; width >>= 1u) {
        workgroupBarrier();
        if (lane < width) {
            tops[lane] = join(tops[lane], tops[lane + width]);
        }
    }
    workgroupBarrier();
    if (lane == 0u) {
        largest[index] = bitcast<f32>(tops[0]);
    }
}
