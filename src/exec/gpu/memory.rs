//! Buffers on the device, and the ways between them and the host's arrays.

use super::device::Device;
use super::pipeline::BINDING_BYTES;
use crate::array::{Array, Element, Spec};
use crate::error::{Error, Result};
use std::sync::mpsc;
use wgpu::{Buffer, BufferUsages, CommandEncoder};

/// Bytes of this many elements, real or index.
pub(super) fn bytes(elements: usize) -> u64 {
    4 * elements as u64
}

/// What is bound for a value: its bytes in whole vectors, one at least.
pub(super) fn binding_bytes(elements: usize) -> u64 {
    bytes(elements)
        .next_multiple_of(BINDING_BYTES)
        .max(BINDING_BYTES)
}

/// Zeros for this many elements.
pub(super) fn buffer(device: &Device, elements: usize) -> Buffer {
    device.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: binding_bytes(elements),
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
    parts: Vec<Spec>,
}

impl Staging {
    /// Room for values of these specs.
    pub(super) fn new(device: &Device, parts: Vec<Spec>) -> Self {
        let total: u64 = parts.iter().map(|spec| bytes(spec.shape.elements())).sum();
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
        for (spec, source) in self.parts.iter().zip(sources) {
            let length = bytes(spec.shape.elements());
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
        for spec in &self.parts {
            let (own, others) = rest.split_at(4 * spec.shape.elements());
            arrays.push(match spec.element {
                Element::Real => {
                    Array::new(spec.shape, bytemuck::pod_collect_to_vec::<u8, f32>(own))?
                }
                Element::Index => {
                    Array::new(spec.shape, bytemuck::pod_collect_to_vec::<u8, u32>(own))?
                }
            });
            rest = others;
        }
        drop(view);
        self.buffer.unmap();
        Ok(arrays)
    }
}
