//! The `axenic` program.

fn main() -> std::process::ExitCode {
    axenic::cli::main()
}
