//! Speed of the operations that training spends its time in, on the host: floating-point operations a second appear as
//! elements a second. Shapes are those of ResNet18 at 16 images of 224 × 224.

#![expect(
    missing_docs,
    reason = "the function that criterion's macro makes has none"
)]

use axenic::array::Spec;
use axenic::graph::{AnyOp, Slice, SliceMut, Target, View, ViewMut};
use axenic::ops::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Matmul, Transpose};
use axenic::shape::Shape;
use axenic::workers::Workers;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const BATCH: usize = 16;

/// Name, channels, maps, size of x, size of the window, stride.
const CONVOLUTIONS: [(&str, usize, usize, usize, usize, usize); 11] = [
    ("stem", 3, 64, 224, 7, 2),
    ("layer1", 64, 64, 56, 3, 1),
    ("layer2.0.conv1", 64, 128, 56, 3, 2),
    ("layer2.0.shortcut", 64, 128, 56, 1, 2),
    ("layer2", 128, 128, 28, 3, 1),
    ("layer3.0.conv1", 128, 256, 28, 3, 2),
    ("layer3.0.shortcut", 128, 256, 28, 1, 2),
    ("layer3", 256, 256, 14, 3, 1),
    ("layer4.0.conv1", 256, 512, 14, 3, 2),
    ("layer4.0.shortcut", 256, 512, 14, 1, 2),
    ("layer4", 512, 512, 7, 3, 1),
];

/// Times an operation on inputs of the given shapes.
fn measure(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    op: &dyn AnyOp,
    inputs: &[Shape],
    workers: &Workers,
) {
    let specs: Vec<Spec> = inputs.iter().map(|&shape| Spec::real(shape)).collect();
    let output = op.outputs(&specs).expect("the shapes fit")[0].shape;
    let numbers = |shape: &Shape| -> Vec<f32> {
        (0..shape.elements())
            .map(|i| ((i * 7919) % 1000) as f32 * 1e-3 - 0.5)
            .collect()
    };
    let data: Vec<Vec<f32>> = inputs.iter().map(numbers).collect();
    let views: Vec<View<f32>> = inputs
        .iter()
        .zip(&data)
        .map(|(&shape, data)| View {
            shape,
            slice: Slice::Real(data),
        })
        .collect();
    let target = Target::Cpu {
        threads: workers.count(),
    };
    let mut scratch: Vec<Vec<f32>> = op
        .scratch(&specs, &target)
        .into_iter()
        .map(|n| vec![0.0; n])
        .collect();
    let mut result = vec![0.0; output.elements()];
    let mut group = criterion.benchmark_group(group);
    group.sample_size(10);
    group.throughput(Throughput::Elements(op.cost(&specs).flops));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let mut outputs = [ViewMut {
                shape: output,
                slice: SliceMut::Real(black_box(&mut result)),
            }];
            let mut scratch: Vec<&mut [f32]> = scratch.iter_mut().map(Vec::as_mut_slice).collect();
            op.eval_cpu(&views, &mut outputs, &mut scratch, workers);
        });
    });
    group.finish();
}

fn convolutions(criterion: &mut Criterion) {
    let workers = Workers::new(0).expect("threads");
    for (name, channels, maps, size, kernel, stride) in CONVOLUTIONS {
        let conv = Conv2d {
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            ..Conv2d::default()
        };
        let x = Shape::from([BATCH, channels, size, size]);
        let weight = Shape::from([maps, channels, kernel, kernel]);
        let specs = [Spec::real(x), Spec::real(weight)];
        let y = AnyOp::outputs(&conv, &specs).expect("the shapes fit")[0].shape;
        let input_grad = Conv2dInputGrad {
            conv,
            input_size: [size; 2],
        };
        let weight_grad = Conv2dWeightGrad {
            conv,
            kernel_size: [kernel; 2],
        };
        let mut run = |group, op: &dyn AnyOp, inputs: [Shape; 2]| {
            measure(criterion, group, name, op, &inputs, &workers);
        };
        run("conv2d", &conv, [x, weight]);
        run("conv2d_input_grad", &input_grad, [y, weight]);
        run("conv2d_weight_grad", &weight_grad, [x, y]);
    }
}

fn products(criterion: &mut Criterion) {
    let workers = Workers::new(0).expect("threads");
    let op = Matmul {
        transpose_a: Transpose::No,
        transpose_b: Transpose::No,
    };
    for [m, n, k] in [[2048, 2048, 2048], [16, 9, 512]] {
        let inputs = [Shape::from([m, k]), Shape::from([k, n])];
        let name = format!("{m} × {n} × {k}");
        measure(criterion, "matmul", &name, &op, &inputs, &workers);
    }
}

criterion_group!(benches, convolutions, products);
criterion_main!(benches);
