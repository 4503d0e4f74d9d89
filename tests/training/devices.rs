//! Numbers that go wrong, and devices that are lost.

use super::disk::checkpoint_files;
use super::{OPTIONS, STEPS, Told, end_of, images, run_on, runner, tiny, whole};
use axenic::array::Array;
use axenic::exec::{Cpu, Executor, Prepared, Watch};
use axenic::graph::Target;
use axenic::plan::Plan;
use axenic::systems::ife::fit::Task;
use axenic::systems::ife::run::RunFolder;
use axenic::systems::ife::train::train;
use axenic::train::{Files, Runner};
use axenic::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;

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

    fn plan(&self, prepared: Prepared) -> &Arc<Plan> {
        self.own.plan(prepared)
    }

    fn write(&mut self, name: &str, value: Array) -> Result<()> {
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
