//! The cases of the attention, its gradient and its weights.

use super::{TILE, ones};
use crate::array::{Array, Spec};
use crate::graph::{Case, Op as _, Slice, SliceMut, View, ViewMut};
use crate::ops::support::{array, indices, normal, uniform};
use crate::ops::{Attention, ScoreMap};
use crate::shape::Shape;

/// Which keys a case masks.
#[derive(Clone, Copy)]
enum Masked {
    None,
    /// A third of them.
    Third,
    All,
    /// All but the second tile of keys of the first sample, and the fourth of the second.
    Tiles,
}

use Masked::{All, None as Nothing, Third, Tiles};
use ScoreMap::{Identity, Sigmoid};

/// About; heads; samples, queries, keys, channels; what is masked; map of the scores.
type Row = (&'static str, usize, [usize; 4], Masked, ScoreMap);

const ROWS: [Row; 17] = [
    ("a few", 2, [2, 5, 7, 6], Nothing, Identity),
    ("masked keys", 3, [3, 7, 11, 6], Third, Identity),
    ("no key is seen", 2, [2, 3, 5, 4], All, Identity),
    ("no keys", 2, [2, 3, 0, 4], Nothing, Identity),
    ("no queries", 2, [2, 0, 3, 4], Nothing, Identity),
    ("no samples", 1, [0, 3, 3, 4], Nothing, Identity),
    ("one of everything", 1, [1, 1, 1, 1], Nothing, Identity),
    ("a tile", 1, [1, 64, 64, 64], Nothing, Identity),
    ("a tile and one", 1, [1, 65, 65, 65], Third, Identity),
    ("a tile less one", 1, [1, 63, 63, 63], Nothing, Identity),
    ("three tiles of keys", 2, [1, 17, 149, 10], Third, Identity),
    (
        "three tiles of queries",
        2,
        [1, 149, 17, 10],
        Third,
        Identity,
    ),
    (
        "a head in three tiles",
        1,
        [2, 3, 5, 131],
        Nothing,
        Identity,
    ),
    ("whole tiles are masked", 2, [2, 5, 200, 4], Tiles, Identity),
    ("many heads", 3, [172, 1, 2, 3], Third, Identity),
    ("logistic scores", 2, [2, 5, 67, 6], Third, Sigmoid),
    (
        "logistic, a tile of queries",
        1,
        [1, 66, 5, 3],
        Nothing,
        Sigmoid,
    ),
];

/// The cases of all three rooms: the attention, its q, k, v and mask.
pub(in crate::ops) fn cases() -> Vec<Case<Attention>> {
    let rows = ROWS
        .iter()
        .map(|&(about, num_heads, lengths, masked, score_map)| {
            let op = Attention {
                num_heads,
                scale: None,
                score_map,
            };
            Case::new(about, op, inputs(lengths, masked))
        });
    let scaled = |about, scale, keys| {
        let op = Attention {
            num_heads: 2,
            scale: Some(scale),
            score_map: Identity,
        };
        Case::new(about, op, inputs([1, 6, keys, 8], Nothing))
    };
    let scaled = [
        scaled("a scale of its own", -0.3, 9),
        scaled("no scale", 0.0, 5),
    ];
    let far = |about, score_map, seed| {
        let op = Attention {
            num_heads: 2,
            scale: None,
            score_map,
        };
        let real = |tokens, seed| uniform([1, tokens, 6], -6.0, 6.0, seed);
        let inputs = [real(5, seed), real(70, seed + 1), real(70, seed + 2)];
        Case::new(about, op, [&inputs[..], &[ones([1, 70])]].concat())
    };
    let far = [
        far("scores far apart", Identity, 190),
        far("logistic scores far apart", Sigmoid, 200),
    ];
    rows.chain(scaled).chain(far).collect()
}

fn inputs([n, t, s, d]: [usize; 4], masked: Masked) -> Vec<Array> {
    let seed = (n * 7 + t * 5 + s * 3 + d) as u64;
    let shape = [n, s];
    let mask = match masked {
        Nothing => ones(shape),
        Third => indices(shape, 3, seed),
        All => Array::zeros(Spec::index(shape)),
        Tiles => {
            let seen = |i| u32::from(i % s / TILE == 1 + 2 * (i / s));
            array(shape.into(), (0..n * s).map(seen).collect::<Vec<_>>())
        }
    };
    let real = |tokens, seed| normal([n, tokens, d], seed);
    vec![
        real(t, seed + 1),
        real(s, seed + 2),
        real(s, seed + 3),
        mask,
    ]
}

/// What the attention of a case gives, as f32 holds it.
pub(in crate::ops) fn results(case: &Case<Attention>) -> [Array; 2] {
    let view = |array: &'_ Array| array.to_f64().into_owned();
    let reals: Vec<Vec<f64>> = case.inputs[..3].iter().map(view).collect();
    let mask = case.inputs[3].as_u32().unwrap_or_default();
    let slices = reals.iter().map(|x| Slice::Real(x.as_slice()));
    let slices = slices.chain([Slice::Index(mask)]);
    let views: Vec<View<f64>> = slices
        .zip(&case.inputs)
        .map(|(slice, array)| View {
            shape: array.shape(),
            slice,
        })
        .collect();
    let (q, heads) = (case.inputs[0].shape(), case.op.num_heads);
    let shapes = [q, [q[0], q[1], heads].into()];
    let mut numbers = shapes.map(|shape: Shape| vec![0.0; shape.elements()]);
    let [y, log_sum_exp] = &mut numbers;
    let view = |(shape, numbers): (Shape, _)| ViewMut {
        shape,
        slice: SliceMut::Real(numbers),
    };
    let mut outputs = [view((shapes[0], y)), view((shapes[1], log_sum_exp))];
    case.op.eval(&views, &mut outputs, 0..q[0] * q[1]);
    let mut arrays = shapes.into_iter().zip(numbers).map(|(shape, numbers)| {
        let rounded: Vec<f32> = numbers.into_iter().map(|x| x as f32).collect();
        array(shape, rounded)
    });
    std::array::from_fn(|_| {
        arrays
            .next()
            .unwrap_or_else(|| unreachable!("there are two"))
    })
}
