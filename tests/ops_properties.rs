//! What convolutions, poolings, resizing, products, lookups and attention are by their algebra, on random shapes: adjoint,
//! linear in parts, indifferent to the order of keys, and the same bits on any number of threads.

use axenic::array::{Array, Spec};
use axenic::conformance::{Sample, audit};
use axenic::exec::{Cpu, Executor, eval};
use axenic::graph::{Graph, Tensor};
use axenic::ops::{
    self, AlignCorners, Attention, CeilMode, Conv2d, CountIncludePad, Dropout, Interpolation,
};
use axenic::ops::{Noise, Pooling, ScoreMap, Transpose, WinogradTile};
use axenic::plan::Plan;
use axenic::rng::Stream;
use axenic::shape::Shape;
use proptest::prelude::*;
use std::sync::Arc;

/// A convolution that fits: the attributes, and the shapes of x, weight and y.
#[derive(Clone, Copy, Debug)]
struct Convolution {
    conv: Conv2d,
    x: Shape,
    weight: Shape,
    y: Shape,
}

prop_compose! {
    fn convolutions()(
        images in 1usize..4,
        groups in 1usize..4,
        channels in 1usize..5,
        maps in 1usize..5,
        kernel in [1usize..5, 1usize..5],
        stride in [1usize..4, 1usize..4],
        padding in [0usize..4, 0usize..4],
        dilation in [1usize..4, 1usize..4],
        more in [0usize..20, 0usize..20],
    ) -> Convolution {
        let conv = Conv2d { stride, padding, dilation, groups, ..Conv2d::default() };
        let size = [0, 1].map(|axis| {
            let window = dilation[axis] * (kernel[axis] - 1) + 1;
            window.saturating_sub(2 * padding[axis]).max(1) + more[axis]
        });
        let length = |axis: usize| {
            let window = dilation[axis] * (kernel[axis] - 1) + 1;
            (size[axis] + 2 * padding[axis] - window) / stride[axis] + 1
        };
        Convolution {
            conv,
            x: [images, groups * channels, size[0], size[1]].into(),
            weight: [groups * maps, channels, kernel[0], kernel[1]].into(),
            y: [images, groups * maps, length(0), length(1)].into(),
        }
    }
}

fn numbers(shape: Shape, seed: u64) -> Array {
    let mut stream = Stream::new(seed, "property", 0, 0);
    let values: Vec<f32> = (0..shape.elements())
        .map(|_| stream.normal() as f32)
        .collect();
    Array::new(shape, values).expect("the length fits")
}

fn dot(a: &Array, b: &Array) -> f64 {
    let (a, b) = (a.to_f64(), b.to_f64());
    a.iter().zip(b.iter()).map(|(a, b)| a * b).sum()
}

/// A graph with inputs `0`, `1` and one output.
fn record(
    shapes: [Shape; 2],
    op: impl for<'g> Fn(Tensor<'g>, Tensor<'g>) -> axenic::Result<Tensor<'g>>,
) -> Arc<Graph> {
    let graph = Graph::record(|r| {
        let a = r.input("0", Spec::real(shapes[0]))?;
        let b = r.input("1", Spec::real(shapes[1]))?;
        r.output("y", op(a, b)?)
    });
    Arc::new(graph.expect("it records"))
}

/// Runs the graph on the host with 1, 2, 3 and 7 threads: within the bounds, and the same bits always.
fn same_bits(graph: &Arc<Graph>, operands: [&Array; 2]) -> Result<(), TestCaseError> {
    let inputs = [("0", operands[0]), ("1", operands[1])];
    let run = |threads| {
        let mut cpu = Cpu::new(threads).expect("threads");
        let plan = Plan::new(graph.clone(), cpu.target()).expect("a plan");
        let plan = cpu.prepare(Arc::new(plan)).expect("it fits");
        let y = cpu.run(plan, &inputs, None).expect("it runs").remove(0);
        y.to_f32().iter().map(|y| y.to_bits()).collect::<Vec<u32>>()
    };
    let alone = run(1);
    for threads in [2, 3, 7] {
        prop_assert_eq!(&run(threads), &alone, "{} threads", threads);
    }
    let mut cpu = Cpu::new(2).expect("threads");
    for finding in audit(graph, &mut cpu, &[], &inputs, Sample::All).expect("it runs") {
        prop_assert!(finding.ratio <= 1.0, "{:?}", finding);
    }
    Ok(())
}

/// Convolutions of 3 × 3 by the host's fast algorithm, of several pieces of work, and their gradients. A window that sees
/// one pixel only, between pixels ten thousand times larger, needs the bound of that algorithm: the other pixels
/// cancel only nearly.
#[test]
fn winograd_gives_the_same_bits_on_any_number_of_threads() {
    let (x, weight, y) = ([1, 20, 29, 28], [33, 20, 3, 3], [1, 33, 29, 28]);
    let [x, weight, y] = [x, weight, y].map(Shape::from);
    for winograd in [WinogradTile::Two, WinogradTile::Four] {
        let conv = Conv2d {
            padding: [1, 1],
            winograd,
            ..Conv2d::default()
        };
        check_winograd(conv, [x, weight, y]);
    }
}

fn check_winograd(conv: Conv2d, [x, weight, y]: [Shape; 3]) {
    let forward = record([x, weight], |x, weight| ops::conv2d(x, weight, conv));
    let input_grad = record([y, weight], |y, weight| {
        ops::conv2d_input_grad(y, weight, conv, [29, 28])
    });
    let weight_grad = record([x, y], |x, y| ops::conv2d_weight_grad(x, y, conv, [3, 3]));
    let (images, windows, grads) = (numbers(x, 1), numbers(weight, 2), numbers(y, 3));
    let cases = [
        (&forward, [&images, &windows]),
        (&input_grad, [&grads, &windows]),
        (&weight_grad, [&images, &grads]),
        (&forward, [&checkered(&images), &centred(&windows)]),
        (&input_grad, [&checkered(&grads), &centred(&windows)]),
    ];
    for (graph, operands) in cases {
        same_bits(graph, operands).expect("the same bits, within the bounds");
    }
}

/// Every second pixel of images of 28 columns ten thousand times larger, as on a chessboard.
fn checkered(images: &Array) -> Array {
    let scaled = |(i, x): (usize, &f32)| match (i / 28 % 29 + i % 28) % 2 {
        0 => *x,
        _ => 1e4 * x,
    };
    let values: Vec<f32> = images.to_f32().iter().enumerate().map(scaled).collect();
    Array::new(images.shape(), values).expect("the length fits")
}

/// Windows of 3 × 3 with nothing but their middle.
fn centred(windows: &Array) -> Array {
    let kept = |(i, w): (usize, &f32)| if i % 9 == 4 { *w } else { 0.0 };
    let values: Vec<f32> = windows.to_f32().iter().enumerate().map(kept).collect();
    Array::new(windows.shape(), values).expect("the length fits")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// ⟨conv(x, w), y⟩ = ⟨x, input_grad(y, w)⟩ = ⟨w, weight_grad(x, y)⟩.
    #[test]
    fn the_gradients_of_a_convolution_are_its_adjoints(c in convolutions()) {
        let (x, weight, y) = (numbers(c.x, 1), numbers(c.weight, 2), numbers(c.y, 3));
        let [forward, input_grad, weight_grad] = eval(|r| {
            let (x, weight, y) = (r.constant(x.clone()), r.constant(weight.clone()), r.constant(y.clone()));
            Ok([
                ops::conv2d(x, weight, c.conv)?,
                ops::conv2d_input_grad(y, weight, c.conv, [c.x[2], c.x[3]])?,
                ops::conv2d_weight_grad(x, y, c.conv, [c.weight[2], c.weight[3]])?,
            ])
        }).expect("it runs");
        let product = dot(&forward, &y);
        let scale = 1e-11 * (1.0 + dot(&forward, &forward).sqrt() * dot(&y, &y).sqrt());
        prop_assert!((product - dot(&x, &input_grad)).abs() <= scale);
        prop_assert!((product - dot(&weight, &weight_grad)).abs() <= scale);
    }

    /// ⟨A B, Y⟩ = ⟨A, Y Bᵀ⟩ = ⟨B, Aᵀ Y⟩, and transposed operands are transposed.
    #[test]
    fn products_are_adjoint(m in 1usize..9, n in 1usize..9, k in 0usize..9, batch in 1usize..4) {
        let (a, b) = (numbers([batch, m, k].into(), 1), numbers([batch, k, n].into(), 2));
        let y = numbers([batch, m, n].into(), 3);
        let (yes, no) = (Transpose::Yes, Transpose::No);
        let [forward, a_grad, b_grad, transposed] = eval(|r| {
            let (a, b, y) = (r.constant(a.clone()), r.constant(b.clone()), r.constant(y.clone()));
            Ok([
                ops::matmul(a, b, no, no)?,
                ops::matmul(y, b, no, yes)?,
                ops::matmul(a, y, yes, no)?,
                ops::matmul(b, a, yes, yes)?,
            ])
        }).expect("it runs");
        let product = dot(&forward, &y);
        prop_assert!((product - dot(&a, &a_grad)).abs() <= 1e-12 * (1.0 + product.abs()) * 100.0);
        prop_assert!((product - dot(&b, &b_grad)).abs() <= 1e-12 * (1.0 + product.abs()) * 100.0);
        let (forward, transposed) = (forward.to_f64(), transposed.to_f64());
        for (index, value) in forward.iter().enumerate() {
            let (matrix, i, j) = (index / (m * n), index / n % m, index % n);
            prop_assert_eq!(transposed[(matrix * n + j) * m + i], *value);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn threads_change_no_bit_of_a_convolution(c in convolutions()) {
        let (x, weight, y) = (numbers(c.x, 1), numbers(c.weight, 2), numbers(c.y, 3));
        let (size, kernel) = ([c.x[2], c.x[3]], [c.weight[2], c.weight[3]]);
        same_bits(&record([c.x, c.weight], |x, w| ops::conv2d(x, w, c.conv)), [&x, &weight])?;
        let input_grad = record([c.y, c.weight], |y, w| ops::conv2d_input_grad(y, w, c.conv, size));
        same_bits(&input_grad, [&y, &weight])?;
        let weight_grad = record([c.x, c.y], |x, y| ops::conv2d_weight_grad(x, y, c.conv, kernel));
        same_bits(&weight_grad, [&x, &y])?;
    }

    #[test]
    fn threads_change_no_bit_of_a_product(
        rows in prop::sample::select(vec![1usize, 2, 17, 130]),
        columns in 1usize..600,
        inner in 0usize..70,
        transposes in [any::<bool>(), any::<bool>()],
    ) {
        let [ta, tb] = transposes.map(|yes| if yes { Transpose::Yes } else { Transpose::No });
        let a = if ta == Transpose::Yes { [inner, rows] } else { [rows, inner] };
        let b = if tb == Transpose::Yes { [columns, inner] } else { [inner, columns] };
        let graph = record([a.into(), b.into()], |a, b| ops::matmul(a, b, ta, tb));
        same_bits(&graph, [&numbers(a.into(), 1), &numbers(b.into(), 2)])?;
    }

    #[test]
    fn threads_change_no_bit_of_an_attention(
        samples in 1usize..3,
        tokens in 1usize..140,
        num_heads in 1usize..4,
        head_dim in 1usize..9,
        sigmoid in any::<bool>(),
    ) {
        let op = attention_of(num_heads, sigmoid);
        let shape = [samples, tokens, num_heads * head_dim].into();
        let graph = record([shape, shape], |q, k| {
            let mask = q.recorder().constant(mask(samples, tokens));
            let (y, sums) = ops::attention(q, k, k, Some(mask), op.clone())?;
            let grads = ops::attention_grad([q, k, k, mask], [y, sums], [k, sums], op.clone())?;
            grads.into_iter().try_fold(y, ops::add)
        });
        same_bits(&graph, [&numbers(shape, 1), &numbers(shape, 2)])?;
    }

    #[test]
    fn threads_change_no_bit_of_a_lookup(rows in 1usize..400, width in 1usize..90, count in 1usize..400) {
        let (table, y) = ([rows, width].into(), [count, width].into());
        let graph = record([table, y], |table, y| {
            let indices = table.recorder().constant(picks(rows, count));
            let grad = ops::gather_grad(indices, ops::mul(ops::gather(table, indices)?, y)?, rows)?;
            let key = table.recorder().constant([3u32, 4]);
            ops::dropout(grad, key, Dropout { p: 0.4, noise: Noise::Element, stream: 5 })
        });
        same_bits(&graph, [&numbers(table, 1), &numbers(y, 2)])?;
    }

    /// ⟨gather(A, i), Y⟩ = ⟨A, gather_grad(i, Y)⟩.
    #[test]
    fn the_gradient_of_a_lookup_is_its_adjoint(rows in 1usize..9, width in 0usize..5, count in 0usize..20) {
        let (table, y) = (numbers([rows, width].into(), 1), numbers([count, width].into(), 2));
        let [forward, grad] = eval(|r| {
            let (table, y) = (r.constant(table.clone()), r.constant(y.clone()));
            let indices = r.constant(picks(rows, count));
            Ok([ops::gather(table, indices)?, ops::gather_grad(indices, y, rows)?])
        }).expect("it runs");
        prop_assert!((dot(&forward, &y) - dot(&table, &grad)).abs() <= 1e-12 * (count * width + 1) as f64);
    }

    /// The weights of a query sum to 1, y is what they make of the values, and keys may stand in any order.
    #[test]
    fn attention_is_a_mean_of_the_values(
        queries in 1usize..9,
        keys in 1usize..80,
        num_heads in 1usize..4,
        head_dim in 1usize..6,
        sigmoid in any::<bool>(),
    ) {
        let op = attention_of(num_heads, sigmoid);
        let width = num_heads * head_dim;
        let shape = |tokens: usize| -> Shape { [2, tokens, width].into() };
        let (q, k, v) = (numbers(shape(queries), 1), numbers(shape(keys), 2), numbers(shape(keys), 3));
        let [y, turned, weights] = eval(|r| {
            let [q, k, v] = [&q, &k, &v].map(|x| r.constant(x.clone()));
            let mask = r.constant(mask(2, keys));
            let (y, sums) = ops::attention(q, k, v, Some(mask), op.clone())?;
            let weights = ops::attention_weights(q, k, Some(mask), sums, op.clone())?;
            let order: Vec<u32> = (0..keys as u32).rev().collect();
            let order = r.constant(Array::new([keys], order)?);
            let (k, v) = (reordered(k, order)?, reordered(v, order)?);
            let mask = r.constant(reversed(mask_of(2, keys), keys));
            let (turned, _) = ops::attention(q, k, v, Some(mask), op.clone())?;
            Ok([y, turned, weights])
        }).expect("it runs");
        let (y, turned, weights, v) = (y.to_f64(), turned.to_f64(), weights.to_f64(), v.to_f64());
        for (i, (y, turned)) in y.iter().zip(turned.iter()).enumerate() {
            let (token, channel) = (i / width, i % width);
            let (sample, query) = (token / queries, token % queries);
            let row = ((sample * num_heads + channel / head_dim) * queries + query) * keys;
            let row = &weights[row..row + keys];
            prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let values = (0..keys).map(|key| v[(sample * keys + key) * width + channel]);
            let mean: f64 = row.iter().zip(values).map(|(weight, value)| weight * value).sum();
            prop_assert!((mean - y).abs() < 1e-12 && (turned - y).abs() < 1e-12);
        }
    }
}

prop_compose! {
    /// Windows over images of some size: sliding, with either rounding, or adaptive.
    fn poolings()(
        adaptive in any::<bool>(),
        kernel_size in [1usize..5, 1usize..5],
        stride in [1usize..4, 1usize..4],
        padded in [any::<bool>(), any::<bool>()],
        rounds_up in any::<bool>(),
        more in [0usize..9, 0usize..9],
    ) -> (Pooling, [usize; 2]) {
        let padding = [0, 1].map(|axis| if padded[axis] { kernel_size[axis] / 2 } else { 0 });
        let ceil_mode = if rounds_up { CeilMode::Yes } else { CeilMode::No };
        let pooling = if adaptive {
            Pooling::Adaptive { output_size: kernel_size }
        } else {
            Pooling::Sliding { kernel_size, stride, padding, ceil_mode }
        };
        let least = [0, 1].map(|axis| (kernel_size[axis] - 2 * padding[axis]).max(1));
        (pooling, [least[0] + more[0], least[1] + more[1]])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    /// ⟨mean(x), y⟩ = ⟨x, mean_grad(y)⟩, and a largest element is what its index says.
    #[test]
    fn poolings_are_adjoint((pooling, [h, w]) in poolings(), counts in any::<bool>()) {
        let count = if counts { CountIncludePad::Yes } else { CountIncludePad::No };
        let x = numbers([2, 3, h, w].into(), 1);
        let [y, largest, index, x_grad] = eval(|r| {
            let x = r.constant(x.clone());
            let y = ops::avg_pool2d(x, pooling, count)?;
            let (largest, index) = ops::max_pool2d(x, pooling)?;
            Ok([y, largest, index, ops::avg_pool2d_grad(largest, pooling, count, [h, w])?])
        }).expect("it runs");
        let scale = 1e-12 * (1.0 + dot(&x, &x)) * 10.0;
        prop_assert!((dot(&y, &largest) - dot(&x, &x_grad)).abs() <= scale);
        let per_plane = largest.shape()[2] * largest.shape()[3];
        let (values, largest, index) = (x.to_f64(), largest.to_f64(), index.to_f64());
        for (i, largest) in largest.iter().enumerate() {
            prop_assert_eq!(values[i / per_plane * h * w + index[i] as usize], *largest);
        }
        let shape = x.shape();
        let graph = record([shape, shape], |a, b| {
            let y = ops::avg_pool2d(ops::mul(a, b)?, pooling, count)?;
            let (largest, index) = ops::max_pool2d(a, pooling)?;
            let grad = ops::max_pool2d_grad(ops::mul(largest, y)?, index, pooling, [h, w])?;
            ops::add(grad, ops::avg_pool2d_grad(y, pooling, count, [h, w])?)
        });
        same_bits(&graph, [&x, &numbers(shape, 2)])?;
    }

    /// ⟨resize(x), y⟩ = ⟨x, resize_grad(y)⟩, and a flat image stays flat.
    #[test]
    fn resizing_is_adjoint(
        from in [1usize..14, 1usize..14],
        to in [1usize..14, 1usize..14],
        interpolation in prop::sample::select(vec![
            Interpolation::Nearest,
            Interpolation::Bilinear(AlignCorners::No),
            Interpolation::Bilinear(AlignCorners::Yes),
        ]),
    ) {
        let (x, y) = (numbers([2, 3, from[0], from[1]].into(), 1), numbers([2, 3, to[0], to[1]].into(), 2));
        let [forward, grad, flat] = eval(|r| {
            let (x, y) = (r.constant(x.clone()), r.constant(y.clone()));
            let flat = ops::resize(ops::fill(r, [1, 1, from[0], from[1]], 3.0)?, to, interpolation)?;
            Ok([ops::resize(x, to, interpolation)?, ops::resize_grad(y, from, interpolation)?, flat])
        }).expect("it runs");
        let scale = 1e-12 * (1.0 + dot(&x, &x) + dot(&y, &y)) * 10.0;
        prop_assert!((dot(&forward, &y) - dot(&x, &grad)).abs() <= scale);
        prop_assert!(flat.to_f64().iter().all(|y| (y - 3.0).abs() < 1e-14));
        let graph = record([x.shape(), y.shape()], |x, y| {
            ops::resize_grad(ops::mul(ops::resize(x, to, interpolation)?, y)?, from, interpolation)
        });
        same_bits(&graph, [&x, &y])?;
    }
}

fn attention_of(num_heads: usize, sigmoid: bool) -> Attention {
    let score_map = if sigmoid {
        ScoreMap::Sigmoid
    } else {
        ScoreMap::Identity
    };
    Attention {
        num_heads,
        scale: None,
        score_map,
    }
}

/// Every third key masked, never all of them.
fn mask_of(samples: usize, keys: usize) -> Vec<u32> {
    (0..samples * keys)
        .map(|i| u32::from(i % keys % 3 != 1))
        .collect()
}

fn mask(samples: usize, keys: usize) -> Array {
    Array::new([samples, keys], mask_of(samples, keys)).expect("the length fits")
}

fn reversed(mut mask: Vec<u32>, keys: usize) -> Array {
    mask.chunks_mut(keys).for_each(<[u32]>::reverse);
    Array::new([mask.len() / keys, keys], mask).expect("the length fits")
}

/// The tokens of x [N, T, D] in another order, by way of a table of tokens.
fn reordered<'g>(x: Tensor<'g>, order: Tensor<'g>) -> axenic::Result<Tensor<'g>> {
    let [n, t, d] = [0, 1, 2].map(|axis: usize| x.shape()[axis]);
    let by_tokens = ops::reshape(ops::transpose(x, &[1, 0, 2])?, [t, n * d])?;
    let tokens = ops::reshape(ops::gather(by_tokens, order)?, [t, n, d])?;
    ops::transpose(tokens, &[1, 0, 2])
}

/// Some of `rows` indices, with repetitions.
fn picks(rows: usize, count: usize) -> Array {
    let indices: Vec<u32> = (0..count).map(|i| (i * i * 7 % rows) as u32).collect();
    Array::new([count], indices).expect("the length fits")
}
