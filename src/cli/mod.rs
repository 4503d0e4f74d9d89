//! The command line: one file per command. Results go to standard output, everything else to standard error.

mod audit;
mod bench;
mod check;
mod compute;
mod convert;
mod demo;
mod devices;
mod evaluate;
mod explain;
mod fitting;
mod forward;
mod init;
mod inspect;
mod inspect_file;
mod network;
mod op;
mod ops;
mod plan;
mod predict;
mod settings;
mod show;
mod subject;
mod synth;
mod trace;
mod train;
mod verify;

use crate::error::Result;
use clap::{Parser, Subcommand, ValueEnum};
use std::process::ExitCode;

/// What every command gives: whether it did everything it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Something was left undone, and has been reported.
    Incomplete,
}

#[derive(Parser)]
#[command(
    name = "axenic",
    version,
    about = "Medical image classifiers on an engine whose every operation can be read, audited and proven",
    after_help = "Without a command: the demo."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Trains the IFE system on synthetic gels, evaluates and explains it, and writes a run folder with a report
    Demo(demo::Demo),
    /// Lists what can compute here, with the limits that matter
    Devices(devices::Devices),
    /// Writes a synthetic data set as image files and label tables
    Synth(synth::Synth),
    /// Trains a system
    Train(train::Train),
    /// Examines data before training: every problem with file and line
    Check(check::Check),
    /// Prints a system's commented default configuration
    Init(init::Init),
    /// Scores a trained run on labelled images
    Evaluate(evaluate::Evaluate),
    /// Checks a run folder's digests and records
    Verify(verify::Verify),
    /// Reads images with a trained run
    Predict(predict::Predict),
    /// Shows what a trained run looks at in images
    Explain(explain::Explain),
    /// Prints a graph's totals and memory plan, before anything runs
    Plan(plan::Plan),
    /// Lists the layers of a network with shapes, parameters and FLOPs
    Inspect(inspect::Inspect),
    /// Runs a model on given numbers
    Forward(forward::Forward),
    /// Makes a safetensors file of a weight file of any origin
    Convert(convert::Convert),
    /// Lists the operations
    Ops(ops::Ops),
    /// Runs one operation on given numbers
    Op(op::Op),
    /// Checks every operation against the f64 reference, on this device
    Audit(audit::Audit),
    /// Runs a computation node by node and prints what every operation did and how long it took
    Trace(trace::Trace),
    /// Measures the speed of a training step or an inference
    Bench(bench::Bench),
}

/// The systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum System {
    /// Immunofixation electrophoresis gels
    Ife,
}

/// Runs the program: parses the arguments, carries out the command, reports a failure in one sentence.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        None => demo::Demo::default().run(),
        Some(command) => command.run(),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::FAILURE,
        Err(e) => {
            show::note(&format!("axenic: {e}"));
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn run(self) -> Result<Outcome> {
        match self {
            Command::Demo(command) => command.run(),
            Command::Devices(command) => command.run(),
            Command::Synth(command) => command.run(),
            Command::Train(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Init(command) => command.run(),
            Command::Evaluate(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Predict(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::Plan(command) => command.run(),
            Command::Inspect(command) => command.run(),
            Command::Forward(command) => command.run(),
            Command::Convert(command) => command.run(),
            Command::Ops(command) => command.run(),
            Command::Op(command) => command.run(),
            Command::Audit(command) => command.run(),
            Command::Trace(command) => command.run(),
            Command::Bench(command) => command.run(),
        }
    }
}
