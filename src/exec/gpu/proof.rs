//! What a device's cooperative matrices have to prove before they are used: products of whole numbers over several steps,
//! whose sums are exact in any order, must be right to the last bit. (Drivers are known that lose what a loop carries in
//! such matrices, or add it twice; and modules with such matrices have Vulkan's own memory model, in which naga 30 does not
//! mark what is shared between invocations, and leaves it to the driver that barriers make it visible.)

use super::device::Device;
use super::memory::{Staging, binding_bytes, buffer, upload};
use super::pipeline::{Checks, Pipelines, uniform_bytes};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{
    Binding, Launch, Matrices, Parts, Products, SCALES_BINDING, Shader, Storage, library,
};

static PROOF: Shader = Shader {
    name: "proof",
    text: include_str!("proof.wgsl"),
    uses: &[library::TILE, library::TILE_LANES],
};

/// The side of the largest tile.
const SIDE: usize = 128;
/// The terms of each sum: five whole steps and three terms.
const DEPTH: u32 = 83;
/// The words from which scales follow, and the largest magnitude that the numbers are told to have.
const SCALES: usize = 512;
const LARGEST: f32 = 32_768.0;

/// Numbers of a product: whole ones of a range about zero, those of a times a unit.
struct Numbers {
    about: &'static str,
    a_range: u32,
    b_range: u32,
    a_unit: f32,
}

impl Numbers {
    const fn new(about: &'static str, [a_range, b_range]: [u32; 2], a_unit: f32) -> Self {
        Self {
            about,
            a_range,
            b_range,
            a_unit,
        }
    }
}

/// Numbers of sixteen bits need both parts; those of a smallest unit are subnormal in half precision. All sums are below 2²⁴
/// units.
const SPLIT: [Numbers; 3] = [
    Numbers::new("a of sixteen bits", [65_521, 7], 1.0),
    Numbers::new("b of sixteen bits", [7, 65_521], 1.0),
    // Their scale is 2⁻¹.
    Numbers::new("a subnormal", [7, 7], 1.0 / (1 << 23) as f32),
];
const HALVES: [Numbers; 2] = [
    Numbers::new("whole numbers", [7, 7], 1.0),
    Numbers::new("a subnormal", [7, 7], 1.0 / (1 << 24) as f32),
];

/// Computes all products.
///
/// # Errors
/// The device refuses, or a result is wrong.
pub(super) fn prove(device: &Device, matrices: Matrices) -> Result<()> {
    let mut pipelines = Pipelines::new(Checks::Off);
    for (parts, numbers) in [(Parts::Split, &SPLIT[..]), (Parts::Halves, &HALVES[..])] {
        for numbers in numbers {
            let products = Products::Matrices(matrices, parts);
            let got = multiply(device, &mut pipelines, products, numbers)?;
            compare(&got, numbers)
                .map_err(|e| e.within(format!("a product of numbers with {}", numbers.about)))?;
        }
    }
    Ok(())
}

fn multiply(
    device: &Device,
    pipelines: &mut Pipelines,
    products: Products,
    numbers: &Numbers,
) -> Result<Array> {
    let mut launch = Launch::new(&PROOF, [Binding::Output(0)])
        .words(&[numbers.a_range, numbers.b_range, DEPTH].map(|word| word as usize))
        .float(f64::from(numbers.a_unit))
        .constant("TILE_HIGH", 2.0)
        .constant("TILE_WIDE", 2.0)
        .by(products);
    launch.scales = (products.parts() == Some(Parts::Split)).then_some(Binding::Scratch(0));
    let pipeline = pipelines.get(device, &launch)?;
    let (y, scales) = (buffer(device, SIDE * SIDE), buffer(device, SCALES));
    upload(
        device,
        &scales,
        &Array::new([SCALES], vec![LARGEST; SCALES])?,
    );
    let words = device.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("words"),
        size: uniform_bytes(&launch),
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    device
        .queue
        .write_buffer(&words, 0, bytemuck::cast_slice(&launch.words));
    let whole = |binding, buffer| wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset: 0,
            size: None,
        }),
    };
    let mut entries = vec![whole(0, &y), whole(1, &words)];
    entries.extend(launch.scales.map(|_| whole(SCALES_BINDING, &scales)));
    let bindings = device.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("proof"),
        layout: &pipeline.layout,
        entries: &entries,
    });
    debug_assert_eq!(y.size(), binding_bytes(SIDE * SIDE));
    let mut encoder = device.encoder();
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
    let staging = Staging::new(device, vec![(Spec::real([SIDE, SIDE]), Storage::Full)]);
    staging.fill(&mut encoder, [&y]);
    device.submit(encoder)?;
    let got = staging.fetch(device)?.pop();
    got.ok_or_else(|| Error::device("the device's results cannot be read back"))
}

fn compare(got: &Array, numbers: &Numbers) -> Result<()> {
    for (place, &got) in got.to_f32().iter().enumerate() {
        let (row, column) = ((place / SIDE) as u32, (place % SIDE) as u32);
        let terms = (0..DEPTH).map(|depth| {
            number(row, depth, numbers.a_range) * number(column, depth, numbers.b_range)
        });
        let expected = terms.sum::<i64>() as f32 * numbers.a_unit;
        if got != expected {
            return Err(Error::device(format!(
                "the device computes {got} where {expected} is right, in row {row} and column {column}"
            )));
        }
    }
    Ok(())
}

/// As in `proof.wgsl`.
fn number(i: u32, depth: u32, range: u32) -> i64 {
    i64::from((i * 7919 + depth * 104_729) % range) - i64::from(range / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_result_is_found() {
        let numbers = &SPLIT[0];
        let right = (0..SIDE * SIDE).map(|place| {
            let (row, column) = ((place / SIDE) as u32, (place % SIDE) as u32);
            let terms = (0..DEPTH).map(|depth| {
                number(row, depth, numbers.a_range) * number(column, depth, numbers.b_range)
            });
            terms.sum::<i64>() as f32
        });
        let mut right: Vec<f32> = right.collect();
        let largest = right.iter().fold(0.0, |top: f32, x| top.max(x.abs()));
        assert!(largest < 16_777_216.0, "sums are exact in single precision");
        let array = |values: &[f32]| Array::new([SIDE, SIDE], values.to_vec()).expect("it fits");
        compare(&array(&right), numbers).expect("all are right");
        right[SIDE + 3] += 1.0;
        let error = compare(&array(&right), numbers).expect_err("one is wrong");
        assert!(
            error.to_string().contains("in row 1 and column 3"),
            "{error}"
        );
    }
}
