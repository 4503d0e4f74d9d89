//! Runs that survive: interrupted anywhere and resumed, a training ends with the bits of one that never was.

#[path = "../common/mod.rs"]
mod common;
mod devices;
mod disk;
#[path = "../common/disk.rs"]
mod failing;
mod processes;

use axenic::exec::Cpu;
use axenic::exec::gpu::Checks;
use axenic::graph::Precision;
use axenic::systems::ife::config::{Config, Preset};
use axenic::systems::ife::fit::{FitOptions, Task, fit};
use axenic::systems::ife::images::Images;
use axenic::systems::ife::run::{RunFolder, Standing};
use axenic::systems::ife::synth::{Balance, write_dataset};
use axenic::train::{Checkpoint, Files, Progress, Runner};
use axenic::{Array, Result};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

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

#[test]
fn bits_in_mixed_precision_do_not_depend_on_interruptions() {
    let Some(gpu) = common::gpu_with_halves(Precision::Mixed) else {
        return;
    };
    let mut runner = Runner::new(Box::new(gpu));
    let mut config = tiny();
    config.train.precision = Precision::Mixed;
    let images = images(&config);
    let place = tempfile::tempdir().expect("a folder");
    let [whole, stopped] = ["whole", "stopped"].map(|name| place.path().join(name));
    let mut train = |run: &Path, until| {
        let mut told = Told::until(until);
        let files = Files::default();
        run_on(files, run, &config, &images, &mut runner, &mut told)
    };
    train(&whole, u64::MAX).expect("it trains");
    for until in [20, 50] {
        assert!(
            train(&stopped, until)
                .expect_err("it was asked to stop")
                .is_stopped()
        );
    }
    train(&stopped, u64::MAX).expect("it trains");
    assert_eq!(end_of(&stopped), end_of(&whole));
    let scale = &last_checkpoint(&whole).weights.tensors["optimizer.loss_scale"];
    assert!(scale.to_f64()[0] >= 1.0);
}

/// A loss scale that is far too large: the first steps are skipped, told of, and counted, by any executor.
#[test]
fn skipped_steps_are_reported() {
    let mut config = tiny();
    config.train.precision = Precision::Mixed;
    let images = images(&config);
    let place = tempfile::tempdir().expect("a folder");
    let train = |until| {
        let mut told = Told::until(until);
        let (files, mut runner) = (Files::default(), runner(2));
        let ended = run_on(
            files,
            place.path(),
            &config,
            &images,
            &mut runner,
            &mut told,
        );
        (ended, told)
    };
    train(10).0.expect_err("it was asked to stop");
    let folder = RunFolder::open(place.path()).expect("a run");
    let mut checkpoint = last_checkpoint(place.path());
    let before = checkpoint.weights.clone();
    let scale = Array::scalar(2f64.powi(68));
    let tensors = &mut checkpoint.weights.tensors;
    tensors
        .insert("optimizer.loss_scale".into(), scale)
        .expect("it was there");
    let step = checkpoint.standing.step;
    folder.checkpoints().save(step, checkpoint).expect("saved");

    // The next step overflows and changes nothing that learns, but the running statistics.
    train(10).0.expect_err("it was asked to stop");
    let after = last_checkpoint(place.path());
    assert_eq!(after.standing.skipped, 1);
    for (name, tensor) in &before.tensors {
        let moves = name.contains("running_") || name.starts_with("optimizer.loss_scale");
        let counts = name == "optimizer.good_steps" || name == "optimizer.skipped_steps";
        if !moves && !counts {
            assert_eq!(after.weights.tensors[name], *tensor, "{name}");
        }
    }
    let (ended, told) = train(u64::MAX);
    ended.expect("it goes on");
    let note = "overflowed: it is skipped, and the loss scale is now";
    assert!(told.heard(note), "{:?}", told.notes);
    let end = last_checkpoint(place.path());
    let skipped = end.standing.skipped;
    assert!((2..12).contains(&skipped), "{skipped} of 12 were skipped");
    let state = end.weights.tensors["optimizer.skipped_steps"].to_f64()[0];
    assert_eq!(state, skipped as f64);
    let rows = end.standing.rows.iter();
    assert_eq!(rows.map(|row| row.skipped_steps).sum::<usize>(), skipped);
    let last = end.standing.rows.last().expect("an epoch");
    assert!(
        last.skipped_steps == 4 || last.gradient_norm > 0.0,
        "{last:?}"
    );
    let metrics = fs::read_to_string(place.path().join("metrics.csv")).expect("metrics");
    let head = metrics.lines().next().expect("a head");
    assert!(head.ends_with(",skipped_steps"), "{head}");
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
    let other = axenic::systems::ife::synth::sample(4, 17, Balance::Even).expect("a gel");
    fs::write(data.join("data/17.jpg"), other.jpeg_bytes).expect("written");
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
    assert!(text.contains("data/17.jpg has other content"), "{text}");
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
