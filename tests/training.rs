//! Runs that survive: interrupted anywhere and resumed, a training ends with the bits of one that never was.

mod common;

use axenic::array::Array;
use axenic::exec::gpu::Checks;
use axenic::exec::{Cpu, Executor, Prepared, Watch};
use axenic::graph::Target;
use axenic::plan::Plan;
use axenic::systems::ife::config::{Config, Preset};
use axenic::systems::ife::fit::{FitOptions, Task, fit};
use axenic::systems::ife::images::Images;
use axenic::systems::ife::run::{RunFolder, Standing};
use axenic::systems::ife::synth::{Balance, write_dataset};
use axenic::systems::ife::train::train;
use axenic::train::{Checkpoint, Disk, Files, Progress, Runner};
use axenic::{Error, Result};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Four steps an epoch, the last of a shorter batch.
const STEPS: usize = 4;

fn tiny() -> Config {
    let mut config = Preset::Demo.config();
    (config.model.size, config.model.width) = (32, 2);
    (config.train.epochs, config.train.batch, config.train.seed) = (3, 10, 5);
    (config.train.test_share, config.train.validation_share) = (0.0, 0.2);
    config
}

/// Forty-five gels, rendered once for all tests.
fn gels() -> &'static Path {
    static GELS: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = GELS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gels");
        write_dataset(&path, 45, Balance::Even, 3, &mut |_| {}).expect("gels");
        folder
    });
    folder.path()
}

fn images(config: &Config) -> Images {
    Images::open(&gels().join("gels"), config).expect("gels")
}

fn runner(threads: usize) -> Runner {
    Runner::new(Box::new(Cpu::new(threads).expect("an executor")))
}

const OPTIONS: FitOptions = FitOptions {
    threads: 2,
    checkpoint_every: 3,
    resume: true,
};

/// Keeps what it is told, and asks for an end behind a number of images.
struct Told {
    left: u64,
    notes: Vec<String>,
}

impl Told {
    fn until(left: u64) -> Self {
        let notes = Vec::new();
        Self { left, notes }
    }

    fn to_the_end() -> Self {
        Self::until(u64::MAX)
    }

    fn heard(&self, words: &str) -> bool {
        self.notes.iter().any(|note| note.contains(words))
    }
}

impl Progress for Told {
    fn begin(&mut self, _what: &str, _unit: &'static str, _total: u64) {}
    fn advance(&mut self, units: u64) {
        self.left = self.left.saturating_sub(units);
    }
    fn end(&mut self) {}
    fn note(&mut self, text: &str) {
        self.notes.push(text.to_string());
    }
    fn should_stop(&self) -> bool {
        self.left == 0
    }
}

/// What a run leaves that must not depend on its fate: digests of the last weights (optimiser included) and of the best
/// ones, the best epoch, `metrics.csv`.
#[derive(Clone, Debug, PartialEq)]
struct End {
    last: String,
    best: String,
    best_epoch: usize,
    metrics: String,
}

fn last_checkpoint(run: &Path) -> Checkpoint<Standing> {
    let folder = RunFolder::open(run).expect("a run");
    let last = folder.checkpoints().load(&mut |e| panic!("{e}"));
    last.expect("readable").expect("a checkpoint")
}

fn end_of(run: &Path) -> End {
    let checkpoint = last_checkpoint(run);
    assert!(checkpoint.standing.is_finished);
    End {
        last: checkpoint.weights.digest(),
        best: RunFolder::open(run)
            .and_then(|folder| folder.load_best())
            .expect("weights")
            .digest(),
        best_epoch: checkpoint.standing.best_epoch,
        metrics: fs::read_to_string(run.join("metrics.csv")).expect("metrics"),
    }
}

/// Trains (on) in a folder.
fn run_on(
    files: Files,
    run: &Path,
    config: &Config,
    images: &Images,
    runner: &mut Runner,
    progress: &mut Told,
) -> Result<()> {
    let folder = RunFolder::create(run, files)?;
    let task = Task {
        config,
        images,
        folder: &folder,
        options: OPTIONS,
    };
    fit(&task, runner, progress).map(|_| ())
}

fn run_to_end(run: &Path, runner: &mut Runner) -> End {
    let config = tiny();
    let images = images(&config);
    let mut told = Told::to_the_end();
    run_on(Files::default(), run, &config, &images, runner, &mut told).expect("it trains");
    end_of(run)
}

/// The end of a run on the cpu that was never interrupted.
fn whole() -> &'static End {
    static WHOLE: OnceLock<End> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let place = tempfile::tempdir().expect("a folder");
        run_to_end(place.path(), &mut runner(1))
    })
}

fn left_behind(run: &Path) -> Vec<PathBuf> {
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

#[test]
fn bits_depend_neither_on_threads_nor_on_interruptions() {
    let place = tempfile::tempdir().expect("a folder");
    for threads in [1, 2, 3] {
        let run = place.path().join(format!("{threads} threads"));
        assert_eq!(&run_to_end(&run, &mut runner(threads)), whole());
    }
    // Within the first epoch, behind its last step, while its validation runs, in the second, in the third.
    for (i, behind) in [10, 30, 36, 37, 60, 100].into_iter().enumerate() {
        let run = place.path().join(format!("stopped {i}"));
        stop_behind(&run, &mut runner(2), behind);
        assert_eq!(
            &run_to_end(&run, &mut runner(3)),
            whole(),
            "stopped behind {behind} images"
        );
    }
    // Stopped again and again.
    let run = place.path().join("often");
    let mut own = runner(2);
    for _ in 0..6 {
        stop_behind(&run, &mut own, 15);
    }
    assert_eq!(&run_to_end(&run, &mut own), whole());
}

fn stop_behind(run: &Path, runner: &mut Runner, images_seen: u64) {
    let config = tiny();
    let mut told = Told::until(images_seen);
    let stopped = run_on(
        Files::default(),
        run,
        &config,
        &images(&config),
        runner,
        &mut told,
    );
    let e = stopped.expect_err("it was asked to stop");
    assert!(e.is_stopped(), "{e}");
    assert!(e.to_string().contains("--resume"), "{e}");
}

#[test]
fn bits_on_the_gpu_do_not_depend_on_interruptions() {
    let Some(gpu) = common::gpu(Checks::Off) else {
        return;
    };
    let mut runner = Runner::new(Box::new(gpu));
    let place = tempfile::tempdir().expect("a folder");
    let whole = run_to_end(&place.path().join("whole"), &mut runner);
    let run = place.path().join("stopped");
    stop_behind(&run, &mut runner, 20);
    stop_behind(&run, &mut runner, 50);
    assert_eq!(run_to_end(&run, &mut runner), whole);
}

/// A disk on which the `at`-th operation fails: it alone, or it and all behind it, as if the process had been killed. A
/// write that fails leaves nothing, half, or all of its bytes.
#[derive(Clone, Debug)]
struct Failing {
    done: Arc<AtomicUsize>,
    at: usize,
    for_good: bool,
}

impl Failing {
    fn new(at: usize, for_good: bool) -> Self {
        let done = Arc::default();
        Self { done, at, for_good }
    }

    fn step(&self) -> io::Result<()> {
        let own = self.done.fetch_add(1, Ordering::SeqCst);
        if own == self.at || (self.for_good && own > self.at) {
            return Err(io::Error::other("the disk fails"));
        }
        Ok(())
    }
}

impl Disk for Failing {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        fs::create_dir_all(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.step()?;
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.step()?;
        fs::read(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = self.step() {
            let is_killed = self.done.load(Ordering::SeqCst) > self.at + 1;
            match self.at % 3 {
                _ if is_killed => {}
                0 => {}
                1 => fs::write(path, &bytes[..bytes.len() / 2])?,
                _ => fs::write(path, bytes)?,
            }
            return Err(e);
        }
        fs::write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::remove_file(path)
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        self.step()
    }

    fn lock(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        let file = File::create(path)?;
        file.try_lock()?;
        Ok(file)
    }
}

/// Every single operation of the file layer fails once, and once with all that come after it: no success is reported, and
/// the run ends with the right bits when the disk is well again.
#[test]
fn a_failure_of_any_file_operation_costs_nothing_but_time() {
    let config = tiny();
    let images = images(&config);
    let mut runner = runner(2);
    let never = Failing::new(usize::MAX, false);
    let place = tempfile::tempdir().expect("a folder");
    let run = place.path().join("well");
    let mut told = Told::to_the_end();
    let well = Files::on(never.clone());
    run_on(well, &run, &config, &images, &mut runner, &mut told).expect("it trains");
    assert_eq!(&end_of(&run), whole());
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
            assert_eq!(&end_of(&run), whole(), "{case}");
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
fn checkpoint_files(run: &Path) -> Vec<PathBuf> {
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

#[test]
fn what_changed_is_refused_by_name() {
    let config = tiny();
    let mut runner = runner(2);
    let place = tempfile::tempdir().expect("a folder");
    let run = place.path().join("run");
    stop_behind(&run, &mut runner, 50);
    let mut other = config.clone();
    other.train.epochs = 7;
    let mut told = Told::to_the_end();
    let given = images(&config);
    let refused = run_on(
        Files::default(),
        &run,
        &other,
        &given,
        &mut runner,
        &mut told,
    );
    let text = refused.expect_err("another configuration").to_string();
    assert!(text.contains("train.epochs was 3 and is now 7"), "{text}");

    let data = place.path().join("gels");
    write_dataset(&data, 45, Balance::Even, 3, &mut |_| {}).expect("gels");
    let same = Images::open(&data, &config).expect("the same gels elsewhere");
    assert_eq!(same.manifest, given.manifest);
    fs::copy(data.join("data/1.jpg"), data.join("data/17.jpg")).expect("copied");
    let changed = Images::open(&data, &config).expect("other gels");
    let refused = run_on(
        Files::default(),
        &run,
        &config,
        &changed,
        &mut runner,
        &mut told,
    );
    let text = refused.expect_err("other data").to_string();
    assert!(text.contains("../data/17.jpg has other content"), "{text}");
    assert_eq!(
        &run_to_end(&run, &mut runner),
        whole(),
        "nothing was spoilt by asking"
    );
}

#[test]
fn a_second_writer_is_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let first = RunFolder::create(place.path(), Files::default()).expect("the first");
    let second = RunFolder::create(place.path(), Files::default());
    let text = second.expect_err("it is locked").to_string();
    assert!(text.contains("another process trains in"), "{text}");
    drop(first);
    RunFolder::create(place.path(), Files::default()).expect("it is free again");
}

#[test]
fn numbers_that_go_wrong_are_traced_to_their_operation() {
    let mut config = tiny();
    let images = images(&config);
    // The first step of an epoch's warm-up has rate 0, the second ruins the weights, the third computes with them.
    (config.train.learning_rate, config.train.warmup_epochs) = (1e38, 1.0);
    let place = tempfile::tempdir().expect("a folder");
    let mut runner = runner(2);
    let mut told = Told::to_the_end();
    let ended = run_on(
        Files::default(),
        place.path(),
        &config,
        &images,
        &mut runner,
        &mut told,
    );
    let text = ended.expect_err("the numbers go wrong").to_string();
    for words in [
        " in step 3 from ",
        " in encoder.",
        "(recorded at src/",
        "train.learning_rate",
    ] {
        assert!(text.contains(words), "{words:?} is missing: {text}");
    }
    assert_eq!(
        checkpoint_files(place.path()),
        Vec::<PathBuf>::new(),
        "nothing bad is kept"
    );
}

/// A cpu that is lost in a certain step.
struct Unsteady {
    own: Cpu,
    steps_left: usize,
}

impl Executor for Unsteady {
    fn description(&self) -> String {
        "gpu (unsteady)".to_string()
    }

    fn target(&self) -> Target {
        self.own.target()
    }

    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        self.own.prepare(plan)
    }

    fn write(&mut self, name: &str, value: &Array) -> Result<()> {
        self.own.write(name, value)
    }

    fn read(&mut self, name: &str) -> Result<Array> {
        self.own.read(name)
    }

    fn run(
        &mut self,
        plan: Prepared,
        inputs: &[(&str, &Array)],
        watch: Option<&mut Watch>,
    ) -> Result<Vec<Array>> {
        if self.steps_left == 0 {
            return Err(Error::device("the device was lost: unsteady"));
        }
        self.steps_left -= 1;
        self.own.run(plan, inputs, watch)
    }
}

#[test]
fn a_lost_device_ends_with_advice_or_is_replaced() {
    let config = tiny();
    let images = images(&config);
    for steps_left in [0, 1, STEPS, STEPS + 3] {
        let place = tempfile::tempdir().expect("a folder");
        let unsteady = || {
            let own = Cpu::new(1).expect("an executor");
            Runner::new(Box::new(Unsteady { own, steps_left }))
        };
        let folder = RunFolder::create(place.path(), Files::default()).expect("a folder");
        let task = Task {
            config: &config,
            images: &images,
            folder: &folder,
            options: OPTIONS,
        };
        let mut told = Told::to_the_end();
        let lost = train(&task, &mut unsteady(), None, &mut told);
        let text = lost.expect_err("the device is lost").to_string();
        assert!(
            text.contains("--resume") && text.contains("--on-device-loss cpu"),
            "{text}"
        );

        let spare = || Ok(runner(2));
        let mut own = unsteady();
        let report = train(&task, &mut own, Some(&spare), &mut told).expect("it goes on");
        assert!(
            told.heard("was lost: unsteady; going on with cpu"),
            "{:?}",
            told.notes
        );
        let device = &report
            .facts
            .iter()
            .find(|(name, _)| name == "device")
            .expect("a fact")
            .1;
        assert!(device.contains("cpu (2 threads)"), "{device}");
        assert_eq!(
            device.contains("unsteady"),
            steps_left >= OPTIONS.checkpoint_every,
            "{device}"
        );
        assert_eq!(&end_of(place.path()), whole());
    }
}
