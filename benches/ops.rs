//! Speed of the operations that training spends its time in, on the host: floating-point operations a second appear as
//! elements a second. Shapes are those of ResNet18, and of ViT-B/16, at 16 images of 224 × 224.

#![expect(
    missing_docs,
    reason = "the function that criterion's macro makes has none"
)]

use axenic::array::{Array, Element, Numbers, Spec};
use axenic::graph::{AnyOp, Slice, SliceMut, Target, View, ViewMut};
use axenic::ops::{
    Activation, Attention, AttentionGrad, Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Convolution,
    Matmul, ScoreMap, Transpose,
};
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

/// Times an operation on inputs of the given kinds; indices are all 1.
fn measure(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    op: &dyn AnyOp,
    inputs: &[Spec],
    workers: &Workers,
) {
    let outputs = op.outputs(inputs).expect("the shapes fit");
    let numbers = |spec: &Spec| match spec.element {
        Element::Real => {
            let number = |i| ((i * 7919) % 1000) as f32 * 1e-3 - 0.5;
            let numbers: Vec<f32> = (0..spec.shape.elements()).map(number).collect();
            Array::new(spec.shape, numbers).expect("the length fits")
        }
        Element::Index => {
            Array::new(spec.shape, vec![1u32; spec.shape.elements()]).expect("the length fits")
        }
    };
    let data: Vec<Array> = inputs.iter().map(numbers).collect();
    let slices = data.iter().map(|array| match array.numbers() {
        Numbers::F32(numbers) => Slice::Real(numbers),
        Numbers::U32(numbers) => Slice::Index(numbers),
        Numbers::F64(_) => unreachable!("numbers are single"),
    });
    let views: Vec<View<f32>> = slices
        .zip(inputs)
        .map(|(slice, spec)| View {
            shape: spec.shape,
            slice,
        })
        .collect();
    let target = Target::Cpu {
        threads: workers.count(),
    };
    let mut scratch: Vec<Vec<f32>> = op
        .scratch(inputs, &target)
        .into_iter()
        .map(|n| vec![0.0; n])
        .collect();
    // As at inference: what is kept of an input is computed once.
    if let Some(kept) = op.kept(inputs) {
        let mut values = vec![0.0; kept.length];
        op.keep(&views, &mut values, workers);
        scratch.push(values);
    }
    let mut results: Vec<Vec<f32>> = outputs
        .iter()
        .map(|output| vec![0.0; output.shape.elements()])
        .collect();
    let mut group = criterion.benchmark_group(group);
    group.sample_size(10);
    group.throughput(Throughput::Elements(op.cost(inputs).flops));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let mut outputs: Vec<ViewMut<f32>> = outputs
                .iter()
                .zip(&mut results)
                .map(|(output, result)| ViewMut {
                    shape: output.shape,
                    slice: SliceMut::Real(black_box(result)),
                })
                .collect();
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
        let convolution = Convolution {
            conv,
            activation: Activation::Identity,
        };
        let y = AnyOp::outputs(&convolution, &specs).expect("the shapes fit")[0].shape;
        let input_grad = Conv2dInputGrad {
            conv,
            input_size: [size; 2],
        };
        let weight_grad = Conv2dWeightGrad {
            conv,
            kernel_size: [kernel; 2],
        };
        let mut run = |group, op: &dyn AnyOp, inputs: [Shape; 2]| {
            measure(
                criterion,
                group,
                name,
                op,
                &inputs.map(Spec::real),
                &workers,
            );
        };
        run("conv2d", &convolution, [x, weight]);
        run("conv2d_input_grad", &input_grad, [y, weight]);
        run("conv2d_weight_grad", &weight_grad, [x, y]);
    }
}

fn products(criterion: &mut Criterion) {
    let workers = Workers::new(0).expect("threads");
    let op = Matmul {
        transpose_a: Transpose::No,
        transpose_b: Transpose::No,
        activation: Activation::Identity,
    };
    for [m, n, k] in [[2048, 2048, 2048], [16, 9, 512]] {
        let inputs = [Spec::real([m, k]), Spec::real([k, n])];
        let name = format!("{m} × {n} × {k}");
        measure(criterion, "matmul", &name, &op, &inputs, &workers);
    }
}

fn attention(criterion: &mut Criterion) {
    let workers = Workers::new(0).expect("threads");
    let (tokens, heads) = (197, 12);
    let x = Spec::real([BATCH, tokens, 64 * heads]);
    let mask = Spec::index([BATCH, tokens]);
    let sums = Spec::real([BATCH, tokens, heads]);
    for (name, score_map) in [
        ("softmax", ScoreMap::Identity),
        ("logistic", ScoreMap::Sigmoid),
    ] {
        let op = Attention {
            num_heads: heads,
            scale: None,
            score_map,
        };
        let mut run = |group, op: &dyn AnyOp, inputs: &[Spec]| {
            measure(criterion, group, name, op, inputs, &workers);
        };
        run("attention", &op, &[x, x, x, mask]);
        run(
            "attention_grad",
            &AttentionGrad(op),
            &[x, x, x, mask, x, sums, x, sums],
        );
    }
}

criterion_group!(benches, convolutions, products, attention);
criterion_main!(benches);
