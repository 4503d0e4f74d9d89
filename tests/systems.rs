//! The training of the IFE system against itself: bits do not depend on the number of threads, nor on being interrupted.
#![cfg(feature = "cli")]

use axenic::data::augment::Augment;
use axenic::exec::{Cpu, Executor};
use axenic::systems::ife::config::{Config, Preset};
use axenic::systems::ife::fit::{FitOptions, fit};
use axenic::systems::ife::images::Images;
use axenic::systems::ife::run::RunFolder;
use axenic::systems::ife::synth::{Balance, write_dataset};
use axenic::train::{Progress, Runner};
use std::path::Path;

fn runner(executor: impl Executor + 'static) -> Runner {
    Runner::new(Box::new(executor))
}

fn tiny() -> Config {
    let mut config = Preset::Demo.config();
    (config.model.size, config.model.width) = (32, 4);
    (config.train.epochs, config.train.batch, config.train.seed) = (3, 8, 5);
    config.augment = Augment {
        vertical_shift: 0.05,
        brightness: 0.1,
        ..Augment::default()
    };
    config
}

/// Ends the work behind a number of images.
struct StopBehind(u64);

impl Progress for StopBehind {
    fn begin(&mut self, _what: &str, _unit: &'static str, _total: u64) {}
    fn advance(&mut self, units: u64) {
        self.0 = self.0.saturating_sub(units);
    }
    fn end(&mut self) {}
    fn note(&mut self, _text: &str) {}
    fn should_stop(&self) -> bool {
        self.0 == 0
    }
}

const TO_THE_END: u64 = u64::MAX;

/// Trains (on) in a folder and gives the digest of all its last weights, optimiser included.
fn train(data: &Path, run: &Path, threads: usize, resume: bool, stop_behind: u64) -> String {
    let config = tiny();
    let folder = RunFolder::create(run).expect("a folder");
    let images = Images::open(data, &config).expect("gels");
    let mut runner = runner(Cpu::new(threads).expect("an executor"));
    let options = FitOptions {
        threads,
        checkpoint_every: None,
        resume,
    };
    let fitted = fit(
        &mut runner,
        &config,
        &images,
        &folder,
        options,
        &mut StopBehind(stop_behind),
    )
    .expect("it trains");
    assert_eq!(fitted.was_stopped, stop_behind != TO_THE_END);
    folder.load_last().expect("a checkpoint").0.digest()
}

#[test]
fn training_gives_the_same_bits_for_any_number_of_threads_and_when_interrupted() {
    let place = tempfile::tempdir().expect("a folder");
    let data = place.path().join("gels");
    write_dataset(&data, 60, Balance::Even, 3, &mut |_| {}).expect("gels");
    let run = |name: &str| place.path().join(name);
    let whole = train(&data, &run("one"), 1, false, TO_THE_END);
    assert_eq!(
        whole,
        train(&data, &run("again"), 1, false, TO_THE_END),
        "a second run"
    );
    assert_eq!(
        whole,
        train(&data, &run("two"), 2, false, TO_THE_END),
        "two threads"
    );
    assert_eq!(
        whole,
        train(&data, &run("three"), 3, false, TO_THE_END),
        "three threads"
    );
    train(&data, &run("stopped"), 2, false, 60);
    assert_eq!(
        whole,
        train(&data, &run("stopped"), 3, true, TO_THE_END),
        "interrupted and resumed"
    );
    let metrics = |name: &str| std::fs::read(run(name).join("metrics.csv")).expect("metrics");
    assert_eq!(metrics("one"), metrics("stopped"));
}
