//! Products by a device's cooperative matrices: hostile operands, infinities, and that what is not proven is not used.

#![cfg(feature = "gpu")]

use axenic::conformance::check_case;
use axenic::exec::gpu::{Checks, Gpu, Offer};
use axenic::exec::{Executor, Prepared, Watch};
use axenic::graph::{Limits, Parts, Target};
use axenic::ops::{RoomCase, room};
use axenic::plan::Plan;
use axenic::rng::Stream;
use axenic::{Array, Result};
use std::io::Write as _;
use std::sync::Arc;

mod common;

/// A device whose matrices have proved right; `None`, said aloud, where there is none.
fn gpu() -> Option<Gpu> {
    let gpu = common::gpu(Checks::Off)?;
    if gpu.adapter().limits.matrices.is_some() {
        return Some(gpu);
    }
    let offer = &gpu.adapter().matrices;
    writeln!(std::io::stderr(), "skipped: cooperative matrices: {offer}").expect("it is open");
    None
}

/// Runs plans for a target other than its own: a variant.
struct Variant<'a> {
    gpu: &'a mut Gpu,
    target: Target,
}

impl Executor for Variant<'_> {
    fn description(&self) -> String {
        self.gpu.description()
    }

    fn target(&self) -> Target {
        self.target
    }

    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
        self.gpu.prepare(plan)
    }

    fn plan(&self, prepared: Prepared) -> &Arc<Plan> {
        self.gpu.plan(prepared)
    }

    fn write(&mut self, name: &str, value: Array) -> Result<()> {
        self.gpu.write(name, value)
    }

    fn read(&mut self, name: &str) -> Result<Array> {
        self.gpu.read(name)
    }

    fn run(
        &mut self,
        plan: Prepared,
        inputs: &[(&str, &Array)],
        watch: Option<&mut Watch>,
    ) -> Result<Vec<Array>> {
        self.gpu.run(plan, inputs, watch)
    }
}

fn parts_of(target: &Target) -> Option<Parts> {
    match target {
        Target::Gpu(limits) => limits.tiling.parts,
        _ => None,
    }
}

/// The device's variants whose matrices are given these, one for each tile.
fn variants(gpu: &Gpu, parts: Parts) -> Vec<Target> {
    let groups = gpu.target().variants().into_iter();
    let mut own = groups.filter(|group| group.iter().all(|target| parts_of(target) == Some(parts)));
    own.next().expect("matrices have variants")
}

const SIZE: [usize; 3] = [70, 66, 100];

/// The product of a and b, numbers drawn by row and column.
fn product(a: impl FnMut(&mut Stream) -> f32, b: impl FnMut(&mut Stream) -> f32) -> RoomCase {
    let [m, n, k] = SIZE;
    let draw = |[rows, columns]: [usize; 2], mut of: Box<dyn FnMut(&mut Stream) -> f32 + '_>| {
        let mut stream = Stream::new(1, "operand", 0, rows as u64);
        let values: Vec<f32> = (0..rows * columns).map(|_| of(&mut stream)).collect();
        Array::new([rows, columns], values).expect("as many as there are")
    };
    let matmul = room("matmul").expect("there is one");
    let case = matmul.cases().into_iter().next().expect("there are cases");
    RoomCase {
        about: "hostile",
        inputs: vec![draw([m, k], Box::new(a)), draw([k, n], Box::new(b))],
        ..case
    }
}

/// Checks the product alone, without the gradients, in all tiles.
fn check(gpu: &mut Gpu, parts: Parts, about: &str, case: &RoomCase) {
    for target in variants(gpu, parts) {
        let mut variant = Variant { gpu, target };
        let matmul = room("matmul").expect("there is one");
        let findings = check_case(matmul, case, &mut variant).expect("it runs");
        let own = &findings[0];
        assert!(own.ratio <= 1.0, "{about}, {parts:?}: {own:?}");
    }
}

fn wide(stream: &mut Stream, from: f64, to: f64) -> f32 {
    let magnitude = 10f64.powf(stream.range(from, to)) as f32;
    match stream.below(8) {
        0 => 0.0,
        1..4 => -magnitude,
        _ => magnitude,
    }
}

#[test]
fn split_products_of_hostile_operands_are_within_their_bounds() {
    let Some(mut gpu) = gpu() else { return };
    let cases = [
        (
            "from 1e-30 to 1e30",
            product(|s| wide(s, -30.0, 30.0), |s| wide(s, -30.0, 5.0)),
        ),
        (
            "the smallest normal and large",
            product(|s| wide(s, -37.9, -36.0), |s| wide(s, 25.0, 38.0)),
        ),
        (
            "the smallest of all",
            product(|s| wide(s, -45.0, -44.0), |s| wide(s, -45.0, -44.0)),
        ),
        (
            "sums that overflow on the way only",
            product(|s| wide(s, 18.9, 19.1), |s| wide(s, 17.0, 18.0)),
        ),
        ("zeros", product(|_| 0.0, |s| wide(s, -3.0, 3.0))),
        (
            "parts that are subnormal",
            product(|s| wide(s, -9.0, 0.0), |s| wide(s, -9.0, 0.0)),
        ),
        (
            "all of one sign",
            product(|s| s.range(1.0, 2.0) as f32, |s| s.range(1.0, 2.0) as f32),
        ),
    ];
    for (about, case) in &cases {
        check(&mut gpu, Parts::Split, about, case);
    }
}

#[test]
fn products_of_halves_are_within_their_bounds() {
    let Some(mut gpu) = gpu() else { return };
    let normal = |s: &mut Stream| s.normal() as f32;
    let cases = [
        ("normal", product(normal, normal)),
        (
            "subnormal in half precision",
            product(|s| wide(s, -8.0, -4.0), |s| wide(s, -2.0, 2.0)),
        ),
        (
            "large",
            product(|s| wide(s, 3.0, 4.8), |s| wide(s, 3.0, 4.8)),
        ),
    ];
    for (about, case) in &cases {
        check(&mut gpu, Parts::Halves, about, case);
    }
}

/// Wherever the definition gives an infinity or no number, so does the device, and nowhere else.
#[test]
fn infinities_stay_what_they_are() {
    let Some(mut gpu) = gpu() else { return };
    for strange in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        // 1 and 2 are halves without a low part; an eighth of b is zero.
        let mut number = 0;
        let sparse = |s: &mut Stream| {
            number += 1;
            match number % 577 {
                0 => strange,
                n if n % 2 == 0 => 1.0 + (n % 3) as f32,
                _ => s.normal() as f32,
            }
        };
        let case = product(sparse, |s| wide(s, -1.0, 1.0));
        for parts in Parts::ALL {
            check(&mut gpu, parts, &format!("with {strange}"), &case);
        }
    }
    // What half precision does not hold is infinite in halves, but not where it is split.
    let mut large = product(|s| s.normal() as f32, |s| s.normal() as f32);
    let [m, _, k] = SIZE;
    let mut a = large.inputs[0].to_f32().into_owned();
    a[0] = 1e6;
    large.inputs[0] = Array::new([m, k], a).expect("as many as before");
    check(&mut gpu, Parts::Split, "with a million", &large);
}

#[test]
fn only_a_discrete_device_multiplies_so_unasked() {
    let Some(gpu) = gpu() else { return };
    let (adapter, target) = (gpu.adapter(), gpu.target());
    assert!(matches!(adapter.matrices, Offer::Proven(_)));
    let is_discrete = adapter.kind == axenic::exec::gpu::Kind::Discrete;
    assert!(!is_discrete || parts_of(&target) == Some(Parts::Split));
    let is_software = adapter.kind == axenic::exec::gpu::Kind::Software;
    assert!(!is_software || parts_of(&target).is_none());
    let parts: Vec<_> = target
        .variants()
        .iter()
        .map(|group| parts_of(&group[0]))
        .collect();
    let expected = [None, Some(Parts::Split), None, Some(Parts::Halves)];
    assert_eq!(parts, expected, "of either storage");
}

/// Where there are no matrices, lanes are all there is, and a plan that would use some is refused.
#[test]
fn a_device_without_matrices_has_lanes_only() {
    use axenic::graph::{Graph, Matrices, Side};
    let Some(mut gpu) = common::gpu(Checks::Off) else {
        return;
    };
    let least = Target::Gpu(Limits::default());
    assert_eq!(least.variants().len(), 1);
    let Target::Gpu(limits) = gpu.target() else {
        panic!("a gpu plans for a gpu");
    };
    let foreign = match limits.matrices {
        Some(own) => Matrices {
            subgroup: 2 * own.subgroup,
            ..own
        },
        None => Matrices {
            side: Side::Eight,
            subgroup: 8,
        },
    };
    let limits = Limits {
        matrices: Some(foreign),
        ..limits
    };
    let graph = Graph::record(|r| {
        let x = r.input("x", axenic::array::Spec::real([2]))?;
        r.output("y", axenic::ops::relu(x)?)
    });
    let graph = Arc::new(graph.expect("it records"));
    let plan = Plan::new(graph, Target::Gpu(limits)).expect("it can be planned");
    gpu.prepare(Arc::new(plan))
        .expect_err("it is for another device");
}
