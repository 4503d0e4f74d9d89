//! The host's memory: numbers in slots, in leaves, and in inputs.

use super::host::HostReal;
use crate::array::{Array, Element, Spec};
use crate::error::{Error, Result};
use crate::graph::{Slice, SliceMut, View, ViewMut};
use bytemuck::Pod;
use memmap2::{MmapMut, MmapOptions};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// The bytes from which memory comes as whole pages from the system: so many are one large page on most machines.
const LARGE: usize = 2 << 20;

/// Numbers in memory.
///
/// Where there are many, the system is asked for large pages: a core knows the places of a few thousand pages. If they are small
/// that is a few megabytes, and the places of all others have to be looked up.
#[derive(Debug)]
pub(super) enum Values<T> {
    /// Few, or those of an array.
    Vector(Vec<T>),
    /// Many, in pages of their own.
    Pages {
        map: MmapMut,
        numbers: PhantomData<T>,
    },
}

impl<T: Pod> Values<T> {
    /// Zeros. As `vec![0; length]`, but that the memory cannot be had is an error.
    pub(super) fn zeros(length: usize) -> Result<Self> {
        let bytes = length.saturating_mul(size_of::<T>());
        // What the system does not map may still be had in another way.
        let map = (bytes >= LARGE).then(|| MmapOptions::new().len(bytes).map_anon());
        if let Some(Ok(map)) = map {
            // Where there are no large pages, small ones do as well.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Ok(Values::Pages {
                map,
                numbers: PhantomData,
            });
        }
        let mut values = Vec::new();
        values.try_reserve_exact(length).map_err(|_| {
            let mebibytes = bytes >> 20;
            Error::device(format!(
                "the memory does not suffice: {mebibytes} MiB more cannot be had; use a smaller batch or smaller images"
            ))
        })?;
        values.resize(length, T::zeroed());
        Ok(Values::Vector(values))
    }
}

impl<T: Pod> Deref for Values<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Values::Vector(values) => values,
            Values::Pages { map, .. } => bytemuck::cast_slice(map),
        }
    }
}

impl<T: Pod> DerefMut for Values<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Values::Vector(values) => values,
            Values::Pages { map, .. } => bytemuck::cast_slice_mut(map),
        }
    }
}

/// Elements in memory.
#[derive(Debug)]
pub(super) enum Buffer<R> {
    Real(Values<R>),
    Index(Values<u32>),
}

impl<R: HostReal> Buffer<R> {
    /// Nothing.
    pub(super) fn nothing() -> Self {
        Buffer::Index(Values::Vector(Vec::new()))
    }

    pub(super) fn zeros(element: Element, length: usize) -> Result<Self> {
        Ok(match element {
            Element::Real => Buffer::Real(Values::zeros(length)?),
            Element::Index => Buffer::Index(Values::zeros(length)?),
        })
    }

    pub(super) fn element(&self) -> Element {
        match self {
            Buffer::Real(_) => Element::Real,
            Buffer::Index(_) => Element::Index,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Buffer::Real(values) => values.len(),
            Buffer::Index(values) => values.len(),
        }
    }

    pub(super) fn from_array(array: Array) -> Self {
        match array.as_u32() {
            Some(values) => Buffer::Index(Values::Vector(values.to_vec())),
            None => Buffer::Real(Values::Vector(R::from_array(array))),
        }
    }

    pub(super) fn copy_of(view: View<R>) -> Self {
        match view.slice {
            Slice::Real(values) => Buffer::Real(Values::Vector(values.to_vec())),
            Slice::Index(values) => Buffer::Index(Values::Vector(values.to_vec())),
        }
    }

    pub(super) fn view(&self, spec: Spec) -> View<'_, R> {
        let n = spec.shape.elements();
        let slice = match self {
            Buffer::Real(values) => Slice::Real(&values[..n]),
            Buffer::Index(values) => Slice::Index(&values[..n]),
        };
        View {
            shape: spec.shape,
            slice,
        }
    }

    pub(super) fn view_mut(&mut self, spec: Spec) -> ViewMut<'_, R> {
        let n = spec.shape.elements();
        let slice = match self {
            Buffer::Real(values) => SliceMut::Real(&mut values[..n]),
            Buffer::Index(values) => SliceMut::Index(&mut values[..n]),
        };
        ViewMut {
            shape: spec.shape,
            slice,
        }
    }

    pub(super) fn copy_from(&mut self, view: View<R>) {
        match (self, view.slice) {
            (Buffer::Real(values), Slice::Real(new)) => values.copy_from_slice(new),
            (Buffer::Index(values), Slice::Index(new)) => values.copy_from_slice(new),
            _ => unreachable!("an assignment keeps the element type"),
        }
    }
}

/// An input, which stays where it is if it has the executor's precision.
pub(super) enum Given<'a, R: Clone> {
    Real(Cow<'a, [R]>),
    Index(&'a [u32]),
}

impl<'a, R: HostReal> Given<'a, R> {
    pub(super) fn new(array: &'a Array) -> Self {
        match array.as_u32() {
            Some(values) => Given::Index(values),
            None => Given::Real(R::of_array(array)),
        }
    }

    pub(super) fn view(&self, spec: Spec) -> View<'_, R> {
        let slice = match self {
            Given::Real(values) => Slice::Real(values),
            Given::Index(values) => Slice::Index(values),
        };
        View {
            shape: spec.shape,
            slice,
        }
    }
}

pub(super) fn to_array<R: HostReal>(view: View<R>) -> Result<Array> {
    match view.slice {
        Slice::Real(values) => Array::new(view.shape, R::into_numbers(values.to_vec())),
        Slice::Index(values) => Array::new(view.shape, values.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_and_keeps_what_is_written() -> Result<()> {
        for length in [0, 1, 1000, LARGE / 4 - 1, LARGE / 4, LARGE + 13] {
            let mut values = Values::<f32>::zeros(length)?;
            assert_eq!(values.len(), length);
            assert!(values.iter().all(|&x| x == 0.0));
            for (i, x) in values.iter_mut().enumerate() {
                *x = i as f32;
            }
            assert!(values.iter().enumerate().all(|(i, &x)| x == i as f32));
        }
        Ok(())
    }

    #[test]
    fn memory_that_nobody_has_is_an_error() {
        for length in [usize::MAX / 16, usize::MAX] {
            let refused = Values::<f64>::zeros(length).map(|values| values.len());
            let message = refused.map_err(|e| e.to_string());
            assert!(message.is_err_and(|text| text.contains("the memory does not suffice")));
        }
    }
}
