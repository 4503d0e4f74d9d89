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

/// What each does is said where its arguments are.
#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Devices(devices::Devices),
    Synth(synth::Synth),
    Train(train::Train),
    Check(check::Check),
    Init(init::Init),
    Evaluate(evaluate::Evaluate),
    Verify(verify::Verify),
    Predict(predict::Predict),
    Explain(explain::Explain),
    Plan(plan::Plan),
    Inspect(inspect::Inspect),
    Forward(forward::Forward),
    Convert(convert::Convert),
    Ops(ops::Ops),
    Op(op::Op),
    Audit(audit::Audit),
    Trace(trace::Trace),
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
