//! Tells the crate what it is built with, so that reports can say so: `AXENIC_RUSTC` and `AXENIC_WGPU`.

use std::io::Write;
use std::process::Command;

fn main() -> std::io::Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let rustc = Command::new(rustc).arg("--version").output()?.stdout;
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let version = |package: &str| {
        let entry = package.trim_start().strip_prefix("name = \"wgpu\"")?;
        entry.split('"').nth(1).map(str::to_string)
    };
    let wgpu = lock.split("[[package]]").find_map(version);
    // Cargo reads a build script's standard output.
    writeln!(
        std::io::stdout(),
        "cargo:rerun-if-changed=Cargo.lock\ncargo:rustc-env=AXENIC_RUSTC={}\ncargo:rustc-env=AXENIC_WGPU={}",
        String::from_utf8_lossy(&rustc).trim(),
        wgpu.as_deref().unwrap_or("unknown")
    )
}
