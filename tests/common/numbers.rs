//! Numbers that need not be stored: `hashed` of `tests/golden/ife.py`.

/// `count` numbers in [centre − radius, centre + radius): SplitMix64 from the FNV-1a hash of the name, rounded to f32.
pub(crate) fn hashed(name: &str, count: usize, centre: f64, radius: f64) -> Vec<f32> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = |i: u64| {
        let mut z = seed.wrapping_add((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let unit = |i| (mixed(i) >> 40) as f64 / f64::from(1 << 23) - 1.0;
    (0..count as u64)
        .map(|i| (centre + radius * unit(i)) as f32)
        .collect()
}
