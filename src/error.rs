//! The one error type of the crate: a kind for programs, a sentence for people.

use std::fmt;

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as one sentence that carries the values and the place.
///
/// The type is opaque; the predicates [`is_shape`](Error::is_shape), [`is_input`](Error::is_input),
/// [`is_device`](Error::is_device), [`is_checkpoint`](Error::is_checkpoint) and [`is_stopped`](Error::is_stopped) tell the
/// kinds apart.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Shape,
    Input,
    Device,
    Checkpoint,
    Stopped,
}

impl Error {
    /// A graph that cannot be recorded, differentiated or planned: shapes, element types, attributes.
    pub fn shape(text: impl Into<String>) -> Self {
        Self::new(Kind::Shape, text)
    }

    /// Something the user gave is wrong: a file, a folder, a value, a configuration.
    pub fn input(text: impl Into<String>) -> Self {
        Self::new(Kind::Input, text)
    }

    /// The device is missing, too small, or lost.
    pub fn device(text: impl Into<String>) -> Self {
        Self::new(Kind::Device, text)
    }

    /// A weight file or checkpoint that is damaged or does not fit.
    pub fn checkpoint(text: impl Into<String>) -> Self {
        Self::new(Kind::Checkpoint, text)
    }

    /// The work was asked to stop before its end.
    pub fn stopped(text: impl Into<String>) -> Self {
        Self::new(Kind::Stopped, text)
    }

    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            text: text.into(),
        }))
    }

    /// The same error with `context: ` in front of its sentence.
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        self.0.text = format!("{context}: {}", self.0.text);
        self
    }

    /// The same error with `place` appended in parentheses, as in `(recorded at src/models/vit.rs:88)`.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.text = format!("{} ({place})", self.0.text);
        self
    }

    /// The same error with a sentence of at most so many characters, because it quotes what a stranger wrote.
    pub fn clipped(mut self, characters: usize) -> Self {
        if let Some((end, _)) = self.0.text.char_indices().nth(characters) {
            self.0.text.truncate(end);
            self.0.text.push('…');
        }
        self
    }

    /// True for graphs that cannot be recorded, differentiated or planned.
    pub fn is_shape(&self) -> bool {
        self.0.kind == Kind::Shape
    }

    /// True for wrong files, values and configurations.
    pub fn is_input(&self) -> bool {
        self.0.kind == Kind::Input
    }

    /// True for missing, too small or lost devices.
    pub fn is_device(&self) -> bool {
        self.0.kind == Kind::Device
    }

    /// True for weight files and checkpoints that are damaged or do not fit.
    pub fn is_checkpoint(&self) -> bool {
        self.0.kind == Kind::Checkpoint
    }

    /// True for work that was asked to stop before its end.
    pub fn is_stopped(&self) -> bool {
        self.0.kind == Kind::Stopped
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} error: {}", self.0.kind, self.0.text)
    }
}

impl std::error::Error for Error {}
