//! Disks that fail, and checkpoints that were damaged.

use super::failing::Failing;
use super::{Told, end_of, images, run_on, run_to_end, runner, stop_behind, tiny, whole};
use axenic::Error;
use axenic::systems::ife::run::{RunFolder, Standing};
use axenic::train::{Checkpoint, Files};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Every single operation of the file layer fails once, and once with all that come after it: no success is reported, and
/// the run ends with the right bits when the disk is well again.
#[test]
fn a_failure_of_any_file_operation_costs_nothing_but_time() {
    let mut config = tiny();
    (config.train.epochs, config.model.width) = (2, 1);
    let images = images(&config);
    let mut runner = runner(1);
    let never = Failing::new(usize::MAX, false);
    let place = tempfile::tempdir().expect("a folder");
    let run = place.path().join("well");
    let mut told = Told::to_the_end();
    let well = Files::on(never.clone());
    run_on(well, &run, &config, &images, &mut runner, &mut told).expect("it trains");
    let whole = end_of(&run);
    let operations = never.done.load(Ordering::SeqCst);
    assert!(operations > 50, "only {operations} operations");
    let mut ignored = Vec::new();
    for at in 0..operations {
        for for_good in [false, true] {
            let case = format!("operation {at} of {operations}, for good: {for_good}");
            let run = place.path().join(format!("{at} {for_good}"));
            let disk = Failing::new(at, for_good);
            let mut told = Told::to_the_end();
            let failed = run_on(
                Files::on(disk),
                &run,
                &config,
                &images,
                &mut runner,
                &mut told,
            );
            match failed {
                Err(e) => assert!(e.to_string().contains("the disk fails"), "{case}: {e}"),
                // What is read only to see whether it must be written may fail: then it is written.
                Ok(()) => ignored.push(case.clone()),
            }
            if !for_good {
                assert_eq!(left_behind(&run), Vec::<PathBuf>::new(), "{case}");
            }
            let mut told = Told::to_the_end();
            let resumed = run_on(
                Files::on(never.clone()),
                &run,
                &config,
                &images,
                &mut runner,
                &mut told,
            );
            resumed.unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(end_of(&run), whole, "{case}");
            assert_eq!(left_behind(&run), Vec::<PathBuf>::new(), "{case}");
            fs::remove_dir_all(&run).expect("removed");
        }
    }
    assert!(
        ignored.iter().all(|case| case.ends_with("false")),
        "{ignored:?}"
    );
    assert!(ignored.len() < operations / 5, "{ignored:?}");
}

/// The checkpoints of a run folder, the last first.
pub(super) fn checkpoint_files(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.join("checkpoint")).expect("a run");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.retain(|path| path.to_string_lossy().contains("step-"));
    paths.sort();
    paths.reverse();
    paths
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_two_are_refused() {
    let config = tiny();
    let images = images(&config);
    let mut runner = runner(2);
    let place = tempfile::tempdir().expect("a folder");
    let run = place.path().join("run");
    stop_behind(&run, &mut runner, 70);
    let files = checkpoint_files(&run);
    assert_eq!(files.len(), 2, "{files:?}");
    let sound: Vec<Vec<u8>> = files
        .iter()
        .map(|path| fs::read(path).expect("readable"))
        .collect();
    let header = 8 + u64::from_le_bytes(sound[0][..8].try_into().expect("eight bytes")) as usize;
    let mut cases: Vec<Vec<u8>> = [
        0,
        5,
        8,
        header / 2,
        header,
        sound[0].len() / 2,
        sound[0].len() - 1,
    ]
    .map(|length| sound[0][..length].to_vec())
    .to_vec();
    let flips = (0..60).map(|i| i * 7919 % header);
    let flips = flips.chain((0..20).map(|i| header + i * 104_729 % (sound[0].len() - header)));
    for (i, place) in flips.enumerate() {
        let mut flipped = sound[0].clone();
        flipped[place] ^= 1 << (i % 8);
        cases.push(flipped);
    }
    let folder = RunFolder::open(&run).expect("a run");
    for (i, damaged) in cases.iter().enumerate() {
        fs::write(&files[0], damaged).expect("written");
        let mut heard = Vec::new();
        let found: Checkpoint<Standing> = folder
            .checkpoints()
            .load(&mut |e: &Error| heard.push(e.to_string()))
            .unwrap_or_else(|e| panic!("case {i}: {e}"))
            .expect("the other one");
        match heard.as_slice() {
            [one] => assert!(one.contains("step-"), "case {i}: {one}"),
            // A blank of the padding may have become another.
            [] => assert_eq!(found.standing.step, 7, "case {i}"),
            more => panic!("case {i}: {more:?}"),
        }
    }
    fs::write(&files[0], &cases[3]).expect("written");
    let mut told = Told::to_the_end();
    run_on(
        Files::default(),
        &run,
        &config,
        &images,
        &mut runner,
        &mut told,
    )
    .expect("it trains");
    assert!(
        told.heard("a damaged checkpoint is passed over"),
        "{:?}",
        told.notes
    );
    assert_eq!(&end_of(&run), whole());

    // What follows from a checkpoint is mended from it.
    for file in [
        "checkpoint/best.safetensors",
        "metrics.csv",
        "config.toml",
        "data.csv",
    ] {
        fs::write(run.join(file), b"damaged").expect("written");
    }
    assert_eq!(&run_to_end(&run, &mut runner), whole());

    for path in checkpoint_files(&run) {
        fs::write(&path, b"damaged").expect("written");
    }
    let mut told = Told::to_the_end();
    let refused = run_on(
        Files::default(),
        &run,
        &config,
        &images,
        &mut runner,
        &mut told,
    );
    let text = refused.expect_err("nothing is whole").to_string();
    assert!(
        text.contains("step-") && text.contains("train in a new folder"),
        "{text}"
    );
}

/// Half-written files in a run folder.
pub(super) fn left_behind(run: &Path) -> Vec<PathBuf> {
    let inside = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries
            .map(|entry| entry.expect("readable").path())
            .collect()
    };
    let mut paths = inside(run);
    paths.extend(inside(&run.join("checkpoint")));
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "partial"));
    paths
}
