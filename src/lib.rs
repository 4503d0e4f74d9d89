//! # Axenic: a numerical engine in which every operation can be read
//!
//! A minimal automatic-differentiation tensor library with hand-written WGSL compute shaders, and medical image
//! classifiers built on it. What is read is what runs: shaders are plain WGSL, nothing is generated, and of a graph nothing is
//! rewritten but that nodes may be joined into operations which a room offers ([`graph::Graph::folded`]).
//!
//! ## The way of a computation
//!
//! ```text
//!  models, nn      record        graph           derive       plan           run      exec
//!  (functions) ─────────────▶  Graph: nodes ─────────────▶  Plan: order, ──────────▶  reference  f64, host
//!                    ▲         with shapes,                 slots, peak               cpu        f32, host, fast
//!         autodiff ──┘         paths, places                bytes, cost               gpu        f32, wgpu
//! ```
//!
//! 1. **Record.** A model is a function that takes a [`graph::Recorder`] and applies operations; every shape is checked as
//!    it is recorded, and every node remembers the line of the model that asked for it. [`autodiff`] adds the gradient as
//!    more nodes of the same graph, an optimiser adds the update. The result, a [`graph::Graph`], is a value: it can be
//!    printed, counted, hashed and compared before a number flows.
//! 2. **Plan.** A [`plan::Plan`] fixes the order and assigns every value a slot; its peak memory is exact. In mixed
//!    precision ([`graph::Precision`]) it decides what a device stores as f16, and where a copy in the other storage is made.
//! 3. **Run.** An [`exec::Executor`] runs plans. Any two can be run in step and compared ([`exec::compare`]).
//! 4. **Prove.** [`conformance`] computes every node of a run again in arithmetic that carries its own error bound
//!    ([`real::Bounded`]), from that node's own inputs, and says which node, if any, is off.
//!
//! The first line that prints numbers:
//!
//! ```
//! use axenic::{eval, ops};
//! let [p] = eval(|r| Ok([ops::softmax(r.constant([1.0, 2.0, 3.0]), 0, 1.0)?]))?;
//! println!("{:?}", p.to_f64());
//! # axenic::Result::Ok(())
//! ```
//!
//! ## The rooms
//!
//! Everything about one operation is in one file of [`ops`] and its shader beside it in `shaders/`: mathematics, shape
//! rule, gradient rule, host formula, launches, cost, test cases. The contract is [`graph::Op`].
//!
//! | module | what it is | may import |
//! | --- | --- | --- |
//! | [`error`] [`shape`] [`mod@array`] [`real`] [`rng`] [`workers`] [`product`] | host basics | each other |
//! | [`graph`] | the computation as a value, and the contract of an operation | basics |
//! | [`ops`] | the operations, a room each | graph |
//! | [`autodiff`] | from a graph to its gradient | graph, ops |
//! | [`plan`] | order, slots, memory | graph |
//! | [`exec`] | three executors behind one trait; only `exec::gpu` names wgpu | graph, plan |
//! | [`nn`] | layers that record | graph, ops |
//! | [`models`] | networks of the field, one paper a file | graph, ops, nn |
//! | [`mod@metrics`] `data` | scores; images and tables on disk | basics |
//! | `train` | optimisers, weights, checkpoints, the layer that writes files | the engine, data, metrics |
//! | `systems` | the classifiers | everything above |
//! | `explain` `report` | overlays; text, CSV and HTML | results |
//! | [`conformance`] | is an executor right? | ops, autodiff, plan, exec |
//! | [`ledger`] | what every operation did, how long it took, how far that is from the device's limits | graph, ops, plan, exec |
//! | `cli` | the program | everything; nobody imports it |
//!
//! `tests/layering.rs` checks the table, and that devices, threads and files stay in few places. Files are read and written
//! in `data`, `train` and `cli`, and by two files of a system that are about files: the one that lays out its run folder,
//! and the one that writes its synthetic data set. Reports are text until `cli` writes them. `workers` (the host's cores, as operations see them) and `product` (the f32
//! matrix product) stand among the basics because the rooms' fast host versions need them: rooms state how their work is
//! cut, and never start a thread.
//!
//! Every file of a run is written by `train::Files`: beside its place, made durable, moved there. A training's whole state
//! is one file, `train::Checkpoint`, and everything else in a run folder follows from it; so a run that ended anywhere
//! goes on with the same bits.
//!
//! ## Letters
//!
//! N batch, C channels, H W height and width, K output channels, T tokens, D embedding, G groups. `[N, C, H, W]` in a
//! comment is a shape. A *shader* is device code, a *launch* one run of it; *kernel* means a convolution's window.
//!
//! ## Features
//!
//! `gpu` (the wgpu executor) and `cli` (the program, the data readers, the systems) are on by default. Without them the
//! library is the engine, the layers and the host executors.

pub mod array;
pub mod autodiff;
#[cfg(feature = "cli")]
pub mod cli;
pub mod conformance;
#[cfg(feature = "cli")]
pub mod data;
pub mod error;
pub mod exec;
#[cfg(feature = "cli")]
pub mod explain;
pub mod graph;
pub mod ledger;
pub mod metrics;
pub mod models;
pub mod nn;
pub mod ops;
pub mod plan;
pub mod product;
pub mod real;
#[cfg(feature = "cli")]
pub mod report;
pub mod rng;
pub mod shape;
#[cfg(feature = "cli")]
pub mod systems;
#[cfg(feature = "cli")]
pub mod train;
pub mod workers;

pub use array::Array;
pub use error::{Error, Result};
pub use exec::eval;
