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

/// The modules of the crate that a text names by `crate::…`, outside comments and test modules.
fn imports(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
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
        if own == "lib" || own == "main" {
            continue;
        }
        let Some(may) = table.get(own.as_str()) else {
            complaints.push(format!(
                "{} is in no room of the architecture",
                relative.display()
            ));
            continue;
        };
        for name in imports(&fs::read_to_string(&file).expect("readable")) {
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

/// Devices only in `exec/gpu`, threads only in `workers`, `data` and the renderer that makes data.
#[test]
fn devices_and_threads_stay_in_their_rooms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let homes = [
        ("wgpu::", vec!["exec/gpu"]),
        ("rayon::", vec!["workers.rs", "systems/ife/synth"]),
        ("thread::spawn", vec!["data"]),
        ("thread::Builder", vec!["data"]),
        ("unsafe {", vec!["exec/gpu", "product.rs"]),
    ];
    for file in files {
        let relative = file
            .strip_prefix(&root)
            .expect("inside src")
            .to_string_lossy()
            .replace('\\', "/");
        let text = fs::read_to_string(&file).expect("readable");
        let code: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for (word, rooms) in &homes {
            let is_home = rooms.iter().any(|room| relative.starts_with(room));
            assert!(
                is_home || !code.iter().any(|line| line.contains(word)),
                "{relative} uses {word}"
            );
        }
    }
}
