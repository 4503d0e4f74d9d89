//! The values of named parts of a model, asked for by the parts' paths.

use super::{Graph, Recorder, ValueId};
use crate::error::{Error, Result};

impl Recorder {
    /// Names what the scopes of these paths gave ([`Scope::tap`](super::Scope::tap)) as results.
    ///
    /// # Errors
    /// No scope of such a path gave anything; the error names those nearest to it.
    pub fn output_taps(&self, paths: &[String]) -> Result<()> {
        let taps = self.taps();
        for path in paths {
            match taps.iter().find(|(own, _)| own == path) {
                Some((_, tensor)) => self.output(path, *tensor)?,
                None => return Err(unknown(path, taps.iter().map(|(own, _)| own.as_str()))),
            }
        }
        Ok(())
    }
}

impl Graph {
    /// What scopes gave, by path, as far as it is computed at all.
    pub fn taps(&self) -> &[(String, ValueId)] {
        &self.taps
    }
}

/// Names the paths that share the longest beginning with an unknown one, and go at most one part further.
fn unknown<'a>(path: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let parts: Vec<&str> = path.split('.').collect();
    let shared = |own: &str| {
        let pairs = own.split('.').zip(&parts);
        pairs.take_while(|(own, asked)| own == *asked).count()
    };
    let most = known.clone().map(shared).max().unwrap_or(0);
    let is_near = |own: &&str| shared(own) == most && own.split('.').count() <= most + 1;
    let near: Vec<&str> = known.filter(is_near).collect();
    Error::input(format!(
        "no part of the model has the path {path:?}; near it are {}",
        near.join(", ")
    ))
}
