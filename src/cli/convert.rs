//! `axenic convert`: weight files of any origin to safetensors.

use super::compute::seeds;
use super::network::Network;
use super::{Outcome, fitting, show};
use crate::error::{Error, Result};
use crate::report::account_text;
use crate::train::fit::{self, Account, Classes, Request, Resampling};
use crate::train::{Card, Files, WeightFile, Weights};
use clap::ValueEnum;
use std::path::PathBuf;

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
    /// Height and width of the images that the network is to read; otherwise as the file has it
    #[arg(long, value_name = "S", requires = "model", value_parser = clap::value_parser!(u16).range(1..))]
    image_size: Option<u16>,
    /// The images' channels; otherwise as the file has it
    #[arg(long, value_name = "C", requires = "model", value_parser = clap::value_parser!(u16).range(1..))]
    channels: Option<u16>,
    /// The number of classes; another than the file's gets a new classifier, 0 leaves it away
    #[arg(long, value_name = "K", requires = "model", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    num_classes: Option<u32>,
    /// The names of the classes, one a line
    #[arg(long, value_name = "FILE", requires = "model")]
    labels: Option<PathBuf>,
    /// How a table of positions is resized
    #[arg(long, value_enum, default_value_t)]
    resampling: Way,
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

/// How a table of positions is resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Way {
    /// As timm: cubic, and where it becomes smaller every row counts
    #[default]
    Antialiased,
    /// As DINOv2 does while running: cubic, with an offset of 0.1
    Offset,
}

impl Convert {
    pub(super) fn run(self) -> Result<Outcome> {
        if self.output.exists() && !self.force {
            return Err(Error::input(format!(
                "{} is there already; --force writes over it",
                self.output.display()
            )));
        }
        let (mut weights, account) = self.converted()?;
        if let Some(path) = &self.labels {
            self.label(&mut weights)
                .map_err(|e| e.within(path.display()))?;
        }
        Files::default().write(&self.output, &weights.to_bytes()?)?;
        match self.json {
            true => show::json(&account)?,
            false => show::result(&account_text(&account))?,
        }
        show::note(&format!("wrote {}", self.output.display()));
        Ok(Outcome::Done)
    }

    fn converted(&self) -> Result<(Weights, Account)> {
        let Some(network) = self.model else {
            let file = WeightFile::read(&self.input)?;
            return fit::as_they_are(&file, self.entry.as_deref())
                .map_err(|e| e.within(self.input.display()));
        };
        let request = Request {
            entry: self.entry.clone(),
            image_size: self.image_size.map(|size| [usize::from(size); 2]),
            channels: self.channels.map(usize::from),
            classes: match self.num_classes {
                None => Classes::OfFile,
                Some(0) => Classes::None,
                Some(count) => Classes::Count(count as usize),
            },
            resampling: match self.resampling {
                Way::Antialiased => Resampling::Antialiased,
                Way::Offset => Resampling::Offset,
            },
            seed: self.seed,
            allow_missing: self.allow_missing,
            allow_unknown: self.allow_unknown,
        };
        let mut configured = network.configured(None, &[], None)?;
        let fitted = fitting::load(&self.input, &mut configured, &request)?;
        Ok((fitted.weights, fitted.account))
    }

    /// Puts the names of the classes into the description.
    fn label(&self, weights: &mut Weights) -> Result<()> {
        let (Some(path), Some(mut card)) = (&self.labels, Card::read(weights)?) else {
            return Ok(());
        };
        let text = String::from_utf8(Files::default().read(path)?)
            .map_err(|_| Error::input("the labels are no UTF-8 text"))?;
        let labels: Vec<String> = text.lines().map(|line| line.trim().to_string()).collect();
        if let Some(at) = labels.iter().position(String::is_empty) {
            return Err(Error::input(format!("line {} names no class", at + 1)));
        }
        card.labels = Some(labels);
        card.write(weights)
    }
}
