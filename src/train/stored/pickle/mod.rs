//! Pickles, read without executing anything: a machine that knows the few instructions and names that tensors need.
//!
//! A pickle is a program for a stack machine, and Python's own runs whatever functions it names. This one has no functions
//! to run: a name is one of [`Global`]'s, or the pickle is refused with that name. What the instructions build are plain
//! values in one list; they refer to each other by number, so that neither depth nor a ring of references can do harm, and
//! everything that is kept is counted against a budget that grows with the file.
//!
//! Reference: Python's `pickletools`, where every instruction is described; `torch/serialization.py` and `torch/_utils.py`
//! for what PyTorch puts into it.

mod calls;
mod machine;

use super::Dtype;
use crate::error::{Error, Result};
use machine::Machine;

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
        let mut machine = Machine::new(&bytes[..bytes.len().min(u32::MAX as usize)], budget);
        let root = machine.run()?;
        let (length, objects) = machine.end();
        Ok(Self {
            bytes,
            length,
            objects,
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
