//! What is computed, by name: a system, or a bare model.

use super::System;
use crate::error::{Error, Result};
use crate::models;
use clap::ValueEnum;

/// A system or a bare model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    System(System),
    /// A model of [`models`], by its name.
    Model(&'static str),
}

impl Network {
    /// The network of this name.
    ///
    /// # Errors
    /// There is none; the error lists all there are.
    pub(super) fn named(name: &str) -> Result<Self> {
        if let Ok(system) = System::from_str(name, true) {
            return Ok(Self::System(system));
        }
        let model = models::names().find(|own| *own == name);
        model.map(Self::Model).ok_or_else(|| {
            Error::input(format!(
                "there is no system or model {name:?}; {}",
                Self::all()
            ))
        })
    }

    /// All names, in a sentence.
    pub(super) fn all() -> String {
        let systems = System::value_variants().iter();
        let systems =
            systems.filter_map(|system| Some(system.to_possible_value()?.get_name().to_string()));
        format!(
            "systems are {}; models are {}",
            systems.collect::<Vec<_>>().join(", "),
            models::names().collect::<Vec<_>>().join(", ")
        )
    }
}
