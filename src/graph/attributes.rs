//! The named values that tell one use of an operation from another: its identity for printing, hashing and merging, and
//! what `axenic op NAME --attr key=value` sets.

use crate::error::{Error, Result};
use std::cell::RefCell;
use std::fmt;

/// One attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A whole number.
    Int(usize),
    /// Whole numbers: lengths, axes.
    Ints(Vec<usize>),
    /// A real number.
    Float(f64),
    /// A word out of a fixed choice.
    Word(String),
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attribute::Int(n) => write!(f, "{n}"),
            Attribute::Ints(list) => write!(f, "{list:?}"),
            Attribute::Float(x) => write!(f, "{x:?}"),
            Attribute::Word(word) => f.write_str(word),
        }
    }
}

impl From<usize> for Attribute {
    fn from(n: usize) -> Self {
        Attribute::Int(n)
    }
}

impl From<f64> for Attribute {
    fn from(x: f64) -> Self {
        Attribute::Float(x)
    }
}

impl From<&[usize]> for Attribute {
    fn from(list: &[usize]) -> Self {
        Attribute::Ints(list.to_vec())
    }
}

impl From<&str> for Attribute {
    fn from(word: &str) -> Self {
        Attribute::Word(word.to_string())
    }
}

/// The word for a value that depends on the inputs.
pub const DEFAULT: &str = "default";

/// Names with values, in the order in which the operation states them.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    values: Vec<(String, Attribute)>,
    /// What has been asked for. An operation that reads its attributes so describes them, and no list can disagree.
    asked: RefCell<Vec<Asked>>,
}

/// An attribute as an operation asked for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// Its type: `int`, `ints`, `pair`, `float` or `word`.
    pub kind: &'static str,
    /// The value that it takes if none is given.
    pub default: Attribute,
    /// The words to choose from, if it is a word.
    pub choices: Vec<String>,
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl Attributes {
    /// No attributes.
    pub fn none() -> Self {
        Self::default()
    }

    /// These attributes and one more.
    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Self {
        self.values.push((name.to_string(), value.into()));
        self
    }

    /// Reads `key=value`, where the value is a number, a list as in `2,2` or `[2, 2]`, or a word.
    pub fn parse(mut self, text: &str) -> Result<Self> {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Error::input(format!("attribute {text:?} is not of the form key=value"))
        })?;
        let value = value.trim();
        let is_list = value.starts_with('[') || value.contains(',');
        let attribute = if is_list {
            let inner = value.trim_start_matches('[').trim_end_matches(']');
            let items = inner
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            let list: std::result::Result<Vec<usize>, _> = items.map(str::parse).collect();
            Attribute::Ints(list.map_err(|e| Error::input(format!("attribute {text:?}: {e}")))?)
        } else if let Ok(n) = value.parse() {
            Attribute::Int(n)
        } else if let Ok(x) = value.parse() {
            Attribute::Float(x)
        } else {
            Attribute::Word(value.to_string())
        };
        let name = name.trim();
        if self.get(name).is_some() {
            return Err(Error::input(format!("attribute {name} is given twice")));
        }
        self.values.push((name.to_string(), attribute));
        Ok(self)
    }

    /// The pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The value of a name, if it was given.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.iter()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    /// What has been asked for, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    fn note(&self, name: &str, kind: &'static str, default: Attribute, choices: Vec<String>) {
        let mut asked = self.asked.borrow_mut();
        if asked.iter().all(|earlier| earlier.name != name) {
            let name = name.to_string();
            asked.push(Asked {
                name,
                kind,
                default,
                choices,
            });
        }
    }

    /// A whole number.
    pub fn int(&self, name: &str, default: usize) -> Result<usize> {
        self.note(name, "int", default.into(), Vec::new());
        match self.get(name) {
            None => Ok(default),
            Some(Attribute::Int(n)) => Ok(*n),
            Some(other) => Err(wrong(name, other, "a whole number")),
        }
    }

    /// A real number.
    pub fn float(&self, name: &str, default: f64) -> Result<f64> {
        self.note(name, "float", default.into(), Vec::new());
        match self.get(name) {
            None => Ok(default),
            Some(Attribute::Float(x)) => Ok(*x),
            Some(Attribute::Int(n)) => Ok(*n as f64),
            Some(other) => Err(wrong(name, other, "a number")),
        }
    }

    /// A real number that depends on the inputs where none is given, or the word `default`.
    pub fn float_if_given(&self, name: &str) -> Result<Option<f64>> {
        self.note(name, "float", DEFAULT.into(), Vec::new());
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Word(word)) if word == DEFAULT => Ok(None),
            Some(_) => self.float(name, 0.0).map(Some),
        }
    }

    /// Whole numbers of any count; a single one counts as a list.
    pub fn ints(&self, name: &str, default: &[usize]) -> Result<Vec<usize>> {
        self.note(name, "ints", default.into(), Vec::new());
        self.list(name, default)
    }

    fn list(&self, name: &str, default: &[usize]) -> Result<Vec<usize>> {
        match self.get(name) {
            None => Ok(default.to_vec()),
            Some(Attribute::Ints(list)) => Ok(list.clone()),
            Some(Attribute::Int(n)) => Ok(vec![*n]),
            Some(other) => Err(wrong(name, other, "a list of whole numbers")),
        }
    }

    /// Height and width; a single number stands for both.
    pub fn pair(&self, name: &str, default: [usize; 2]) -> Result<[usize; 2]> {
        self.note(name, "pair", default[..].into(), Vec::new());
        match self.list(name, &default)?.as_slice() {
            [both] => Ok([*both, *both]),
            [height, width] => Ok([*height, *width]),
            list => Err(wrong(
                name,
                &Attribute::from(list),
                "one or two whole numbers",
            )),
        }
    }

    /// A word out of a choice: gives the value that stands beside it.
    pub fn choice<T: Copy + PartialEq>(
        &self,
        name: &str,
        default: T,
        choices: &[(&str, T)],
    ) -> Result<T> {
        let word = choices.iter().find(|(_, value)| *value == default);
        let words = choices.iter().map(|(word, _)| word.to_string()).collect();
        self.note(
            name,
            "word",
            word.map_or("", |(word, _)| *word).into(),
            words,
        );
        let text = match self.get(name) {
            None => return Ok(default),
            Some(value) => value.to_string(),
        };
        choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                Error::input(format!(
                    "attribute {name}={text} is not one of: {}",
                    words.join(", ")
                ))
            })
    }
}

fn wrong(name: &str, value: &Attribute, wanted: &str) -> Error {
    Error::input(format!("attribute {name}={value} is not {wanted}"))
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name}={value}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
