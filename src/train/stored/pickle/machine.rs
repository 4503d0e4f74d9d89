//! The stack machine, its stack, memo and containers.

use super::{Budget, Global, Object, Tensor, Value, text};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// What an entry of the memo costs, about.
const MEMO_BYTES: usize = 48;

pub(super) struct Machine<'a, 'b> {
    pub(super) bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    pub(super) objects: Vec<Object>,
    pub(super) budget: &'b mut Budget,
}

impl<'a, 'b> Machine<'a, 'b> {
    pub(super) fn new(bytes: &'a [u8], budget: &'b mut Budget) -> Self {
        Self {
            bytes,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            objects: Vec::new(),
            budget,
        }
    }

    /// Carries out everything up to the end, and gives the result.
    pub(super) fn run(&mut self) -> Result<Value> {
        loop {
            if let Some(root) = self.step()? {
                return Ok(root);
            }
        }
    }

    /// The pickle's length, and everything that it built.
    pub(super) fn end(self) -> (usize, Vec<Object>) {
        (self.at, self.objects)
    }

    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::checkpoint(format!("its pickle {what} at byte {}", self.at))
    }

    /// Carries out one instruction; gives the result at the last.
    fn step(&mut self) -> Result<Option<Value>> {
        let [code] = self.word()?;
        match code {
            0x80 => drop(self.word::<1>()?),     // PROTO
            0x95 => drop(self.word::<8>()?),     // FRAME
            b'.' => return self.pop().map(Some), // STOP
            b'(' => {
                spend_room(&self.marks, self.budget)?;
                self.marks.push(self.stack.len());
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' | b'K' | b'M' | 0x8A | b'G' => self.push_number(code)?,
            b'X' | 0x8C | b'U' | b'T' => self.push_text(code)?,
            b'B' | b'C' => self.skip_bytes(code)?,
            b')' | b't' | 0x85..=0x87 => self.push_tuple(code)?,
            b']' => self.push_object(Object::List(Vec::new()))?,
            b'}' => self.push_object(Object::Dict(Vec::new()))?,
            b'a' | b'e' => self.append(code)?,
            b's' | b'u' => self.set_items(code)?,
            b'q' | b'r' | 0x94 => self.memoise(code)?,
            b'h' | b'j' => self.recall(code)?,
            b'c' | 0x93 => self.push_global(code)?,
            b'Q' => self.push_storage()?,
            b'R' | 0x81 => self.call()?,
            b'b' => self.build()?,
            _ => {
                return Err(self.wrong(format!(
                    "has the instruction 0x{code:02X}, which tensors do not need,"
                )));
            }
        }
        Ok(None)
    }

    fn slice(&mut self, length: usize) -> Result<(u32, u32)> {
        let end = self.at.checked_add(length);
        match end.filter(|&end| end <= self.bytes.len()) {
            Some(end) => {
                let span = (self.at as u32, end as u32);
                self.at = end;
                Ok(span)
            }
            None => Err(self.wrong("is cut off")),
        }
    }

    fn word<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (from, _) = self.slice(N)?;
        let word = self.bytes[from as usize..].first_chunk();
        word.copied().ok_or_else(|| self.wrong("is cut off"))
    }

    pub(super) fn push(&mut self, value: Value) -> Result<()> {
        spend_room(&self.stack, self.budget)?;
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => Ok(self.stack.pop().unwrap_or(Value::None)),
            false => Err(self.wrong("takes more than there is")),
        }
    }

    /// Everything above the last mark, from this place of the stack on.
    fn pop_mark(&mut self) -> Result<usize> {
        self.marks
            .pop()
            .ok_or_else(|| self.wrong("takes more than there is"))
    }

    pub(super) fn push_object(&mut self, object: Object) -> Result<()> {
        let own = match &object {
            Object::Tensor(tensor) => {
                size_of::<Tensor>() + 8 * (tensor.shape.len() + tensor.strides.len())
            }
            Object::Tuple(values) | Object::List(values) => size_of::<Value>() * values.len(),
            Object::Dict(pairs) => 2 * size_of::<Value>() * pairs.len(),
            Object::Storage(_) | Object::Inert(_) => 0,
        };
        // The list of objects grows by doubling.
        self.budget.spend(own + 2 * size_of::<Object>())?;
        let number = self.objects.len() as u32;
        self.objects.push(object);
        self.push(Value::Object(number))
    }

    fn push_number(&mut self, code: u8) -> Result<()> {
        let value = match code {
            b'J' => Value::Int(i32::from_le_bytes(self.word()?).into()),
            b'K' => Value::Int(self.word::<1>()?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.word()?).into()),
            b'G' => {
                self.word::<8>()?;
                Value::Inert("a number")
            }
            _ => {
                let [length] = self.word()?;
                let (from, to) = self.slice(length.into())?;
                let digits = &self.bytes[from as usize..to as usize];
                match digits.len() {
                    0..=8 => Value::Int(signed(digits)),
                    _ => Value::Inert("a long number"),
                }
            }
        };
        self.push(value)
    }

    /// A length of one or four bytes.
    fn length(&mut self, is_short: bool) -> Result<usize> {
        Ok(match is_short {
            true => self.word::<1>()?[0].into(),
            false => u32::from_le_bytes(self.word()?) as usize,
        })
    }

    fn push_text(&mut self, code: u8) -> Result<()> {
        let length = self.length(matches!(code, 0x8C | b'U'))?;
        let (from, to) = self.slice(length)?;
        let is_text = std::str::from_utf8(&self.bytes[from as usize..to as usize]).is_ok();
        self.push(match is_text {
            true => Value::Text(from, to),
            false => Value::Inert("bytes"),
        })
    }

    fn skip_bytes(&mut self, code: u8) -> Result<()> {
        let length = self.length(code == b'C')?;
        self.slice(length)?;
        self.push(Value::Inert("bytes"))
    }

    fn push_tuple(&mut self, code: u8) -> Result<()> {
        let values = match code {
            b')' => Vec::new(),
            b't' => {
                let from = self.pop_mark()?;
                self.budget_for(self.stack.len() - from)?;
                self.stack.split_off(from)
            }
            _ => {
                let mut values = Vec::new();
                for _ in 0x84..code {
                    values.push(self.pop()?);
                }
                values.reverse();
                values
            }
        };
        self.push_object(Object::Tuple(values))
    }

    /// That so many values may be kept, before room is asked for.
    fn budget_for(&mut self, values: usize) -> Result<()> {
        self.budget.spend(values * size_of::<Value>())
    }

    fn append(&mut self, code: u8) -> Result<()> {
        let from = match code {
            b'e' => self.pop_mark()?,
            _ => self.stack.len().saturating_sub(1),
        };
        let count = self.stack.len() - from;
        self.budget_for(2 * count)?;
        let values = self.stack.split_off(from);
        match self.target()? {
            Object::List(list) => list.extend(values),
            Object::Inert(_) => {}
            _ => return Err(self.wrong("appends to what is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, code: u8) -> Result<()> {
        let from = match code {
            b'u' => self.pop_mark()?,
            _ => self.stack.len().saturating_sub(2),
        };
        let count = self.stack.len() - from;
        if !count.is_multiple_of(2) {
            return Err(self.wrong("sets a name without a value"));
        }
        self.budget_for(2 * count)?;
        let values = self.stack.split_off(from);
        let pairs = values.as_chunks::<2>().0.iter();
        match self.target()? {
            Object::Dict(dict) => dict.extend(pairs.map(|&[key, value]| (key, value))),
            Object::Inert(_) => {}
            _ => return Err(self.wrong("sets names of what is no dictionary")),
        }
        Ok(())
    }

    /// The object on top of the stack, which stays there.
    pub(super) fn target(&mut self) -> Result<&mut Object> {
        let top = self.pop()?;
        self.push(top)?;
        let error = self.wrong("fills what is no container");
        match top {
            Value::Object(number) => self.objects.get_mut(number as usize).ok_or(error),
            _ => Err(error),
        }
    }

    fn memoise(&mut self, code: u8) -> Result<()> {
        let number = match code {
            b'q' => self.word::<1>()?[0].into(),
            b'r' => u32::from_le_bytes(self.word()?),
            _ => self.memo.len() as u32,
        };
        let top = self.pop()?;
        self.push(top)?;
        self.budget.spend(MEMO_BYTES)?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Result<()> {
        let number = self.length(code == b'h')? as u32;
        match self.memo.get(&number) {
            Some(&value) => self.push(value),
            None => Err(self.wrong(format!("recalls number {number}, which was never kept,"))),
        }
    }

    fn push_global(&mut self, code: u8) -> Result<()> {
        let [module, name] = if code == b'c' {
            [self.line()?, self.line()?]
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (module, name) {
                (Value::Text(a, b), Value::Text(c, d)) => [(a, b), (c, d)],
                _ => return Err(self.wrong("names something by what is no text")),
            }
        };
        let shown = |span| text(self.bytes, span).chars().take(80);
        let full: String = shown(module).chain(['.']).chain(shown(name)).collect();
        match Global::find(&full) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(Error::checkpoint(format!(
                "its pickle asks for {full:?}, which tensors do not need: the file is refused, and nothing of it was executed"
            ))),
        }
    }

    /// The text up to the line's end.
    fn line(&mut self) -> Result<(u32, u32)> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(self.wrong("is cut off"));
        };
        let span = self.slice(length)?;
        self.at += 1;
        Ok(span)
    }

    pub(super) fn tuple(&self, value: Value) -> Option<&[Value]> {
        match value {
            Value::Object(number) => match self.objects.get(number as usize)? {
                Object::Tuple(values) => Some(values),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Two's complement, little-endian, of at most 8 bytes.
fn signed(digits: &[u8]) -> i64 {
    let is_negative = digits.last().is_some_and(|&byte| byte >= 0x80);
    let mut word = [if is_negative { 0xFF } else { 0 }; 8];
    word[..digits.len()].copy_from_slice(digits);
    i64::from_le_bytes(word)
}

/// Takes from the budget what one more element costs: nothing while there is room, which is then doubled.
fn spend_room<T>(list: &Vec<T>, budget: &mut Budget) -> Result<()> {
    match list.len() < list.capacity() {
        true => Ok(()),
        false => budget.spend(list.capacity().max(4) * size_of::<T>()),
    }
}
