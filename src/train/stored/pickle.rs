//! Pickles, read without executing anything: a machine that knows the few instructions and names that tensors need.
//!
//! A pickle is a program for a stack machine, and Python's own runs whatever functions it names. This one has no functions
//! to run: a name is one of [`Global`]'s, or the pickle is refused with that name. What the instructions build are plain
//! values in one list; they refer to each other by number, so that neither depth nor a ring of references can do harm, and
//! everything that is kept is counted against a budget that grows with the file.
//!
//! Reference: Python's `pickletools`, where every instruction is described; `torch/serialization.py` and `torch/_utils.py`
//! for what PyTorch puts into it.

use super::Dtype;
use crate::error::{Error, Result};
use std::collections::HashMap;

/// A value on the stack, in a container or in the memo. Text stays in the pickle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A number or bytes that no tensor needs.
    Inert(&'static str),
    /// From one byte of the pickle to another.
    Text(u32, u32),
    Global(Global),
    /// A number in [`Pickle::objects`].
    Object(u32),
}

/// The names that a pickle may mention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    /// A storage of one type; `None` is one of bytes.
    Storage(Option<Dtype>),
    Dtype(Dtype),
    /// `torch.Size`, a tuple.
    Size,
    RebuildTensor,
    RebuildParameter,
    /// What training scripts keep beside tensors, and what has no numbers of a network in it: its place is kept, nothing more.
    Inert(&'static str),
}

/// What else than tensors real checkpoints hold.
const INERT: &[&str] = &[
    "argparse.Namespace",
    "collections.Counter",
    "collections.defaultdict",
    "builtins.set",
    "builtins.dict",
    "builtins.list",
    "builtins.int",
    "builtins.float",
    "__builtin__.set",
    "__builtin__.dict",
    "__builtin__.list",
    "__builtin__.int",
    "__builtin__.float",
    "_codecs.encode",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "pathlib.Path",
    "pathlib.PosixPath",
    "torch.device",
];

impl Global {
    fn find(name: &str) -> Option<Self> {
        Some(match name {
            "collections.OrderedDict" => Global::OrderedDict,
            "torch.Size" => Global::Size,
            "torch.storage.UntypedStorage" | "torch.UntypedStorage" => Global::Storage(None),
            "torch._utils._rebuild_tensor"
            | "torch._utils._rebuild_tensor_v2"
            | "torch._utils._rebuild_tensor_v3" => Global::RebuildTensor,
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                Global::RebuildParameter
            }
            _ => {
                if let Some(own) = INERT.iter().find(|own| **own == name) {
                    return Some(Global::Inert(own));
                }
                let own = name.strip_prefix("torch.")?;
                let storage = Dtype::of_storage(own).map(|dtype| Global::Storage(Some(dtype)));
                return storage.or_else(|| Dtype::of_torch(own).map(Global::Dtype));
            }
        })
    }
}

/// What takes more room than a value.
#[derive(Clone, Debug)]
pub(super) enum Object {
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Storage(Storage),
    Tensor(Box<Tensor>),
    Inert(&'static str),
}

/// Numbers that lie outside the pickle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storage {
    /// The text that names it.
    pub(super) key: (u32, u32),
    /// `None` for bytes.
    pub(super) dtype: Option<Dtype>,
    /// How many elements it has.
    pub(super) count: u64,
}

/// A view of a storage, as stated: nothing is checked yet.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) storage: Storage,
    pub(super) dtype: Dtype,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// What a pickle builds.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    pub(super) objects: Vec<Object>,
    pub(super) root: Value,
    /// Its length in bytes.
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the beginning of some bytes; it may keep `budget` bytes.
    pub(super) fn read(bytes: &'a [u8], budget: &mut Budget) -> Result<Self> {
        let mut machine = Machine {
            bytes: &bytes[..bytes.len().min(u32::MAX as usize)],
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            objects: Vec::new(),
            budget,
        };
        let root = loop {
            if let Some(root) = machine.step()? {
                break root;
            }
        };
        Ok(Self {
            bytes,
            length: machine.at,
            objects: machine.objects,
            root,
        })
    }

    /// The text between two bytes.
    pub(super) fn text(&self, (from, to): (u32, u32)) -> &'a str {
        text(self.bytes, (from, to))
    }

    /// The object that a value refers to.
    pub(super) fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(number) => self.objects.get(number as usize),
            _ => None,
        }
    }
}

/// Checked when it was read.
fn text(bytes: &[u8], (from, to): (u32, u32)) -> &str {
    let slice = bytes.get(from as usize..to as usize).unwrap_or_default();
    std::str::from_utf8(slice).unwrap_or_default()
}

/// How many bytes a file may still make the program keep.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// That of a file of so many bytes: a few times as much, and some more, because small files are allowed to be dense.
    pub(super) fn of_file(length: usize) -> Self {
        Self(length.saturating_mul(6).saturating_add(64 << 10))
    }

    /// Takes so many bytes.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<()> {
        match self.0.checked_sub(bytes) {
            Some(left) => self.0 = left,
            None => {
                return Err(Error::checkpoint(
                    "what it describes takes many times as much memory as the file: it is no honest weight file",
                ));
            }
        }
        Ok(())
    }
}

/// What an entry of the memo costs, about.
const MEMO_BYTES: usize = 48;

struct Machine<'a, 'b> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object>,
    budget: &'b mut Budget,
}

impl<'a> Machine<'a, '_> {
    fn wrong(&self, what: impl std::fmt::Display) -> Error {
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
                self.budget.spend(size_of::<usize>())?;
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

    fn push(&mut self, value: Value) -> Result<()> {
        if self.stack.len() == self.stack.capacity() {
            // The room is doubled.
            let room = self.stack.capacity().max(4);
            self.budget.spend(room * size_of::<Value>())?;
        }
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
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

    fn push_object(&mut self, object: Object) -> Result<()> {
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
    fn target(&mut self) -> Result<&mut Object> {
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

    fn tuple(&self, value: Value) -> Option<&[Value]> {
        match value {
            Value::Object(number) => match self.objects.get(number as usize)? {
                Object::Tuple(values) => Some(values),
                _ => None,
            },
            _ => None,
        }
    }

    /// `("storage", type, key, device, number of elements)`, in the old format also `None`.
    fn push_storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        let storage = match self.tuple(id) {
            Some(
                &[
                    Value::Text(a, b),
                    Value::Global(Global::Storage(dtype)),
                    Value::Text(from, to),
                    Value::Text(..),
                    Value::Int(count),
                    ref rest @ ..,
                ],
            ) if text(self.bytes, (a, b)) == "storage" && matches!(rest, [] | [Value::None]) => {
                u64::try_from(count).ok().map(|count| Storage {
                    key: (from, to),
                    dtype,
                    count,
                })
            }
            _ => None,
        };
        match storage {
            Some(storage) => self.push_object(Object::Storage(storage)),
            None => Err(self.wrong("refers to something outside that is no storage")),
        }
    }

    fn call(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let result = match function {
            Value::Global(Global::Inert(name)) => Some(Object::Inert(name)),
            Value::Global(Global::OrderedDict) => self.ordered_dict(arguments)?,
            Value::Global(Global::RebuildTensor) => {
                self.tensor(arguments).map(|t| Object::Tensor(Box::new(t)))
            }
            Value::Global(Global::RebuildParameter) => {
                let data = self.tuple(arguments).and_then(|all| all.first().copied());
                return match data {
                    Some(data @ Value::Object(number))
                        if matches!(self.objects.get(number as usize), Some(Object::Tensor(_))) =>
                    {
                        self.push(data)
                    }
                    _ => Err(self.wrong("makes a parameter of what is no tensor")),
                };
            }
            Value::Global(Global::Size) => {
                let lengths = self.tuple(arguments).and_then(|all| all.first().copied());
                return match lengths {
                    Some(lengths) if self.tuple(lengths).is_some() => self.push(lengths),
                    _ => Err(self.wrong("makes a size of what is no tuple")),
                };
            }
            _ => None,
        };
        match result {
            Some(object) => self.push_object(object),
            None => {
                Err(self.wrong("calls what cannot be called, or with other arguments than PyTorch"))
            }
        }
    }

    /// Empty, or of a list of pairs, as Python 2 wrote it.
    fn ordered_dict(&mut self, arguments: Value) -> Result<Option<Object>> {
        let list = match self.tuple(arguments) {
            Some([]) => return Ok(Some(Object::Dict(Vec::new()))),
            Some(&[Value::Object(number)]) => self.objects.get(number as usize),
            _ => None,
        };
        let Some(Object::List(list)) = list else {
            return Ok(None);
        };
        let length = list.len();
        let pair = |value: &Value| match *value {
            Value::Object(number) => match self.objects.get(number as usize)? {
                Object::List(pair) | Object::Tuple(pair) => match **pair {
                    [key, value] => Some((key, value)),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        // A list can be used for many dictionaries.
        self.budget.spend(2 * length * size_of::<Value>())?;
        let pairs = list.iter().map(pair).collect::<Option<Vec<_>>>();
        Ok(pairs.map(Object::Dict))
    }

    /// (storage, offset, size, stride, …), in version 3 with the type as seventh.
    fn tensor(&self, arguments: Value) -> Option<Tensor> {
        let all = self.tuple(arguments)?;
        let &[storage, Value::Int(offset), size, stride, ref rest @ ..] = all else {
            return None;
        };
        let storage = match storage {
            Value::Object(number) => match self.objects.get(number as usize)? {
                Object::Storage(storage) => *storage,
                _ => return None,
            },
            _ => return None,
        };
        let (stated, marks) = match rest.get(2) {
            Some(Value::Global(Global::Dtype(dtype))) => (Some(*dtype), rest.get(3)),
            marks => (None, marks),
        };
        // Marks say that the numbers are to be negated or conjugated when they are used.
        if !marks.is_none_or(|&marks| self.is_nothing(marks)) {
            return None;
        }
        let lengths = |value: Value| -> Option<Vec<u64>> {
            let length = |value: &Value| match value {
                Value::Int(n) => u64::try_from(*n).ok(),
                _ => None,
            };
            // More axes than any tensor has would only cost memory.
            let all = self.tuple(value).filter(|all| all.len() <= MOST_AXES)?;
            all.iter().map(length).collect()
        };
        Some(Tensor {
            storage,
            dtype: stated.or(storage.dtype)?,
            offset: u64::try_from(offset).ok()?,
            shape: lengths(size)?,
            strides: lengths(stride)?,
        })
    }

    /// None, or an empty dictionary.
    fn is_nothing(&self, value: Value) -> bool {
        match value {
            Value::None => true,
            Value::Object(number) => {
                matches!(self.objects.get(number as usize), Some(Object::Dict(pairs)) if pairs.is_empty())
            }
            _ => false,
        }
    }

    /// Attributes are given to a dictionary (`_metadata`) or to what is inert: none is needed.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.target()? {
            Object::Dict(_) | Object::Inert(_) => Ok(()),
            _ => Err(self.wrong("gives attributes to what has none")),
        }
    }
}

/// PyTorch's own limit.
const MOST_AXES: usize = 64;

/// Two's complement, little-endian, of at most 8 bytes.
fn signed(digits: &[u8]) -> i64 {
    let is_negative = digits.last().is_some_and(|&byte| byte >= 0x80);
    let mut word = [if is_negative { 0xFF } else { 0 }; 8];
    word[..digits.len()].copy_from_slice(digits);
    i64::from_le_bytes(word)
}
