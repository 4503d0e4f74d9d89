// Random words without state: Philox 4×32 with 10 rounds, bit for bit that of src/rng.rs.

/// The upper 32 bits of a product of 64, by halves of 16 bits: no sum below overflows.
fn high_product(a: u32, b: u32) -> u32 {
    let low = vec2<u32>(a & 0xffffu, b & 0xffffu);
    let high = vec2<u32>(a >> 16u, b >> 16u);
    let first = high.x * low.y + (low.x * low.y >> 16u);
    let second = low.x * high.y + (first & 0xffffu);
    return high.x * high.y + (first >> 16u) + (second >> 16u);
}

/// One block of four random words for a counter under a key.
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var words = counter;
    var round_key = key;
    for (var round = 0u; round < 10u; round++) {
        words = vec4<u32>(
            high_product(words.z, 0xCD9E8D57u) ^ words.y ^ round_key.x,
            words.z * 0xCD9E8D57u,
            high_product(words.x, 0xD2511F53u) ^ words.w ^ round_key.y,
            words.x * 0xD2511F53u);
        round_key += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return words;
}
