//! The classifiers built on the engine: one folder per system.

pub mod ife;
