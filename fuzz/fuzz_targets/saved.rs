//! The entry of libFuzzer; see the function.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| axenic_fuzz::saved(bytes));
