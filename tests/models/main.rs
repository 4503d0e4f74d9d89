//! The networks: held against the libraries they come from, the tables in front of their files, and what must be true of
//! any.
#![cfg(feature = "cli")]

#[cfg(feature = "gpu")]
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/golden.rs"]
mod golden;
mod libraries;
mod starts;
mod structure;
mod vit;

use axenic::graph::Graph;
use axenic::models::{self, Model};
use axenic::train::bare::{self, ForwardRequest};

fn find(name: &str) -> Box<dyn Model> {
    models::find(name).expect("a model")
}

/// The whole network on images of this shape.
fn record(model: &dyn Model, images: [usize; 4]) -> axenic::Result<Graph> {
    bare::forward(model, images.into(), ForwardRequest::INFERENCE)
}
