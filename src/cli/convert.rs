//! `axenic convert`: weight files of any origin to safetensors.

use super::compute::seeds;
use super::fitting::Resampled;
use super::network::Network;
use super::{Outcome, fitting, show};
use crate::error::{Error, Result};
use crate::report::account_text;
use crate::train::fit::{self, Account, Attempt, Classes, Request};
use crate::train::{Card, Files, WeightFile, Weights};
use std::path::{Path, PathBuf};

/// Reads a weight file and writes it as safetensors, with an account of every tensor.
///
/// IN is a .safetensors file or what `torch.save` wrote (.pth, .pt), of any nesting; nothing in it is executed. With --model
/// the tensors are those of the network, exactly: tables of positions and first convolutions are adapted to other images,
/// and what is missing, unknown or of another shape is an error unless allowed. Without, they are kept as they are. The
/// entry and the prefix of the names are found and reported.
///
/// Example: axenic convert dinobloom-s.pth dinobloom-s.safetensors --model dinov2_vits14
#[derive(clap::Args)]
pub(super) struct Convert {
    /// The weight file
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where the result goes
    #[arg(value_name = "OUT.safetensors")]
    output: PathBuf,
    /// The model or system that the weights are for
    #[arg(long, value_name = "MODEL|SYSTEM", value_parser = Network::named)]
    model: Option<Network>,
    /// The dictionary that holds the weights, as in teacher; otherwise the one that fits best
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// The images that the network is to read: their side, or height and width as in 224x160; otherwise as the file has it
    #[arg(long, value_name = "S|HxW", requires = "model", value_parser = image_size)]
    image_size: Option<[usize; 2]>,
    /// The images' channels; otherwise as the file has it
    #[arg(long, value_name = "C", requires = "model", value_parser = clap::value_parser!(u16).range(1..))]
    channels: Option<u16>,
    /// The number of classes; another than the file's gets a new classifier, 0 leaves it away
    #[arg(long, value_name = "K", requires = "model", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    num_classes: Option<u32>,
    /// The names of the classes, one a line
    #[arg(long, value_name = "FILE", requires = "model")]
    labels: Option<PathBuf>,
    /// The probability from which on a class is called, for each class one a line
    #[arg(long, value_name = "FILE", requires = "model")]
    thresholds: Option<PathBuf>,
    /// How a table of positions is resized
    #[arg(long, value_enum, requires = "model")]
    resampling: Option<Resampled>,
    /// From which everything new starts
    #[arg(long, default_value_t = 0, value_parser = seeds())]
    seed: u64,
    /// What the file lacks starts from the seed
    #[arg(long, requires = "model")]
    allow_missing: bool,
    /// What the network has no name for is left away
    #[arg(long, requires = "model")]
    allow_unknown: bool,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
}

/// So many tensors are named where a file does not fit; the account has them all.
const MOST_NAMED: usize = 5;

impl Convert {
    pub(super) fn run(self) -> Result<Outcome> {
        if self.output.exists() && !self.force {
            return Err(Error::input(format!(
                "{} is there already; --force writes over it",
                self.output.display()
            )));
        }
        let (weights, account) = self.converted()?;
        let Some(mut weights) = weights else {
            self.show(&account)?;
            return Err(fitting::amiss(&self.input, &account, MOST_NAMED));
        };
        self.describe(&mut weights)?;
        Files::default().write(&self.output, &weights.to_bytes()?)?;
        self.show(&account)?;
        show::note(&format!("wrote {}", self.output.display()));
        Ok(Outcome::Done)
    }

    fn show(&self, account: &Account) -> Result<()> {
        match self.json {
            true => show::json(account),
            false => show::result(&account_text(account)),
        }
    }

    /// The weights, unless they do not fit, and what became of every tensor.
    fn converted(&self) -> Result<(Option<Weights>, Account)> {
        let Some(network) = self.model else {
            let file = WeightFile::read(&self.input)?;
            let (weights, account) = fit::as_they_are(&file, self.entry.as_deref())
                .map_err(|e| e.within(self.input.display()))?;
            return Ok((Some(weights), account));
        };
        let request = Request {
            entry: self.entry.clone(),
            image_size: self.image_size,
            channels: self.channels.map(usize::from),
            classes: match self.num_classes {
                None => Classes::OfFile,
                Some(0) => Classes::None,
                Some(count) => Classes::Count(count as usize),
            },
            resampling: fitting::resampling(self.resampling),
            seed: self.seed,
            allow_missing: self.allow_missing,
            allow_unknown: self.allow_unknown,
        };
        let mut configured = network.configured(None, &[])?;
        fitting::say_unused(self.resampling, &configured);
        Ok(
            match fitting::attempt(&self.input, &mut configured, &request)? {
                Attempt::Fits(fitted) => (Some(fitted.weights), fitted.account),
                Attempt::Amiss(account) => (None, account),
            },
        )
    }

    /// Puts the names and the thresholds of the classes into the description.
    fn describe(&self, weights: &mut Weights) -> Result<()> {
        let Some(mut card) = Card::read(weights)? else {
            return Ok(());
        };
        let mut last = None;
        if let Some(path) = &self.labels {
            card.labels = Some(lines(path, |line| Ok(line.to_string()))?);
            last = Some(path);
        }
        if let Some(path) = &self.thresholds {
            let number = |line: &str| {
                let number = line.parse();
                number.map_err(|_| Error::input(format!("{line:?} is no number")))
            };
            card.thresholds = Some(lines(path, number)?);
            last = Some(path);
        }
        let Some(last) = last else {
            return Ok(());
        };
        let written = card.write(weights);
        written.map_err(|e| e.within(last.display()))
    }
}

/// What the lines of a file say of the classes, one a line.
fn lines<T>(path: &Path, read: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    let wrong = |text: String| Error::input(text).within(path.display());
    let text = String::from_utf8(Files::default().read(path)?)
        .map_err(|_| wrong("this is no UTF-8 text".into()))?;
    let each = text.lines().enumerate().map(|(at, line)| {
        let within = |e: Error| e.within(format!("{}: line {}", path.display(), at + 1));
        match line.trim() {
            "" => Err(within(Error::input("it says nothing of a class"))),
            line => read(line).map_err(within),
        }
    });
    each.collect()
}

/// A side, or height and width.
fn image_size(text: &str) -> Result<[usize; 2]> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    match (height.parse::<u16>(), width.parse::<u16>()) {
        (Ok(height @ 1..), Ok(width @ 1..)) => Ok([height, width].map(usize::from)),
        _ => Err(Error::input("a size is as 224 or 224x160, up to 65535")),
    }
}
