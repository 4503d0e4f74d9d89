//! The classifiers: one folder per system, with the same file names in each.

pub mod ife;
