//! Who may import whom: reads the `use` lines and paths of `src` and checks them against the table of the architecture.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const BASICS: [&str; 7] = [
    "error", "shape", "array", "real", "rng", "workers", "product",
];

/// Each folder with what it may import, beside itself. `ops` in `autodiff` and `nn` means the recording functions.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    let with = |more: &[&'static str]| BASICS.iter().chain(more).copied().collect::<Vec<_>>();
    let engine = [
        "graph", "ops", "autodiff", "plan", "exec", "nn", "models", "data", "metrics",
    ];
    let mut everything = with(&engine);
    everything.extend(["train", "explain", "report", "systems"]);
    let mut program = everything.clone();
    program.extend(["conformance", "ledger"]);
    let mut table: BTreeMap<_, _> = BASICS
        .iter()
        .map(|&basic| (basic, BASICS.to_vec()))
        .collect();
    table.extend([
        ("graph", with(&[])),
        ("ops", with(&["graph"])),
        ("autodiff", with(&["graph", "ops"])),
        ("plan", with(&["graph"])),
        ("exec", with(&["graph", "plan"])),
        ("nn", with(&["graph", "ops"])),
        ("models", with(&["graph", "ops", "nn"])),
        ("data", BASICS.to_vec()),
        ("metrics", BASICS.to_vec()),
        ("train", with(&engine)),
        ("explain", with(&engine)),
        ("systems", everything),
        (
            "report",
            with(&["metrics", "train", "systems", "explain", "data", "ledger"]),
        ),
        (
            "conformance",
            with(&["graph", "ops", "autodiff", "plan", "exec"]),
        ),
        ("ledger", with(&["graph", "ops", "plan", "exec"])),
        ("cli", program),
    ]);
    table
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("a folder of the project")
        .map(|entry| entry.expect("readable").path())
    {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

/// The lines of a file's code: without comments, and without the test module at its end. (A line `mod tests;` names
/// another file and ends nothing.)
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {");
    text[..tests.unwrap_or(text.len())]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The modules of the crate that code names by `crate::…`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let name: String = code[at + 7..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        found.push(name);
    }
    found
}

#[test]
fn every_import_is_allowed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table = allowed();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut complaints = Vec::new();
    let mut checked = 0;
    for file in files {
        let relative = file.strip_prefix(&root).expect("inside src");
        let own = relative
            .components()
            .next()
            .expect("not empty")
            .as_os_str()
            .to_string_lossy()
            .replace(".rs", "");
        if ["lib", "main", "build"].contains(&own.as_str()) {
            continue;
        }
        let Some(may) = table.get(own.as_str()) else {
            complaints.push(format!(
                "{} is in no room of the architecture",
                relative.display()
            ));
            continue;
        };
        let text = fs::read_to_string(&file).expect("readable");
        for name in imports(&code(&text)) {
            checked += 1;
            let is_type_of_the_root = ["Error", "Result", "Array", "eval"].contains(&name.as_str());
            if !is_type_of_the_root && name != own && !may.contains(&name.as_str()) {
                complaints.push(format!("{} imports {name}", relative.display()));
            }
        }
    }
    assert!(
        checked > 100,
        "only {checked} imports were found: the reader of this test is broken"
    );
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Files are written only by the file layer, which tests can make fail, and by the renderer of data sets.
#[test]
fn files_are_written_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let homes = ["train/files.rs", "systems/ife/synth/dataset.rs"];
    let words = [
        "fs::write",
        "File::create",
        "File::options",
        "OpenOptions",
        "fs::rename",
        "fs::remove",
        "create_dir",
        "fs::copy",
    ];
    for file in files {
        let relative = file.strip_prefix(&root).expect("inside src");
        let relative = relative.to_string_lossy().replace('\\', "/");
        if homes.contains(&relative.as_str()) || relative.ends_with("tests.rs") {
            continue;
        }
        let code = code(&fs::read_to_string(&file).expect("readable"));
        let found = words.iter().find(|word| code.contains(*word));
        assert!(found.is_none(), "{relative} uses {found:?}");
    }
}

#[test]
fn imports_are_found_behind_the_name_of_a_test_file() {
    let text = "//! crate::cli\n#[cfg(test)]\nmod tests;\n\nuse crate::exec::Cpu;\nuse crate::Result;\n\
                #[cfg(test)]\nmod tests {\n    use crate::plan::Plan;\n}\n";
    assert_eq!(imports(&code(text)), ["exec", "Result"]);
}

/// Devices only in `exec/gpu`; threads only in `workers`, `data` and the renderer that makes data; files only where they
/// are what the place is about.
#[test]
fn devices_threads_and_files_stay_in_their_rooms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let files_homes = [
        "data",
        "train",
        "cli",
        "systems/ife/run.rs",
        "systems/ife/synth/dataset.rs",
    ];
    let homes = [
        ("wgpu::", vec!["exec/gpu"]),
        ("rayon::", vec!["workers.rs", "systems/ife/synth"]),
        ("thread::spawn", vec!["data"]),
        ("thread::scope", vec!["workers.rs"]),
        ("thread::Builder", vec!["data", "workers.rs"]),
        ("unsafe {", vec!["exec/gpu"]),
        ("fs::", files_homes.to_vec()),
        ("File::", files_homes.to_vec()),
    ];
    for file in files {
        let relative = file
            .strip_prefix(&root)
            .expect("inside src")
            .to_string_lossy()
            .replace('\\', "/");
        if relative.ends_with("tests.rs") || relative == "build.rs" {
            continue;
        }
        let code = code(&fs::read_to_string(&file).expect("readable"));
        for (word, rooms) in &homes {
            let is_home = rooms.iter().any(|room| relative.starts_with(room));
            assert!(is_home || !code.contains(word), "{relative} uses {word}");
        }
    }
}
