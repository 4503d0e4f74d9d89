//! How a device stores reals: in single precision, or, where an operation allows it, in half.
//!
//! Half precision is a *storage*: shaders read f16, compute in f32, and round their results. An operation states which of
//! its values may be halves ([`Halves`]); a plan for [`Precision::Mixed`] decides which are.
//!
//! Reference: P. Micikevicius et al., "Mixed precision training", ICLR 2018; the lists of `torch.autocast`.

use serde::{Deserialize, Serialize};

/// What a device stores in half precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Nothing.
    #[default]
    Full,
    /// What products read and write, and what is computed from that element by element. Leaves, assigned values, indices,
    /// statistics, losses and optimisers stay f32.
    Mixed,
    /// Whatever an operation allows, whatever it reads: with this, audits see every shader with halves.
    #[serde(skip)]
    Half,
}

/// How a value, or all that a shader declares as `Store`, lies in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Storage {
    /// Four bytes an element: f32, u32.
    #[default]
    Full,
    /// f16.
    Half,
}

impl Storage {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Storage::Full => Storage::Half,
            Storage::Half => Storage::Full,
        }
    }

    /// Words of four bytes that so many elements take.
    pub fn words(self, elements: usize) -> usize {
        match self {
            Storage::Full => elements,
            Storage::Half => elements.div_ceil(2),
        }
    }
}

/// Which values of an operation may be halves, and when they are. Its shaders bind these as `Store`, all others as `f32`.
#[derive(Clone, Copy, Debug)]
pub struct Halves {
    when: When,
    full_inputs: &'static [usize],
    full_outputs: &'static [usize],
}

/// When the launches of an operation store halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Never,
    IfRead,
    Always,
}

impl Halves {
    /// Losses, logarithms, statistics, optimisers: what needs the range or the digits of f32.
    pub const NEVER: Self = Self::new(When::Never);
    /// What works element by element: if an input is a half already; then the others are rounded to halves too.
    pub const FOLLOWS: Self = Self::new(When::IfRead);
    /// Products.
    pub const ALWAYS: Self = Self::new(When::Always);

    const fn new(when: When) -> Self {
        Self {
            when,
            full_inputs: &[],
            full_outputs: &[],
        }
    }

    /// The same, but these inputs and outputs are f32 always: vectors beside a large operand, results of reductions.
    pub const fn except(
        self,
        full_inputs: &'static [usize],
        full_outputs: &'static [usize],
    ) -> Self {
        Self {
            full_inputs,
            full_outputs,
            ..self
        }
    }

    /// Whether this real input is a `Store`.
    pub fn of_input(&self, input: usize) -> bool {
        self.when != When::Never && !self.full_inputs.contains(&input)
    }

    /// Whether this real output is a `Store`.
    pub fn of_output(&self, output: usize) -> bool {
        self.when != When::Never && !self.full_outputs.contains(&output)
    }

    /// The ways in which its launches may store what may be halves.
    pub fn storages(&self) -> &'static [Storage] {
        match self.when {
            When::Never => &[Storage::Full],
            When::IfRead | When::Always => &[Storage::Full, Storage::Half],
        }
    }

    /// How its launches store what may be halves, given whether one of these inputs is a half.
    pub fn storage(&self, precision: Precision, reads_half: bool) -> Storage {
        let is_half = match (precision, self.when) {
            (Precision::Full, _) | (_, When::Never) => false,
            (Precision::Half, _) | (_, When::Always) => true,
            (Precision::Mixed, When::IfRead) => reads_half,
        };
        if is_half {
            Storage::Half
        } else {
            Storage::Full
        }
    }
}
