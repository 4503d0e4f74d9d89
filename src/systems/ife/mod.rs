//! Immunofixation electrophoresis: nine classes of monoclonal protein, read from the image of one gel.
//!
//! A gel has six lanes, left to right: ELP, G, A, M, κ, λ. A band that is dense in the ELP lane and stands at the same
//! height in a heavy lane (G, A, M), a light lane (κ, λ) or both, marks a monoclonal protein. The network decides the heavy
//! and the light chain as two tasks; the pair is the class.
//!
//! Reference: Shi et al., *A Multi-task Method for Immunofixation Electrophoresis Image Classification*, MICCAI 2023.

pub mod config;
pub mod decode;
pub mod familiarity;
pub mod finish;
pub mod fit;
pub mod graphs;
pub mod images;
pub mod loss;
pub mod manifest;
pub mod model;
pub mod reader;
pub mod record;
pub mod result;
pub mod run;
pub mod score;
pub mod study;
pub mod survey;
pub mod synth;
mod target;
pub mod train;
pub mod verify;
