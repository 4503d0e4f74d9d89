//! Buffers on the device, and the ways between them and the host's arrays.

use super::device::Device;
use super::pipeline::BINDING_BYTES;
use crate::array::{Array, Element, Spec};
use crate::error::{Error, Result};
use crate::graph::Storage;
use crate::real::from_half;
use std::sync::mpsc;
use wgpu::{Buffer, BufferUsages, CommandEncoder};

/// Bytes of this many words: elements, or pairs of halves.
pub(super) fn bytes(words: usize) -> u64 {
    4 * words as u64
}

/// What is bound for a value: its bytes in whole vectors, one at least.
pub(super) fn binding_bytes(words: usize) -> u64 {
    bytes(words)
        .next_multiple_of(BINDING_BYTES)
        .max(BINDING_BYTES)
}

/// Zeros for this many words.
pub(super) fn buffer(device: &Device, words: usize) -> Buffer {
    device.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: binding_bytes(words),
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// Sends an array's numbers; they are there before anything submitted later runs.
pub(super) fn upload(device: &Device, buffer: &Buffer, array: &Array) {
    let send = |bytes: &[u8]| {
        if !bytes.is_empty() {
            device.queue.write_buffer(buffer, 0, bytes);
        }
    };
    match array.as_u32() {
        Some(indices) => send(bytemuck::cast_slice(indices)),
        None => send(bytemuck::cast_slice(&array.to_f32())),
    }
}

/// Copies the first `length` bytes of a buffer.
pub(super) fn copy(encoder: &mut CommandEncoder, from: &Buffer, to: &Buffer, length: u64) {
    if length > 0 {
        encoder.copy_buffer_to_buffer(from, 0, to, 0, length);
    }
}

/// Memory that both sides see, through which values come back: all in one buffer, mapped once.
pub(super) struct Staging {
    buffer: Buffer,
    parts: Vec<Part>,
}

/// A value that comes back, and how it is stored.
pub(super) type Part = (Spec, Storage);

fn part_bytes((spec, storage): &Part) -> u64 {
    bytes(storage.words(spec.shape.elements()))
}

impl Staging {
    /// Room for these values.
    pub(super) fn new(device: &Device, parts: Vec<Part>) -> Self {
        let total: u64 = parts.iter().map(part_bytes).sum();
        let buffer = device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("results"),
            size: total.max(4),
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self { buffer, parts }
    }

    /// Fills the parts from these buffers, in order.
    pub(super) fn fill<'a>(
        &self,
        encoder: &mut CommandEncoder,
        sources: impl IntoIterator<Item = &'a Buffer>,
    ) {
        let mut offset = 0;
        for (part, source) in self.parts.iter().zip(sources) {
            let length = part_bytes(part);
            if length > 0 {
                encoder.copy_buffer_to_buffer(source, 0, &self.buffer, offset, length);
            }
            offset += length;
        }
    }

    /// Waits for what was submitted, and gives the parts.
    pub(super) fn fetch(&self, device: &Device) -> Result<Vec<Array>> {
        let (send, receive) = mpsc::channel();
        self.buffer
            .map_async(wgpu::MapMode::Read, .., move |mapped| {
                // The receiver is gone only if waiting failed, which has its own error.
                let _ = send.send(mapped);
            });
        device.wait()?;
        let unreadable = || Error::device("the device's results cannot be read back");
        if !matches!(receive.try_recv(), Ok(Ok(()))) {
            return Err(unreadable());
        }
        let view = self.buffer.get_mapped_range(..).map_err(|_| unreadable())?;
        let mut rest: &[u8] = &view;
        let mut arrays = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (own, others) = rest.split_at(part_bytes(part) as usize);
            arrays.push(array(part, own)?);
            rest = others;
        }
        drop(view);
        self.buffer.unmap();
        Ok(arrays)
    }
}

/// The numbers of a value as it came back.
fn array((spec, storage): &Part, bytes: &[u8]) -> Result<Array> {
    match (spec.element, storage) {
        (Element::Index, _) => {
            Array::new(spec.shape, bytemuck::pod_collect_to_vec::<u8, u32>(bytes))
        }
        (Element::Real, Storage::Full) => {
            Array::new(spec.shape, bytemuck::pod_collect_to_vec::<u8, f32>(bytes))
        }
        (Element::Real, Storage::Half) => {
            let halves = bytemuck::pod_collect_to_vec::<u8, u16>(bytes);
            let halves = halves.into_iter().take(spec.shape.elements());
            Array::new(spec.shape, halves.map(from_half).collect::<Vec<_>>())
        }
    }
}
