//! Processes that are killed, asked to end, and run for long.

use super::disk::left_behind;
use super::{End, end_of, gels};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program, set to train a tiny network in a folder, or to go on with it.
fn training(run: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_axenic"));
    command
        .args([
            "train", "ife", "--resume", "--preset", "demo", "--device", "cpu",
        ])
        .args(["--set", "size=32", "--set", "width=2", "--set", "batch=10"])
        .arg("--data")
        .arg(gels().join("gels"))
        .arg("--out")
        .arg(run)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn finish(run: &Path, more: &[&str]) -> (End, String) {
    let output = training(run, more).output().expect("the program starts");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    (end_of(run), said)
}

/// Killed at moments that chance chooses, many of them inside writes, and resumed with another number of threads each
/// time, a run ends as if nothing had happened.
#[test]
fn killed_processes_lose_nothing() {
    const SETTINGS: [&str; 4] = ["--set", "epochs=8", "--checkpoint-every", "1"];
    const KILLS: u64 = 10;
    let place = tempfile::tempdir().expect("a folder");
    let begin = Instant::now();
    let (whole, said) = finish(&place.path().join("whole"), &SETTINGS);
    let duration = begin.elapsed();
    let digests = |said: &str| -> Vec<String> {
        let lines = said
            .lines()
            .filter(|line| line.starts_with("epoch ") && line.contains("weights "));
        lines.map(String::from).collect()
    };
    assert_eq!(digests(&said).len(), 8, "{said}");

    let run = place.path().join("killed");
    let mut killed = 0;
    for i in 0..KILLS {
        let threads = (1 + i % 3).to_string();
        let mut child = training(&run, &[&SETTINGS[..], &["--threads", &threads]].concat())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        // The golden ratio spreads the moments over the time that a whole run takes.
        let share = (0.618_034 * (i + 1) as f64).fract();
        std::thread::sleep(duration.mul_f64(0.1 * share));
        if child.try_wait().expect("a child").is_none() {
            child.kill().expect("it is killed");
            killed += 1;
        }
        child.wait().expect("it ends");
    }
    let (end, said) = finish(&run, &SETTINGS);
    assert_eq!(end, whole, "killed {killed} times");
    assert!(killed > KILLS / 2, "only {killed} kills");
    assert_eq!(left_behind(&run), Vec::<std::path::PathBuf>::new());
    let (_, again) = finish(&run, &SETTINGS);
    assert!(again.contains("is finished"), "{said}\n{again}");
}

/// Waits until a child writes a line with these words to standard error, which is a file.
fn wait_for(words: &str, said: &Path, child: &mut Child) {
    for _ in 0..600 {
        let text = std::fs::read_to_string(said).unwrap_or_default();
        if text.contains(words) {
            return;
        }
        assert!(child.try_wait().expect("a child").is_none(), "{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().expect("it is killed");
    panic!("{words:?} is not said");
}

#[cfg(unix)]
#[test]
fn asked_to_end_a_process_saves_and_ends() {
    let place = tempfile::tempdir().expect("a folder");
    for signal in ["INT", "TERM"] {
        let (run, said) = (
            place.path().join(signal),
            place.path().join(format!("{signal}.txt")),
        );
        let mut child = training(&run, &["--set", "epochs=100000"])
            .stdout(Stdio::null())
            .stderr(File::create(&said).expect("a file"))
            .spawn()
            .expect("the program starts");
        wait_for("epoch 2/", &said, &mut child);
        let kill = format!("kill -{signal} {}", child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .expect("a shell")
                .success()
        );
        assert_eq!(child.wait().expect("it ends").code(), Some(1));
        let said = std::fs::read_to_string(&said).expect("readable");
        assert!(
            said.contains("which is saved") && said.contains("--resume"),
            "{said}"
        );
        let step = super::last_checkpoint(&run).standing.step;
        assert!(
            said.contains(&format!("stopped behind step {step},")),
            "{said}"
        );
        assert_eq!(left_behind(&run), Vec::<std::path::PathBuf>::new());
    }
}

/// Resident memory of a process, in bytes.
#[cfg(target_os = "linux")]
fn resident(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat_over_a_thousand_steps() {
    let place = tempfile::tempdir().expect("a folder");
    let (run, said) = (place.path().join("run"), place.path().join("said.txt"));
    // 28 training images: 14 steps an epoch.
    let settings = [
        "--set",
        "epochs=72",
        "--set",
        "batch=2",
        "--set",
        "size=32",
        "--set",
        "width=1",
        "--threads",
        "1",
    ];
    let mut child = training(&run, &settings)
        .stdout(Stdio::null())
        .stderr(File::create(&said).expect("a file"))
        .spawn()
        .expect("the program starts");
    // All plans are made and all images cached behind the second epoch.
    wait_for("epoch 3/", &said, &mut child);
    let (mut first, mut most) = (0, 0);
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&said).unwrap_or_default();
        let bytes = resident(&child).unwrap_or_default();
        if !text.contains("epoch 6/") {
            first = first.max(bytes);
        }
        // Behind the loop other plans are made.
        if !text.contains("learning what") {
            most = most.max(bytes);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(first > 0);
    assert_eq!(super::last_checkpoint(&run).standing.step, 1008);
    assert!(
        most < first + (4 << 20),
        "{first} bytes at first, then up to {most}"
    );
}
