//! What `convert` and `forward` share: a weight file, fitted to a model or to the network of a system.

use super::System;
use super::network::Network;
use crate::error::Result;
use crate::models;
use crate::systems::ife::config::Preset;
use crate::train::WeightFile;
use crate::train::fit::{self, Fitted, Request};
use std::path::Path;

/// The weights of a file, fitted to a network.
///
/// # Errors
/// The file cannot be read or does not fit; the error names it.
pub(super) fn load(path: &Path, network: Network, request: &Request) -> Result<Fitted> {
    let file = WeightFile::read(path)?;
    let fitted = match network {
        Network::System(System::Ife) => fit::fit(&file, &mut Preset::Paper.config().model, request),
        Network::Model(name) => fit::fit(&file, models::find(name)?.as_mut(), request),
    };
    fitted.map_err(|e| e.within(path.display()))
}
