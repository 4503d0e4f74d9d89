//! What a pickle may call: the few functions that put tensors together, and containers.

use super::machine::Machine;
use super::{Global, Object, Storage, Tensor, Value, text};
use crate::error::Result;

impl Machine<'_, '_> {
    /// `("storage", type, key, device, number of elements)`, in the old format also `None`.
    pub(super) fn push_storage(&mut self) -> Result<()> {
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

    pub(super) fn call(&mut self) -> Result<()> {
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
    pub(super) fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.target()? {
            Object::Dict(_) | Object::Inert(_) => Ok(()),
            _ => Err(self.wrong("gives attributes to what has none")),
        }
    }
}

/// PyTorch's own limit.
const MOST_AXES: usize = 64;
