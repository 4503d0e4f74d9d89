//! What `convert` and `forward` share: a weight file, fitted to a model or to the network of a system.

use super::network::Configured;
use crate::error::Result;
use crate::train::WeightFile;
use crate::train::fit::{self, Fitted, Request};
use std::path::Path;

/// The weights of a file, fitted to a network, which takes from them what they decide.
///
/// # Errors
/// The file cannot be read or does not fit; the error names it.
pub(super) fn load(path: &Path, configured: &mut Configured, request: &Request) -> Result<Fitted> {
    let file = WeightFile::read(path)?;
    let fitted = match configured {
        Configured::Ife(config) => fit::fit(&file, &mut config.model, request),
        Configured::Model { model, .. } => fit::fit(&file, model.as_mut(), request),
    };
    fitted.map_err(|e| e.within(path.display()))
}
